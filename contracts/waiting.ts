/** Why a request waits: each bound that can hold one, what it means, and what an operator can do about it.
 *  The words are one place's, so that page, terminal, status, metrics and refusals say the same. */
import { z } from 'zod'

interface Row {
  /** What holds it, for a person: completes "waits: …". */
  means: string
  /** What an operator can do; null: nothing needs doing. */
  act: string | null
}

const row = (means: string, act: string | null): Row => ({ means, act })

/** In the order in which they are asked: the first that holds a request is its reason. */
export const waitReasons = {
  not_before: row('its caller asked that it start later (Headgate-Not-Before-Ms)', null),
  retry: row('it was tried and comes back after a back-off', null),
  prefix: row(
    'another call is writing the prefix that both share to the cache, and has not begun to answer',
    'lower scheduling.prefix_wait_ms if such calls may rather pay for it themselves',
  ),
  lane_paused: row('its lane is paused', 'resume the lane when the reason for the pause is gone'),
  block: row(
    'the upstream account is blocked',
    'see what the upstream said; mend the key or the spending limit, then try it now',
  ),
  pause: row(
    'the upstream asked the route to stay away for a while (429)',
    'nothing now; if it comes back, raise the limits at the upstream or set rpm, itpm, otpm lower',
  ),
  breaker: row(
    'the breaker keeps the route shut, or lets only probes through',
    'see whether the upstream is sick; a fallback model serves callers who opted in',
  ),
  tenant_limit: row(
    "its tenant's own limit of the minute is used up",
    'raise tenants.<name>.limits, or wait until more comes',
  ),
  tenant_budget: row(
    "its tenant's budget of the day or month is used up",
    'give it more (headgate budgets add), raise tenants.<name>.limits.budget, or wait for the next one',
  ),
  budget_store: row(
    "more of its tenant's budget is asked for, and the store has not answered",
    'nothing, if it goes within a second; else see whether JetStream answers',
  ),
  tenant_cap: row(
    'its tenant has as many calls in flight as it may',
    'raise tenants.<name>.max_inflight, or let the tenant ask less at once',
  ),
  lane_cap: row(
    'its lane has as many calls in flight as it may',
    'raise lanes.<name>.cap if the lane should have more',
  ),
  quota: row(
    'the tokens or requests per minute are used up and refill',
    'raise the limits at the upstream, or spread the load',
  ),
  route_limit: row(
    'the route has as many calls in flight as the upstream lately bore',
    'nothing while it grows; see concurrency_limit if its ceiling is reached',
  ),
  global: row(
    'all calls that may be in flight are',
    'raise llm_gateway.max_inflight_global if the upstream bears more',
  ),
  hold: row(
    'the free slots are held for another lane',
    'lower lanes.<name>.reserved_slots if the lane does not need it',
  ),
  other_routes: row('the free slots are needed by the callers of other models', null),
  headroom: row(
    'the free slots are kept for calls of other lanes that may come at any moment',
    'lower scheduling.headroom if such calls may wait a little',
  ),
  yields: row('calls of lanes that go first wait too', null),
  turn: row('nothing holds it: its turn comes', null),
} as const satisfies Record<string, Row>

export type WaitReason = keyof typeof waitReasons
export const WAIT_REASONS = Object.keys(waitReasons) as WaitReason[]
export const waitReason = z.enum(WAIT_REASONS as [WaitReason, ...WaitReason[]])

/** Requests that wait for one reason, in one lane on one route. */
export const waitingRow = z.object({
  lane: z.string(),
  route: z.string(),
  reason: waitReason,
  count: z.int(),
  oldest_ms: z.int().describe('How long the oldest of them has waited this time.'),
  tenant: z
    .string()
    .nullable()
    .describe("Whose they are, where the reason is a tenant's own: the one with most of them."),
  bound: z
    .number()
    .nullable()
    .describe('The number that binds: a cap, a limit, slots kept; null: none.'),
  until_ms: z
    .int()
    .nullable()
    .describe('When it can change by itself, from now; null: not known, or not by time.'),
})
export type WaitingRow = z.infer<typeof waitingRow>

/** What holds a request, with its numbers. */
export interface Wait {
  reason: WaitReason
  /** The number that binds: a cap, a limit, slots kept; null: none. */
  bound: number | null
  /** When it can change by itself, in ms from now; null: not known, or not by time. */
  untilMs: number | null
}

/** One clause for a person: `the route's breaker … (12 s more)`. */
export function waitWords({ reason, bound, untilMs }: Wait): string {
  const numbers: string[] = []
  const means = reason === 'breaker' && bound !== null ? breakerMeans(bound) : meansOf(reason)
  if (bound !== null && reason !== 'breaker') numbers.push(String(bound))
  if (untilMs !== null) numbers.push(`${Math.max(1, Math.ceil(untilMs / 1_000))} s more`)
  return numbers.length === 0 ? means : `${means} (${numbers.join(', ')})`
}

const meansOf = (reason: WaitReason): string => waitReasons[reason].means

/** Which of the two it is, where the number of probes says so. */
const breakerMeans = (probes: number): string =>
  probes === 0
    ? 'the breaker keeps the route shut'
    : `the breaker lets only ${probes} ${probes === 1 ? 'probe' : 'probes'} through at once`
