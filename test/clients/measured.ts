/** What was measured last, as it stands in the repository; the page is written from it. */
import { readFileSync, writeFileSync } from 'node:fs'
import { inRoot } from '../support/tree.ts'
import type { CaseName } from './cases.ts'
import type { Cell } from './cell.ts'
import type { ClientId } from './clients.ts'

/** Without the error's whole text, which has ids in it. */
export type Kept = Omit<Cell, 'message'>

export interface Measured {
  version: string
  cells: Partial<Record<CaseName, Kept>>
}

export type Table = Partial<Record<ClientId, Measured>>

const FILE = inRoot('test/clients/measured.json')

export const readTable = (): Table => JSON.parse(readFileSync(FILE, 'utf8')) as Table

export const writeTable = (table: Table): void =>
  writeFileSync(FILE, `${JSON.stringify(table, null, 2)}\n`)

/** In what a cell is worse than the one that is written down; null where it is not. Seconds are not
 *  compared: they are the machine's too. */
export function worse(now: Kept, then: Kept | undefined): string | null {
  if (then === undefined) return 'nothing is written down for it'
  if (now.wrong !== '' && now.wrong !== then.wrong) return now.wrong
  if (now.calls > then.calls) return `${now.calls} calls upstream, not ${then.calls}`
  if (now.wrong === '' && then.wrong === '' && now.type !== then.type)
    return `${now.type} is raised, not ${then.type}`
  return now.words === false && then.words === true ? "the upstream's words are lost" : null
}

/** In what it is better, so that the page should be written anew; null where it is not. */
export function better(now: Kept, then: Kept | undefined): string | null {
  if (then === undefined) return null
  if (now.wrong === '' && then.wrong !== '') return `no more: ${then.wrong}`
  if (now.calls < then.calls) return `${now.calls} calls upstream instead of ${then.calls}`
  return now.words === true && then.words === false ? "the upstream's words are heard" : null
}
