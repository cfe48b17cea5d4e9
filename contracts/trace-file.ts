/** Files that say who asked for what and when, as lines: `#contracts/recording`, `#contracts/mooncake-trace` and, here,
 *  the three columns of the Azure LLM inference traces, TIMESTAMP,ContextTokens,GeneratedTokens (their timestamps have
 *  seven digits of fraction), with or without two of ours, prefix,prefix_tokens; more columns are not ours to guess.
 *  Pure: whoever reads opens the file. Every error names file, line, what stands there and what is allowed. */
import { TOKEN, TOKEN_SHAPE } from './ids.ts'

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
  /** What of the input it shares with others of the same name; absent: nothing. */
  prefix?: { name: string; tokens: number }
}

/** How much of a file is wanted, and its name for errors. */
export interface TraceReading {
  path: string
  /** Nothing that arrives later than so many seconds after the first row. */
  untilS: number
}

export type Lines = AsyncIterable<string> | Iterable<string>

export const ROWS_MAX = 1_000_000
/** A longer line is no line of a trace, or of no text at all. */
export const LINE_CHARS_MAX = 65_536
export const TOKENS_MAX = 10_000_000
/** 31 days: a longer trace is several, or has times of another unit. */
export const SPAN_MAX_S = 2_678_400
const HEADER = 'TIMESTAMP,ContextTokens,GeneratedTokens'
const PREFIXES = 'prefix,prefix_tokens'
const HEADERS = `the header ${HEADER}, with or without ,${PREFIXES}`
const TIMES = 'expected 2023-11-16 18:15:46.68, or seconds as a number'
const TOKENS = `expected a whole number up to ${TOKENS_MAX}`

export class TraceError extends Error {
  override readonly name = 'TraceError'
}

export const wrongLine = (path: string, number: number, what: string): TraceError =>
  new TraceError(`${path}: line ${number}: ${what}`)

/** A file's text cut into lines, without their ends and without a byte order mark. */
export async function* linesOf(
  chunks: AsyncIterable<string> | Iterable<string>,
  path: string,
): AsyncGenerator<string> {
  let number = 0
  let rest = ''
  const finish = (line: string): string => {
    number++
    if (line.length > LINE_CHARS_MAX) throw tooLong()
    const text = number === 1 ? line.replace(/^\uFEFF/, '') : line
    return text.endsWith('\r') ? text.slice(0, -1) : text
  }
  const tooLong = (): TraceError =>
    wrongLine(path, number, `longer than ${LINE_CHARS_MAX} characters; is this a text file?`)
  for await (const chunk of chunks) {
    const parts = (rest + chunk).split('\n')
    rest = parts.pop() ?? ''
    for (const line of parts) yield finish(line)
    if (rest.length > LINE_CHARS_MAX) yield finish(rest)
  }
  if (rest !== '') yield finish(rest)
}

/** Rows of three or five columns, sorted by time, at most `ROWS_MAX`. */
export async function readColumns(lines: Lines, of: TraceReading): Promise<Trace> {
  const rows: TraceRow[] = []
  let number = 0
  let columns = 0
  let first: number | null = null
  let before = 0
  let cut = false
  const wrong: Wrong = (what) => wrongLine(of.path, number, what)
  for await (const line of lines) {
    number++
    const text = line.trim()
    if (number === 1) {
      columns = columnsOf(text, wrong)
      continue
    }
    if (text === '') continue
    const row = rowOf(text, columns, wrong)
    first ??= row.at
    const atS = row.at - first
    if (atS < before)
      throw wrong(
        `TIMESTAMP: ${shown(row.stamp)} is earlier than the line before; sort the file by time`,
      )
    before = atS
    if (atS > of.untilS) {
      cut = true
      break
    }
    if (atS > SPAN_MAX_S)
      throw wrong(`TIMESTAMP: ${Math.round(atS)} s after the first row; at most ${SPAN_MAX_S}`)
    if (rows.length >= ROWS_MAX) throw wrong(tooManyRows())
    rows.push({ atS, ...row.tokens })
  }
  if (number === 0) throw new TraceError(`${of.path}: it is empty; expected ${HEADERS}`)
  if (rows.length === 0) throw new TraceError(`${of.path}: no row of data under the header`)
  return { rows, lastS: rows.at(-1)?.atS ?? 0, cut }
}

type Wrong = (what: string) => TraceError

/** How many the header names. */
function columnsOf(text: string, wrong: Wrong): 3 | 5 {
  const said = text.replaceAll(/[\s"]/g, '').toLowerCase()
  if (said === HEADER.toLowerCase()) return 3
  if (said === `${HEADER},${PREFIXES}`.toLowerCase()) return 5
  throw wrong(`expected ${HEADERS}, found ${shown(text)}`)
}

/** Its time as it stands and as a number, and the rest. */
function rowOf(
  text: string,
  columns: number,
  wrong: Wrong,
): { stamp: string; at: number; tokens: Omit<TraceRow, 'atS'> } {
  const fields = text.split(',')
  if (fields.length !== columns)
    throw wrong(`expected ${columns} columns, found ${fields.length}: ${shown(text)}`)
  const [stamp = '', context = '', generated = '', name = '', length = ''] = fields
  const at = secondsOf(stamp)
  if (at === null) throw wrong(`TIMESTAMP: ${TIMES}, found ${shown(stamp)}`)
  const input = tokensOf(context)
  const output = tokensOf(generated)
  if (input === null) throw wrong(`ContextTokens: ${TOKENS}, found ${shown(context)}`)
  if (output === null) throw wrong(`GeneratedTokens: ${TOKENS}, found ${shown(generated)}`)
  const prefix = prefixOf({ name: name.trim().replaceAll('"', ''), length, input }, wrong)
  return { stamp, at, tokens: { input, output, ...(prefix === null ? {} : { prefix }) } }
}

/** Null: it shares nothing. */
function prefixOf(
  { name, length, input }: { name: string; length: string; input: number },
  wrong: Wrong,
): NonNullable<TraceRow['prefix']> | null {
  const tokens = length.trim() === '' ? 0 : tokensOf(length)
  if (tokens === null || tokens > input)
    throw wrong(
      `prefix_tokens: expected a whole number up to ContextTokens, here ${input}, found ${shown(length)}`,
    )
  if (name !== '' && !TOKEN.test(name))
    throw wrong(`prefix: expected ${TOKEN_SHAPE}, or nothing, found ${shown(name)}`)
  if ((name === '') !== (tokens === 0))
    throw wrong(
      `prefix, prefix_tokens: expected both or neither, found ${shown(name)} and ${shown(length)}`,
    )
  return name === '' ? null : { name, tokens }
}

export const tooManyRows = (): string =>
  `more than ${ROWS_MAX} rows; take less of the file's time with --for, or cut the file`

/** What stands in a file, short, and with nothing in it that a terminal would obey. */
export function shown(text: string): string {
  const short = text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}…` : text
  return JSON.stringify(short).replaceAll(
    UNPRINTABLE,
    (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

const SHOWN_MAX = 40
const UNPRINTABLE = /[\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufffd]/g

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
