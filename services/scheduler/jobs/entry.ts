/** Whether a job that was taken from the store may enter the core. */
import type { DeadReason } from '#contracts/jobs'
import type { Refusal } from '#contracts/messages'
import { isPoison, mayHaveActed } from '#core/laws/jobs'
import type { Millis } from '#ports'
import type { LiveJob } from './live-job.ts'
import type { RoomLimits } from './room-limits.ts'
import type { RoomOptions } from './room-options.ts'
import { EXPIRED, MAY_HAVE_ACTED, POISON, UNREADABLE } from './said.ts'

type Read = NonNullable<ReturnType<RoomOptions['read']>>

/** `reason`: why it is kept for an operator; null: it is not. */
export type Entry = { read: Read } | { said: Refusal; reason: DeadReason | null }

export function entryOf(
  { job, claim }: LiveJob,
  of: { ageMs: Millis; limits: RoomLimits; read: RoomOptions['read'] },
): Entry {
  const { ageMs, limits } = of
  if (ageMs >= job.deadlineMs) return { said: EXPIRED, reason: null }
  if (isPoison(claim, limits.claimsMax)) return { said: POISON, reason: 'claims_exhausted' }
  const read = of.read(job)
  if (read === null) return { said: UNREADABLE, reason: 'unreadable' }
  if (mayHaveActed(claim, { mayAct: read.mayAct === true, acting: limits.acting }))
    return { said: MAY_HAVE_ACTED, reason: 'may_have_acted' }
  return { read }
}
