/** What a reader copies from the first pages runs as it stands: every fenced block of them, against what `npm
 *  start` has started. Only addresses are others, where a port was taken. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { errorAnswer } from '#contracts/wire-shapes'
import { pythonVenv } from '../../examples/python/venv.ts'
import { loadConfig } from '../../services/platform/config/load.ts'
import { fencedOf, type Fenced } from '../support/fenced.ts'
import { openReader, type Reader } from '../support/reader.ts'

const PAGES = ['README.md', 'docs/jobs.md', 'docs/http-door.md', 'docs/wire-contract.md']

/** Blocks that are not run, by a phrase of each, and why. */
const NOT_RUN: Record<string, string> = {
  'flowchart TD': 'a drawing',
  'npm pack --silent': 'test/pack.test.ts runs these lines: they build and install',
  'headgate-deadline-ms: 600000': 'Claude Code is not among the packages of this repository',
}
/** Left out on the pages, so that nobody copies a key that everybody knows. */
const ELIDED: Record<string, string> = {
  'sha256:9f86d0…': `sha256:${'0123456789abcdef'.repeat(4)}`,
}
/** Commands that their reader ends by Ctrl-C. */
const BY_HAND = /^npm start\b|^npm run -s headgate -- record\b/
const HAS_STARTED = /Ctrl-C ends it/
const PATIENCE_MS = 120_000

const blocks = PAGES.flatMap(fencedOf)
const whyNot = ({ text }: Fenced) => Object.keys(NOT_RUN).find((phrase) => text.includes(phrase))

let reader: Reader
let python: Awaited<ReturnType<typeof pythonVenv>>

beforeAll(async () => {
  ;[reader, python] = await Promise.all([openReader(), pythonVenv()])
}, 120_000)

afterAll(() => reader?.close())

describe.concurrent('a block of the first pages', () => {
  test('is run, or is one of the few with a reason', () => {
    const left = blocks.map(whyNot).filter((phrase) => phrase !== undefined)
    expect(left.toSorted()).toEqual(Object.keys(NOT_RUN).toSorted())
    expect(blocks.length - left.length).toBeGreaterThan(20)
  })

  test.for(blocks.filter((block) => whyNot(block) === undefined))(
    'of $page, line $line, runs',
    { timeout: PATIENCE_MS },
    async (block, { skip }) => {
      if (block.language === 'python' && 'missing' in python) skip(python.missing)
      const runs = RUNNERS[block.language]
      if (runs === undefined) throw new Error(`no way to run ${block.language}`)
      await runs(block)
    },
  )
})

// ---- how each language is run ----

const RUNNERS: Record<string, (block: Fenced) => void | Promise<void>> = {
  '': transcript,
  sh: async ({ text }) => {
    for (const part of partsOf(text)) await inShell(part)
  },
  ts: async (block) => {
    const program = reader.type([process.execPath, savedAs(block)], { cwd: reader.home })
    expect(await program.ended).not.toBe('')
  },
  python: async ({ text }) => {
    const file = 'python' in python ? python.python : ''
    const program = reader.type([file, '-c', reader.here(text)], { cwd: reader.home })
    expect(await program.ended).not.toBe('')
  },
  json: ({ text }) => void errorAnswer.parse(JSON.parse(text)),
  yaml: ({ text }) => {
    const whole = Object.entries(ELIDED).reduce(
      (all, [short, long]) => all.replace(short, long),
      text,
    )
    expect(loadConfig({ path: null, text: whole, emergency: false }).warnings).toEqual([])
  },
}

/** `$ command`, and what it said. Of what `npm start` said the first word of each line is compared. */
async function transcript({ text }: Fenced): Promise<void> {
  for (const turn of text.split(/^\$ /m).slice(1)) {
    const [asked = '', ...said] = turn.split('\n')
    if (asked !== 'npm start') await inShell(asked)
    else
      expect(firstWords(reader.started)).toEqual(expect.arrayContaining(firstWords(untilEnd(said))))
  }
}

const untilEnd = (lines: string[]): string =>
  lines
    .slice(
      0,
      lines.findIndex((line) => HAS_STARTED.test(line)),
    )
    .join('\n')

const firstWords = (text: string): string[] => text.match(/^ *\S+/gm) ?? []

/** A block in pieces: what is ended by hand is one of its own. */
function partsOf(text: string): string[] {
  const parts: string[] = []
  let before = ''
  for (const line of text.split('\n'))
    if (BY_HAND.test(line)) {
      parts.push(before, line)
      before = ''
    } else before += `${line}\n`
  return [...parts, before].filter((part) => part.trim() !== '')
}

async function inShell(script: string): Promise<void> {
  // It is what everything else here runs beside.
  if (script.startsWith('npm start')) return expect(reader.started).toMatch(HAS_STARTED)
  const shell = reader.type(['sh', '-euc', reader.here(script)], { cwd: reader.checkout })
  if (BY_HAND.test(script)) {
    await shell.said(HAS_STARTED)
    // Something for it to hear.
    await inShell('npm run -s headgate -- request --message Hello')
    const file = join(reader.checkout, /--out (\S+)/.exec(script)?.[1] ?? '')
    // Its first line says what it is; it may hear of other blocks too.
    await vi.waitFor(
      () => expect(readFileSync(file, 'utf8').trim().split('\n').length).toBeGreaterThan(1),
      { timeout: PATIENCE_MS / 4 },
    )
    shell.interrupt()
  }
  await shell.ended
}

/** As the page says, `ask.mts`. */
function savedAs({ page, line, text }: Fenced): string {
  const name = `${page.replaceAll(/\W/g, '-')}-${line}.mts`
  writeFileSync(join(reader.home, name), reader.here(text))
  return name
}
