/** The traces of Mooncake (kvcache-ai/Mooncake, FAST '25): JSON lines of `timestamp` in milliseconds, `input_length`
 *  and `output_length` in tokens, and `hash_ids`, one number for each 512 tokens of the input and the rest of it. Calls
 *  that begin alike have the same first numbers. More fields are not ours to guess. */
import { z } from 'zod'
import { readLine } from './json-line.ts'
import {
  ROWS_MAX,
  SPAN_MAX_S,
  TOKENS_MAX,
  tooManyRows,
  type TraceError,
  wrongLine,
  type Lines,
  type TraceReading,
} from './trace-file.ts'

/** Tokens of one block. */
export const BLOCK = 512
/** Of one call: two million tokens. */
export const BLOCKS_MAX = 4_096
export const BLOCK_ID_MAX = 2 ** 31 - 1

const ids = `expected at most ${BLOCKS_MAX} whole numbers from 0 to ${BLOCK_ID_MAX}`
const tokens = `expected a whole number from 0 to ${TOKENS_MAX}`
const time = 'expected milliseconds as a number from 0'

const mooncakeLine = z.object({
  timestamp: z.number({ error: time }).min(0, { error: time }),
  input_length: z.int({ error: tokens }).min(0, { error: tokens }).max(TOKENS_MAX, tokens),
  output_length: z.int({ error: tokens }).min(0, { error: tokens }).max(TOKENS_MAX, tokens),
  hash_ids: z
    .array(z.int({ error: ids }).min(0, { error: ids }).max(BLOCK_ID_MAX, ids), { error: ids })
    .max(BLOCKS_MAX, ids),
})

export interface MooncakeRow {
  /** Since the first row. */
  atS: number
  input: number
  output: number
  blocks: readonly number[]
}

/** Whether a file's first line, or its beginning, is of such a trace. */
export const beginsMooncake = (line: string): boolean =>
  /^\s*\{\s*"(timestamp|input_length|output_length|hash_ids)"/.test(line)

/** Rows in order of time, one after the other, at most `ROWS_MAX`. */
export async function* readMooncake(lines: Lines, of: TraceReading): AsyncGenerator<MooncakeRow> {
  let number = 0
  let rows = 0
  let first: number | null = null
  let before = 0
  for await (const line of lines) {
    number++
    if (line.trim() === '') continue
    const wrong = (what: string): TraceError => wrongLine(of.path, number, what)
    const read = readLine(mooncakeLine, { path: of.path, number, line })
    first ??= read.timestamp
    const atS = (read.timestamp - first) / 1_000
    if (atS < before)
      throw wrong(
        `timestamp: ${read.timestamp} is earlier than the line before; sort the file by time`,
      )
    before = atS
    if (atS > of.untilS) return
    if (atS > SPAN_MAX_S)
      throw wrong(`timestamp: ${Math.round(atS)} s after the first row; at most ${SPAN_MAX_S}`)
    if (++rows > ROWS_MAX) throw wrong(tooManyRows())
    yield { atS, input: read.input_length, output: read.output_length, blocks: read.hash_ids }
  }
}
