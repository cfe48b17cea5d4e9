/** What the headers of an HTTP request say about scheduling: checked where they become a subject, passed on
 *  as they are where the scheduler reads them. Pure. */
import { isToken, TOKEN_SHAPE } from '#contracts/ids'
import { HEADER, type Refusal } from '#contracts/messages'
import type { CallOptions } from '#client'
import { invalid } from './answer.ts'

export type IncomingHeaders = Readonly<Record<string, string | string[] | undefined>>

export const LANE = 'headgate-lane'
const PASSED = [
  HEADER.deadline,
  HEADER.degrade,
  HEADER.version,
  HEADER.beta,
  HEADER.traceparent,
  HEADER.tracestate,
].map((name) => [name, name.toLowerCase()] as const)
const ID = HEADER.id.toLowerCase()

export type ReadCall = { ok: true; options: CallOptions } | { ok: false; refusal: Refusal }

export function readCall(headers: IncomingHeaders): ReadCall {
  const lane = textOf(headers, LANE)
  const id = textOf(headers, ID)
  for (const [name, value] of [
    [LANE, lane],
    [HEADER.id, id],
  ] as const)
    if (value !== undefined && !isToken(value))
      return { ok: false, refusal: invalid(`${name}: expected ${TOKEN_SHAPE}`) }
  return { ok: true, options: { lane, id, headers: passedOn(headers) } }
}

export function passedOn(headers: IncomingHeaders): Record<string, string> {
  const passed: Record<string, string> = {}
  for (const [name, lower] of PASSED) {
    const value = textOf(headers, lower)
    if (value !== undefined) passed[name] = value
  }
  return passed
}

function textOf(headers: IncomingHeaders, name: string): string | undefined {
  const value = headers[name]
  return Array.isArray(value) ? value.join(', ') : value
}
