/** What holds for a while and is worth a person's attention, told with the time at which it began. */
import { z } from 'zod'
import type { Snapshot } from './snapshot.ts'

/** With what `about` names. */
export const conditionNames = {
  nats_lost: 'nothing',
  draining: 'nothing',
  emergency: 'nothing',
  config_refused: 'nothing: the configuration file on disk; an older one is in force',
  overloaded: 'nothing: any degradation level above 0',
  slots_used: 'nothing: every slot is in use, and requests wait',
  lane_paused: 'the lane',
  blocked: 'the upstream, which refuses key or account',
  no_answer: 'the route, which has been silent for too long',
  breaker: 'the route, whose breaker has left closed and is not back',
  limit_lowered: 'the route, whose limit is recovering or held',
  quota_pause: 'the quota, which a 429 has paused',
  quota_pacing: 'the quota, of which so little is left that requests wait',
  guardrail: 'the guardrail that is broken',
  jobs_store_lost: 'nothing: the store of durable jobs does not answer',
  jobs_store_full: 'nothing: it refuses writes for want of room, or has nearly none left',
  jobs_dead: 'nothing: a durable job was given up within the last ten minutes',
  jobs_old: 'the lane, whose oldest durable job is older than the lane lets expect',
  fleet_lapsed:
    'nothing: this instance has no lease that is valid; it uses its safe part, or nothing',
  fleet_silent: 'the member that is not heard, whose share is kept for it',
  fleet_config_differs:
    'the member whose configuration is not ours; the least of the global limits holds',
  fleet_superseded: 'nothing: another process has the name of this instance',
  budget_low: 'tenant and span, `acme/day`: four fifths of the budget are drawn',
  budget_end: 'tenant and span, `acme/day`: all of the budget is drawn',
  waiting: 'lane and reason, `batch/lane_paused`',
} as const

export type ConditionName = keyof typeof conditionNames
const NAMES = Object.keys(conditionNames) as [ConditionName, ...ConditionName[]]

export const condition = z.object({
  condition: z.enum(NAMES),
  about: z.string().nullable().describe('What it is true of; null: of the whole scheduler.'),
  since: z
    .int()
    .describe(
      'When it began, wall time in milliseconds since 1970; what began before this instance: its start.',
    ),
})
export type Condition = z.infer<typeof condition>

/** Below this part of a burst, a bucket holds starts back. */
export const BUCKET_LOW = 0.1

/** Dead letters grow for so long after the last of them came, ms. */
export const DEAD_LATELY_MS = 600_000

/** Everything that holds in this snapshot. Pure. */
export function conditionsIn(of: Omit<Snapshot, 'conditions'>): Omit<Condition, 'since'>[] {
  const found: Omit<Condition, 'since'>[] = []
  const add = (condition: ConditionName, about: string | null = null): void => {
    if (!found.some((one) => one.condition === condition && one.about === about))
      found.push({ condition, about })
  }
  if (of.bus.kind === 'nats' && !of.bus.connected) add('nats_lost')
  if (of.draining) add('draining')
  if (of.emergency) add('emergency')
  if (of.config_refused) add('config_refused')
  if (of.global.level > 0) add('overloaded')
  if (of.global.queued > 0 && of.global.inflight >= of.global.limit) add('slots_used')
  for (const { name, paused } of of.lanes) if (paused) add('lane_paused', name)
  for (const route of of.routes) {
    if (route.blocked !== null || route.blocked_ms > 0) add('blocked', route.upstream)
    if (route.silent_ms !== null || route.overdue !== null) add('no_answer', route.id)
    if (route.breaker !== 'closed') add('breaker', route.id)
    if (route.limit_state !== 'steady') add('limit_lowered', route.id)
    if (route.paused_ms > 0) add('quota_pause', route.quota)
    if (route.queued > 0 && isLow(route)) add('quota_pacing', route.quota)
  }
  for (const { name, met } of of.guardrails) if (!met) add('guardrail', name)
  for (const [condition, about] of [...ofJobs(of), ...ofFleet(of)]) add(condition, about)
  for (const { tenant, span, left } of of.budgets)
    add(left <= 0 ? 'budget_end' : 'budget_low', `${tenant}/${span}`)
  for (const { lane, reason } of of.waiting) add('waiting', `${lane}/${reason}`)
  return found
}

function ofJobs({ jobs, at }: Omit<Snapshot, 'conditions'>): [ConditionName, string | null][] {
  if (jobs === null) return []
  const { store, dead, lanes } = jobs
  const found: [ConditionName, string | null][] = []
  if (!store.reachable) found.push(['jobs_store_lost', null])
  if (store.full) found.push(['jobs_store_full', null])
  if (dead.last_at !== null && Date.parse(at) - dead.last_at < DEAD_LATELY_MS)
    found.push(['jobs_dead', null])
  for (const { lane, oldest_ms, expected_ms } of lanes)
    if (oldest_ms !== null && oldest_ms > expected_ms) found.push(['jobs_old', lane])
  return found
}

function ofFleet({ fleet }: Omit<Snapshot, 'conditions'>): [ConditionName, string | null][] {
  if (fleet === null) return []
  const found: [ConditionName, string | null][] = []
  if (fleet.lapsed) found.push(['fleet_lapsed', null])
  if (fleet.name_taken !== null) found.push(['fleet_superseded', null])
  for (const { member, own, standing, config_differs } of fleet.members) {
    if (own) continue
    const quiet = standing === 'silent' || standing === 'safe'
    // Who cannot reach the record hears nobody.
    if (quiet && !fleet.lapsed) found.push(['fleet_silent', member])
    // What one that is not there was configured with binds nobody.
    if (config_differs && (standing === 'alive' || standing === 'leaving'))
      found.push(['fleet_config_differs', member])
  }
  return found
}

const isLow = ({ buckets }: Snapshot['routes'][number]): boolean =>
  Object.values(buckets).some(
    (one) => one !== null && one.level <= Math.max(1, BUCKET_LOW * one.burst),
  )
