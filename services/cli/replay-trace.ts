/** Reads a trace of three columns, TIMESTAMP,ContextTokens,GeneratedTokens, line by line; more columns are
 *  not ours to guess. Source: Azure LLM inference traces (their timestamps have seven digits of fraction).
 *  Bound: `ROWS_MAX` rows, and nothing past `untilS`. */
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'

export interface Trace {
  rows: TraceRow[]
  /** Seconds from the first row to the last. */
  lastS: number
  /** The file goes on. */
  cut: boolean
}

export interface TraceRow {
  /** Since the first row. */
  atS: number
  input: number
  output: number
}

export const ROWS_MAX = 1_000_000
const TOKENS_MAX = 10_000_000
const HEADER = 'TIMESTAMP,ContextTokens,GeneratedTokens'

/** Says the line and what is allowed there. */
export class TraceError extends Error {
  override readonly name = 'TraceError'
}

export async function readTrace(of: { path: string; untilS: number }): Promise<Trace> {
  const file = createReadStream(of.path, 'utf8')
  const failed = new Promise<never>((_, reject) =>
    file.once('error', (error: NodeJS.ErrnoException) =>
      reject(new TraceError(`${of.path}: cannot be read (${error.code ?? error.message})`)),
    ),
  )
  try {
    return await Promise.race([readLines(createInterface({ input: file }), of), failed])
  } finally {
    failed.catch(() => {})
    file.destroy()
  }
}

/** Also for lines that come from elsewhere. */
export async function readLines(
  lines: AsyncIterable<string> | Iterable<string>,
  of: { path: string; untilS: number },
): Promise<Trace> {
  const rows: TraceRow[] = []
  let number = 0
  let first: number | null = null
  let before = 0
  let cut = false
  const wrong = (what: string): TraceError => new TraceError(`${of.path}: line ${number}: ${what}`)
  for await (const line of lines) {
    number++
    const text = (number === 1 ? line.replace(/^\uFEFF/, '') : line).trim()
    if (number === 1) {
      if (text.replaceAll(/[\s"]/g, '').toLowerCase() === HEADER.toLowerCase()) continue
      throw wrong(`expected the header ${HEADER}`)
    }
    if (text === '') continue
    const fields = text.split(',')
    if (fields.length !== 3) throw wrong(`expected 3 columns, found ${fields.length}`)
    const [stamp = '', context = '', generated = ''] = fields
    const at = secondsOf(stamp)
    if (at === null) {
      throw wrong('TIMESTAMP: expected 2023-11-16 18:15:46.68, or seconds as a number')
    }
    first ??= at
    const atS = at - first
    if (atS < before) throw wrong('TIMESTAMP: earlier than the line before; sort the file by time')
    before = atS
    const input = tokensOf(context)
    const output = tokensOf(generated)
    if (input === null) throw wrong(`ContextTokens: expected a whole number up to ${TOKENS_MAX}`)
    if (output === null) throw wrong(`GeneratedTokens: expected a whole number up to ${TOKENS_MAX}`)
    if (atS > of.untilS || rows.length >= ROWS_MAX) {
      cut = true
      break
    }
    rows.push({ atS, input, output })
  }
  if (number === 0) throw new TraceError(`${of.path}: it is empty; expected the header ${HEADER}`)
  if (rows.length < 2) throw new TraceError(`${of.path}: expected at least 2 rows of data`)
  return { rows, lastS: rows.at(-1)?.atS ?? 0, cut }
}

/** Seconds since some instant; null when it is no time. Fractions finer than a millisecond stay. */
function secondsOf(stamp: string): number | null {
  const text = stamp.trim().replaceAll('"', '')
  if (/^\d{1,12}(\.\d{1,20})?$/.test(text)) return Number(text)
  const parts = /^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(\.\d{1,9})?(Z|[+-]\d\d:?\d\d)?$/.exec(text)
  if (parts === null) return null
  const [, day = '', time = '', fraction = '0', zone = 'Z'] = parts
  const offset = /^[+-]\d{4}$/.test(zone) ? `${zone.slice(0, 3)}:${zone.slice(3)}` : zone
  const ms = Date.parse(`${day}T${time}${offset}`)
  return Number.isNaN(ms) ? null : ms / 1_000 + Number(fraction)
}

function tokensOf(text: string): number | null {
  const trimmed = text.trim()
  if (!/^\d{1,8}$/.test(trimmed)) return null
  const tokens = Number(trimmed)
  return tokens <= TOKENS_MAX ? tokens : null
}
