/** Opens a trace for a simulation, of whatever kind, and says who asks for what and when. */
import { createReadStream } from 'node:fs'
import { beginsMooncake, readMooncake } from '#contracts/mooncake-trace'
import { beginsRecording, readRecording, type RecordedRequest } from '#contracts/recording'
import {
  linesOf,
  readColumns,
  TraceError,
  type Lines,
  type TraceReading,
} from '#contracts/trace-file'
import type { Millis, Tokens } from '#contracts/units'
import type { Marked } from './prompt-cache.ts'
import { NODES_MAX, SharedBlocks, type Run } from './shared-blocks.ts'

/** Null is what the file does not tell: the simulation chooses, or the lane's own value holds. */
export interface TraceArrival {
  /** Since the first row, or since the start of the recording. */
  atMs: Millis
  tenant: string | null
  lane: string | null
  model: string | null
  stream: boolean | null
  inputTokens: Tokens
  outputTokens: Tokens
  maxTokens: Tokens | null
  deadlineMs: Millis | null
  /** What of its input it marks to be cached. */
  marked: Marked | null
}

/** Sorted by time, at most `ROWS_MAX`. A recorded request whose tokens nobody has counted, since it was
 *  refused or failed, gets the median of its lane's known ones, else the median of all known ones. Throws a
 *  `TraceError` that names file, line, what stands there and what is allowed. */
export async function readTraceFile(of: {
  path: string
  /** Nothing that arrives later, in the file's own time; null: all of it. */
  untilMs: Millis | null
}): Promise<TraceArrival[]> {
  const file: AsyncIterable<string> = createReadStream(of.path, 'utf8')
  try {
    return await arrivalsOf(linesOf(file, of.path), of)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw code === undefined ? error : new TraceError(`${of.path}: cannot be read (${code})`)
  }
}

/** Also for lines that come from elsewhere. */
export async function arrivalsOf(
  lines: AsyncGenerator<string>,
  of: { path: string; untilMs: Millis | null },
): Promise<TraceArrival[]> {
  const reading = { path: of.path, untilS: of.untilMs === null ? Infinity : of.untilMs / 1_000 }
  const first = await lines.next()
  const all: Lines = first.done === true ? [] : from(first.value, lines)
  if (first.done !== true && beginsMooncake(first.value)) return ofMooncake(all, reading)
  if (first.done !== true && beginsRecording(first.value))
    return ofRecording(await readRecording(all, reading), of.path)
  const { rows } = await readColumns(all, reading)
  return rows.map((row) => unnamed(row, row.prefix ?? null))
}

/** A row that says nothing of who asks. */
const unnamed = (
  { atS, input, output }: { atS: number; input: Tokens; output: Tokens },
  marked: Marked | null,
): TraceArrival => ({
  ...{ tenant: null, lane: null, model: null, stream: null, maxTokens: null, deadlineMs: null },
  atMs: atS * 1_000,
  inputTokens: input,
  outputTokens: output,
  marked,
})

async function ofMooncake(lines: Lines, of: TraceReading): Promise<TraceArrival[]> {
  const shared = new SharedBlocks()
  const rows: { atS: number; input: Tokens; output: Tokens; run: Run }[] = []
  for await (const { blocks, ...row } of readMooncake(lines, of)) {
    const run = shared.add(blocks)
    if (run === null)
      throw new TraceError(
        `${of.path}: more than ${NODES_MAX} different beginnings of prompts in the first ${Math.round(row.atS)} s; take less of the file's time with --for, or cut the file`,
      )
    rows.push({ ...row, run })
  }
  if (rows.length === 0) throw new TraceError(`${of.path}: no line of a call`)
  const marks = shared.marks(rows)
  return rows.map((row, at) => unnamed(row, marks[at] ?? null))
}

async function* from(first: string, rest: AsyncGenerator<string>): AsyncGenerator<string> {
  yield first
  yield* rest
}

/** Refused for what they were, by any scheduler under any load: no work that a simulation could do. */
const NEVER_WORK: ReadonlySet<string> = new Set([
  'invalid_request',
  'unknown_lane',
  'unknown_model',
  'unauthenticated',
  'forbidden',
  'payload_too_large',
  'duplicate_id',
])

function ofRecording(all: readonly RecordedRequest[], path: string): TraceArrival[] {
  const requests = all.filter(({ code }) => code === null || !NEVER_WORK.has(code))
  const input = substitutes(requests, (request) => request.input_tokens)
  const output = substitutes(requests, (request) => request.output_tokens)
  if (output === null || input === null)
    throw new TraceError(`${path}: not one request whose input and output tokens are known`)
  return requests.map((request) => ({
    atMs: request.at_ms,
    tenant: request.tenant,
    lane: request.lane,
    model: request.model,
    stream: request.stream,
    inputTokens: request.input_tokens ?? input(request.lane),
    outputTokens: request.output_tokens ?? output(request.lane),
    maxTokens: request.max_tokens,
    deadlineMs: request.deadline_ms,
    marked: null,
  }))
}

/** The median by lane of what is known; null when nothing is. */
function substitutes(
  requests: readonly RecordedRequest[],
  known: (request: RecordedRequest) => number | null,
): ((lane: string) => number) | null {
  const all: number[] = []
  const byLane = new Map<string, number[]>()
  for (const request of requests) {
    const value = known(request)
    if (value === null) continue
    all.push(value)
    const lane = byLane.get(request.lane)
    if (lane === undefined) byLane.set(request.lane, [value])
    else lane.push(value)
  }
  const overall = median(all)
  if (overall === null) return null
  const medians = new Map([...byLane].map(([lane, values]) => [lane, median(values)]))
  return (lane) => medians.get(lane) ?? overall
}

function median(values: number[]): number | null {
  values.sort((a, b) => a - b)
  return values[Math.floor((values.length - 1) / 2)] ?? null
}
