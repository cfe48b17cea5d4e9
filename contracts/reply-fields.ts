/** What the last message of an answer says beside its body: as fields, and as the headers that they are on the
 *  wire. What is written and read back is what was to be written, so that it does not matter which of the two a
 *  message carries. */
import { HEADER, type Accounting } from './messages.ts'
import { OUTCOMES, SERVED_BY, type Outcome, type ServedBy } from './outcome.ts'
import type { Millis } from './units.ts'

export interface ReplyFields {
  id: string
  outcome: Outcome | null
  servedBy: ServedBy
  model: string | null
  attempts: number
  preemptions: number
  /** Runs of the call that may have been beside the one that is told, since who had them died. */
  ambiguous: number
  queueMs: Millis
  upstreamMs: Millis
  totalMs: Millis
  /** The upstream's. */
  requestId: string | null
  inputTokens: number | null
  outputTokens: number | null
  /** Upstream events of a stream. */
  events: number | null
}

/** The last message of an answer, read. */
export interface LastWords {
  readonly accounting: ReplyFields
  /** HTTP status of an error; null: it is none. */
  readonly errorStatus: number | null
}

/** `events`: how many there were; null: it is no stream. */
export const replyFields = (of: Accounting, events: number | null): ReplyFields => ({
  id: of.id,
  outcome: of.outcome,
  servedBy: of.servedBy,
  model: of.model === null ? null : oneLine(of.model),
  attempts: of.attempts,
  preemptions: of.preemptions,
  ambiguous: 0,
  queueMs: whole(of.queueMs),
  upstreamMs: whole(of.upstreamMs),
  totalMs: whole(of.totalMs),
  requestId: of.upstreamRequestId === null ? null : oneLine(of.upstreamRequestId),
  inputTokens: of.inputTokens,
  outputTokens: of.outputTokens,
  events,
})

const whole = (ms: Millis): Millis => Math.max(0, Math.round(ms))

const LINE_CHARS_MAX = 256
const oneLine = (text: string): string =>
  text
    .replace(/[^\x20-\x7e]+/g, '?')
    .slice(0, LINE_CHARS_MAX)
    .trim()

export function writeReply(of: ReplyFields): [name: string, value: string][] {
  const headers: [string, string][] = [[HEADER.id, of.id]]
  if (of.outcome !== null) headers.push([HEADER.outcome, of.outcome])
  headers.push(
    [HEADER.servedBy, of.servedBy],
    [HEADER.attempts, String(of.attempts)],
    [HEADER.preemptions, String(of.preemptions)],
    [HEADER.queueMs, String(of.queueMs)],
    [HEADER.upstreamMs, String(of.upstreamMs)],
    [HEADER.totalMs, String(of.totalMs)],
  )
  if (of.ambiguous > 0) headers.push([HEADER.ambiguous, String(of.ambiguous)])
  if (of.model !== null) headers.push([HEADER.model, of.model])
  if (of.requestId !== null) headers.push([HEADER.requestId, of.requestId])
  if (of.inputTokens !== null) headers.push([HEADER.inputTokens, String(of.inputTokens)])
  if (of.outputTokens !== null) headers.push([HEADER.outputTokens, String(of.outputTokens)])
  if (of.events !== null) headers.push([HEADER.events, String(of.events)])
  return headers
}

/** What is not there, or is not what it should be, is null, nothing or `none`. */
export function readReply(header: (name: string) => string | undefined): ReplyFields {
  const text = (name: string) => header(name) ?? null
  const number = (name: string) => {
    const value = text(name)
    return value === null || !/^\d{1,15}$/.test(value) ? null : Number(value)
  }
  const outcome = text(HEADER.outcome)
  const servedBy = text(HEADER.servedBy)
  return {
    id: text(HEADER.id) ?? '',
    outcome: OUTCOMES.find((known) => known === outcome) ?? null,
    servedBy: SERVED_BY.find((known) => known === servedBy) ?? 'none',
    model: text(HEADER.model),
    attempts: number(HEADER.attempts) ?? 0,
    preemptions: number(HEADER.preemptions) ?? 0,
    ambiguous: number(HEADER.ambiguous) ?? 0,
    queueMs: number(HEADER.queueMs) ?? 0,
    upstreamMs: number(HEADER.upstreamMs) ?? 0,
    totalMs: number(HEADER.totalMs) ?? 0,
    requestId: text(HEADER.requestId),
    inputTokens: number(HEADER.inputTokens),
    outputTokens: number(HEADER.outputTokens),
    events: number(HEADER.events),
  }
}
