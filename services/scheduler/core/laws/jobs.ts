/** Durable jobs (control-laws §19): what ends one, when another instance may take it over, and how long a flow
 *  rests that was turned away. Everything else about them is the laws of requests. */
import {
  isHeldByBatch,
  NOBODY,
  PAST_MAX,
  type DeadReason,
  type JobClaim,
  type PastOwner,
} from '#contracts/jobs'
import type { RefusalCode } from '#contracts/refusals'
import type { Millis } from '#contracts/units'
import type { WaitReason } from '#contracts/waiting'
import type { Dice } from '#core/estimators/dice'
import type { Lane, State } from '#core/model/state'
import { tenantConfig } from './admission.ts'

/** How often an instance says that it lives. */
export const BEAT: Millis = 1_000
/** Unheard for so long, it is dead, and others take its jobs. */
export const DEAD_AFTER: Millis = 6_000
/** Unheard for so long, an instance must look whether its jobs are still its own. */
export const DOUBT_AFTER: Millis = DEAD_AFTER / 2

/** Between two tries of a flow whose jobs are turned away, doubling, with jitter. */
export const REST = { first: 1_000, most: 30_000 } as const

/** Said of what the system is, and not of the job: it waits in the store for better times. */
const NOT_OF_THE_JOB: ReadonlySet<RefusalCode> = new Set<RefusalCode>([
  'draining',
  'queue_full',
  'tenant_limit',
  'budget_exhausted',
  'breaker_open',
  'deadline_unreachable',
  'duplicate_id',
])

/** Whether a refusal is the job's result; else it comes again. A job that was never attempted is ended by its own
 *  deadline, its owner's word or its own mistakes, and not by the state of the system. */
export function endsJob(code: RefusalCode, attempts: number): boolean {
  if (NOT_OF_THE_JOB.has(code)) return false
  return code !== 'upstream_error' || attempts > 0
}

/** What a job waits for whose flow was turned away so; null: for better times, and no one thing. */
export function waitBy(code: RefusalCode): WaitReason | null {
  if (code === 'tenant_limit') return 'tenant_limit'
  if (code === 'budget_exhausted') return 'tenant_budget'
  return code === 'breaker_open' ? 'breaker' : null
}

/** Why an ended job is kept for an operator, who may have it done again; null: its caller can tell. */
export function deadBy(code: RefusalCode): DeadReason | null {
  if (code === 'retries_exhausted') return 'retries_exhausted'
  return code === 'unknown_lane' ? 'unknown_lane' : null
}

/** Where a deferred request goes: the heaviest preemptible lane that its tenant may use; null: none is open to it. */
export function deferLane(state: State, tenant: string): string | null {
  const open = tenantConfig(state, tenant)?.lanes ?? null
  let best: Lane | null = null
  for (const lane of state.lanes) {
    if (!lane.config.preemptible || lane.retired) continue
    if (open !== null && !open.includes(lane.config.name)) continue
    if (best === null || lane.config.weight > best.config.weight) best = lane
  }
  return best?.config.name ?? null
}

/** Owners that died without a call of the job under way count so much less: most of them died of something else. */
export const IDLE_DEATHS = 20

/** Whether the job is what kills those that have it. `most`: owners that may die in a call of it. */
export const isPoison = ({ claims, ambiguous }: JobClaim, most: number): boolean =>
  ambiguous >= most || claims > IDLE_DEATHS * most

/** Places for suspects in the core of an instance. */
export const SUSPECTS_AT_ONCE = 8
/** Deaths in calls of a job after which it is a suspect, and after which it is one alone. */
export const SUSPECT_AFTER = 2
export const ALONE_AFTER = 3

/** How many of these places a job takes. Whatever is in a call when its instance dies may be what killed it: so where
 *  one job kills again and again, no other is there more than `ALONE_AFTER` times. That holds with one job that
 *  kills, and where `most`, the deaths that a job may have, is 2 or more. */
export function suspicion({ ambiguous }: JobClaim, most: number): number {
  if (ambiguous >= Math.max(1, Math.min(ALONE_AFTER, most - 1))) return SUSPECTS_AT_ONCE
  return ambiguous >= SUSPECT_AFTER ? 1 : 0
}

/** Whether a call of it may have run tools at the provider and nobody knows: a second one is its caller's to decide,
 *  unless the operator allows it. */
export const mayHaveActed = (
  { ambiguous }: JobClaim,
  { mayAct, acting }: { mayAct: boolean; acting: boolean },
): boolean => mayAct && !acting && ambiguous > 0

/** What is known of the instance that holds a claim. */
export interface Owner {
  /** When it was last heard, or when we began to listen. */
  heardAt: Millis
  /** It said that it goes. */
  left: boolean
}

export const isDead = (owner: Owner, now: Millis): boolean =>
  owner.left || now - owner.heardAt > DEAD_AFTER

/** The claim of a new owner. `died`: the one before never gave it back; `ambiguous`: a call was under way and may
 *  have run. */
export function takenOver(
  { by: before, claims, attempts, calling, ambiguous: others }: JobClaim,
  by: string,
): { claim: JobClaim; died: boolean; ambiguous: boolean } {
  const died = before !== NOBODY && before !== by && !isHeldByBatch(before)
  const ambiguous = calling && before !== by
  const claim: JobClaim = {
    ...{ by, claims: died ? claims + 1 : claims, attempts, calling: false },
    ambiguous: ambiguous ? others + 1 : others,
  }
  return { claim, died, ambiguous }
}

/** Everybody who had a job, when the holder of this claim has it no more; the first are forgotten. */
export const ownersOf = (
  { by, since = 0, attempts, calling, past = [] }: JobClaim,
  how: PastOwner['how'],
): PastOwner[] => [...past, { by, since, how, attempts, calling }].slice(-PAST_MAX)

/** `inRow`: times that the flow was turned away since something of it started. */
export function restOf(inRow: number, dice: Dice): Millis {
  const full = Math.min(REST.most, REST.first * 2 ** Math.min(inRow, 10))
  return full / 2 + (dice.next() * full) / 2
}
