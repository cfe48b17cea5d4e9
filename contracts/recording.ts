/** What `headgate record` writes and the simulator reads: NDJSON, a header line, then one line for each
 *  request that settled, in the order in which they settled. No text, no prompt, no key. */
import { z } from 'zod'
import { MODEL, TOKEN, TOKEN_SHAPE } from './ids.ts'
import { readLine } from './json-line.ts'
import { OUTCOMES } from './outcome.ts'
import {
  ROWS_MAX,
  SPAN_MAX_S,
  TOKENS_MAX,
  tooManyRows,
  TraceError,
  wrongLine,
  type Lines,
  type TraceReading,
} from './trace-file.ts'

export const RECORDING_VERSION = 1

/** A number from `min` to `max`, or the words of what is allowed. */
const ranged = (min: number, max: number, whole: boolean) => {
  const error = `expected ${whole ? 'a whole number' : 'a number'} from ${min} to ${max}`
  const base = whole ? z.int({ error }) : z.number({ error })
  return base.min(min, { error }).max(max, { error })
}
const tokens = (min: number) => ranged(min, TOKENS_MAX, true)
const millis = (min: number) => ranged(min, SPAN_MAX_S * 1_000, false)
const token = z.string({ error: 'expected text' }).regex(TOKEN, `expected ${TOKEN_SHAPE}`)

export const recordingHeader = z.object({
  headgate: z.literal('recording', { error: 'expected "recording"' }),
  version: z.literal(RECORDING_VERSION, { error: `expected ${RECORDING_VERSION}` }),
  /** Wall time of the start, RFC 3339. */
  started: z.string().optional(),
  /** True: tenants are salted hashes, equal only within one recording. */
  hashed_tenants: z.boolean().optional(),
})
export type RecordingHeader = z.infer<typeof recordingHeader>

export const recordedRequest = z.object({
  /** When it arrived, since the start of the recording. */
  at_ms: millis(0),
  tenant: token,
  lane: token,
  model: z.string({ error: 'expected text or null' }).regex(MODEL, 'expected a model').nullable(),
  stream: z.boolean({ error: 'expected true, false or null' }).nullable(),
  max_tokens: tokens(1).nullable(),
  /** Null: what its lane gives. */
  deadline_ms: millis(1).nullable(),
  /** Null: nobody has counted them. */
  input_tokens: tokens(0).nullable(),
  output_tokens: tokens(0).nullable(),
  queue_ms: millis(0),
  upstream_ms: millis(0),
  total_ms: millis(0),
  outcome: z.enum(OUTCOMES, { error: `expected one of ${OUTCOMES.join(', ')}` }),
  /** Of a refusal or failure. */
  code: token.nullable(),
  attempts: ranged(0, 1_000_000, true),
})
export type RecordedRequest = z.infer<typeof recordedRequest>

/** Whether a file's first line, or its beginning, is of JSON lines, and not of columns. */
export const beginsRecording = (line: string): boolean => line.trimStart().startsWith('{')

/** Every request of a recording that arrived by `untilS`, sorted by arrival, at most `ROWS_MAX`. */
export async function readRecording(lines: Lines, of: TraceReading): Promise<RecordedRequest[]> {
  const found: RecordedRequest[] = []
  let number = 0
  for await (const line of lines) {
    number++
    const place = { path: of.path, number, line }
    if (number === 1) {
      readLine(recordingHeader, place)
      continue
    }
    if (line.trim() === '') continue
    const request = readLine(recordedRequest, place)
    if (request.at_ms > of.untilS * 1_000) continue
    if (found.length >= ROWS_MAX) throw wrongLine(of.path, number, tooManyRows())
    found.push(request)
  }
  if (found.length === 0) throw new TraceError(`${of.path}: the recording holds no request`)
  return found.sort((a, b) => a.at_ms - b.at_ms)
}
