/** What the headers of an HTTP request say about scheduling: checked where they become a subject, passed on
 *  as they are where the scheduler reads them. Pure. */
import { LANE_HEADER } from '#contracts/header-names'
import { isToken, TOKEN_SHAPE } from '#contracts/ids'
import { DEADLINE_MAX_MS, HEADER, NEVER_AGAIN, type Refusal } from '#contracts/messages'
import type { CallOptions } from '#client'
import { invalid } from './answer.ts'

export type IncomingHeaders = Readonly<Record<string, string | string[] | undefined>>

const LANE = LANE_HEADER.toLowerCase()
const PASSED = [
  HEADER.deadline,
  HEADER.degrade,
  HEADER.maxAttempts,
  HEADER.prefix,
  HEADER.version,
  HEADER.beta,
  HEADER.traceparent,
  HEADER.tracestate,
].map((name) => [name, name.toLowerCase()] as const)
const ID = HEADER.id.toLowerCase()
const AGAIN = HEADER.again.toLowerCase()

/** The lane of a call that names none. */
export const LANE_DEFAULT = 'interactive'

/** So long after the deadline the scheduler has answered, unless it is gone or its answer is lost. */
export const ANSWER_GRACE_MS = 2_000

/** When the caller stops waiting, in ms from now: what it says, else its lane's; one that fits nothing is
 *  refused by the scheduler at once. */
export function deadlineOf(headers: IncomingHeaders, laneMs: number | null): number {
  return ownDeadlineOf(headers) ?? laneMs ?? DEADLINE_MAX_MS
}

/** What the caller itself says, in ms; null: nothing that fits. */
export function ownDeadlineOf(headers: IncomingHeaders): number | null {
  const said = Number(textOf(headers, HEADER.deadline.toLowerCase()))
  return Number.isInteger(said) && said >= 1 && said <= DEADLINE_MAX_MS ? said : null
}

/** Claude Code asks for the stream again where its connection breaks off; told of it in an event, it asks for the
 *  whole answer at once, and gives up on that after 300 s. */
export const streamsAgain = (headers: IncomingHeaders): boolean =>
  (textOf(headers, 'user-agent') ?? '').startsWith('claude-cli/')

/** Whether the caller would have a job rather than a no. */
export const mayDefer = (headers: IncomingHeaders): boolean =>
  /(^|,) *defer *(,|$)/.test(textOf(headers, HEADER.degrade.toLowerCase()) ?? '')

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
  const again = textOf(headers, AGAIN)
  if (again !== undefined && again !== NEVER_AGAIN)
    return { ok: false, refusal: invalid(`${HEADER.again}: expected ${NEVER_AGAIN}`) }
  const options = { lane, id, headers: passedOn(headers) }
  return { ok: true, options: again === undefined ? options : { ...options, again: false } }
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
