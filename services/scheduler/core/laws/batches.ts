/** Jobs at half the price (control-laws §20): which of them may wait in a batch of the provider's, when a gathering
 *  closes, when a batch is looked at and given up, which batch of the provider's list may be one whose create was
 *  not answered, and what becomes of each entry. The provider promises a batch within 24 hours and no earlier, so
 *  whoever cannot wait is never in one. */
import type { BatchEnd } from '#contracts/jobs'
import type { Millis } from '#contracts/units'
import type { Dice } from '#core/estimators/dice'

export interface BatchKnobs {
  deadlineMinMs: Millis
  waitMs: Millis
  gatherMs: Millis
  reserveMs: Millis
  entriesMax: number
  bytesMax: number
  pollMaxMs: Millis
  findMs: Millis
}

/** When a job was accepted, ms since 1970; the others count from there. */
export interface JobTimes {
  acceptedAt: Millis
  deadlineMs: Millis
  notBeforeMs: Millis
}

/** What most batches of the provider's take, by its own word: with less than this no batch is worth its trouble. */
export const MOST_TAKE: Millis = 3_600_000

/** Before a look nobody waits longer than its share of the batch's age, and never less than a second. */
export const POLL = { first: 15_000, ageShare: 1 / 8, least: 1_000 } as const

/** How far the provider's clock may be from ours. */
export const SKEW: Millis = 60_000

/** A batch is tried twice: entries whose turn never came, once more. */
export const ROUNDS_MAX = 2

/** Why a job may not be gathered; null: it may. `wall`: ms since 1970. */
export function notGathered(
  job: JobTimes,
  knobs: BatchKnobs,
  wall: Millis,
): 'deadline_near' | 'waited_less' | null {
  const left = job.acceptedAt + job.deadlineMs - wall
  if (job.deadlineMs < knobs.deadlineMinMs || left < knobs.reserveMs + MOST_TAKE)
    return 'deadline_near'
  const waited = wall - job.acceptedAt - job.notBeforeMs
  return waited < knobs.waitMs ? 'waited_less' : null
}

/** What has been gathered of one kind so far. `since`: when its first came. */
export interface Gathered {
  since: Millis
  entries: number
  bytes: number
}

/** Whether one more fits; one alone always does. */
export const fits = (of: Gathered, bytes: number, knobs: BatchKnobs): boolean =>
  of.entries === 0 || (of.entries < knobs.entriesMax && of.bytes + bytes <= knobs.bytesMax)

/** Why a gathering is sent; null: it waits for more. */
export function closes(of: Gathered, knobs: BatchKnobs, now: Millis): 'full' | 'time' | null {
  if (of.entries >= knobs.entriesMax || of.bytes >= knobs.bytesMax) return 'full'
  return now - of.since >= knobs.gatherMs ? 'time' : null
}

/** Until the next look at a batch of that age: full jitter, so that many batches, or many instances, spread. */
export function pollIn(ageMs: Millis, knobs: BatchKnobs, dice: Dice): Millis {
  const most = Math.min(knobs.pollMaxMs, Math.max(POLL.first, ageMs * POLL.ageShare))
  return Math.max(POLL.least, dice.next() * most)
}

/** When a batch is cancelled, so that what it has not done still has its time in line; ms since 1970. */
export function giveUpAt(jobs: Iterable<JobTimes>, knobs: BatchKnobs): Millis {
  let first = Infinity
  for (const { acceptedAt, deadlineMs } of jobs) first = Math.min(first, acceptedAt + deadlineMs)
  return first - knobs.reserveMs
}

// ---- a create that was not answered ----

/** Whether a batch of the provider's list may be that of a create. The list does not show custom ids, so several may
 *  be, and only results tell them apart. `notedAt`: when we said that we would create it. */
export const mayBeOurs = (
  batch: { createdAt: Millis; entries: number },
  create: { notedAt: Millis; entries: number },
): boolean => batch.entries === create.entries && batch.createdAt >= listedSince(create.notedAt)

/** From where on the list is to be read. */
export const listedSince = (notedAt: Millis): Millis => notedAt - SKEW

/** Looked for so long, a batch that is not in the list was not made. */
export const wasNotMade = (notedAt: Millis, knobs: BatchKnobs, wall: Millis): boolean =>
  wall - notedAt >= knobs.findMs

/** A create is sent only this soon after it was noted: an instance that slept must note it again, since another may
 *  have concluded meanwhile that it was not made. */
export const CREATE_WITHIN: Millis = 5_000

// ---- what becomes of an entry ----

/** `refuse`: the provider's error is its result. `line`: it goes in line like any job.
 *  `again`: into another batch. `dead`: given up, kept for an operator. */
export type EntryFate = 'refuse' | 'line' | 'again' | 'dead'

/** Errors that are the request's own, and the same whenever it is sent. */
const OF_THE_REQUEST: ReadonlySet<string> = new Set([
  'invalid_request_error',
  'not_found_error',
  'request_too_large',
])

/** Of an entry without an answer. */
export function fateOf(
  end: Exclude<BatchEnd, 'succeeded'>,
  of: { errorType: string | null; round: number; leftMs: Millis },
  knobs: BatchKnobs,
): EntryFate {
  if (end === 'errored') return OF_THE_REQUEST.has(of.errorType ?? '') ? 'refuse' : 'line'
  if (end === 'canceled') return 'line'
  if (of.round >= ROUNDS_MAX) return 'dead'
  return of.leftMs < knobs.reserveMs + MOST_TAKE ? 'line' : 'again'
}

/** Until a refused create is tried with others, doubling, with jitter. `inRow`: refused one after the other;
 *  `askedMs`: what the provider asked for. */
export function restAfterRefusal(inRow: number, askedMs: Millis | null, dice: Dice): Millis {
  const full = Math.min(REFUSED.most, REFUSED.first * 2 ** Math.min(inRow, 10))
  return Math.max(askedMs ?? 0, full / 2 + (dice.next() * full) / 2)
}

export const REFUSED = { first: 30_000, most: 1_800_000 } as const
