/** Which lesser service is still honest (control-laws §13): how far the system as a whole steps back while
 *  the provider gives less than it used to, and what a single request may get instead of a refusal. */
import { onLadder, type Reason } from '#contracts/refusals'
import type { DegradeStep } from '#contracts/messages'
import type { Millis, Seconds } from '#contracts/units'
import { mostInflight } from './slots.ts'
import type { Refused } from '#core/model/effects'
import type { State, Tenant } from '#core/model/state'

/** Time constant of a tenant's usage. */
export const USAGE: Seconds = 300

/** Once a second: takes the level from what the routes can do against what they did. True when it changed. */
export function reviewLevel(state: State, now: Millis): boolean {
  let capacity = 0
  let usual = 0
  for (const route of state.routes.values()) {
    capacity += route.limit
    usual += route.peak
  }
  let firmInflight = 0
  for (const lane of state.lanes) if (!lane.config.preemptible) firmInflight += lane.inflight
  const most = mostInflight(state)
  const before = state.load.level
  const level = state.load.review({
    capacity: Math.min(capacity, most),
    usual: Math.min(usual, most),
    firmInflight,
    now,
  })
  return level !== before
}

/** What each level means, in words. */
export const LEVELS = [
  'normal service',
  'preemptible lanes have their minimum share, and what the others lately left',
  'preemptible lanes have what the others lately left, reserved slots are lent',
  'arrivals are shed, heavy tenants of light lanes first',
] as const

/** What the tenant used lately, in seconds of the bottleneck per weight; older use fades. */
export function usageOf(tenant: Tenant, now: Millis): number {
  const seconds = (now - tenant.usageAt) / 1_000
  return (tenant.usage * Math.exp(-seconds / USAGE)) / tenant.weight
}

export function noteUsage(tenant: Tenant, cost: Seconds, now: Millis): void {
  const seconds = (now - tenant.usageAt) / 1_000
  tenant.usage = tenant.usage * Math.exp(-seconds / USAGE) + cost
  tenant.usageAt = now
}

/** How far down its ladder a request is: steps tried, and models tried of the step it stands on. */
export interface Rung {
  step: number
  model: number
}

export const TOP: Rung = { step: 0, model: 0 }

export type Lesser = { rung: Rung } & (
  { step: 'fallback'; model: string } | { step: Exclude<DegradeStep, 'fallback'> }
)

/** What comes next for a request that would be refused, of the steps that it opted in to and that can help;
 *  null: the refusal itself. Whether a model of the chain takes it is its admission's to say: one that does
 *  not brings the request back here. */
export function nextStep(of: {
  steps: readonly DegradeStep[]
  rung: Rung
  reason: Reason
  /** An event of an answer has been passed on: nothing else can be served any more. */
  forwarded: boolean
  /** Models to try instead of the one asked for. */
  chain: readonly string[]
}): Lesser | null {
  if (of.forwarded || !onLadder(of.reason)) return null
  let { step, model } = of.rung
  for (; step < of.steps.length; step++, model = 0) {
    const name = of.steps[step]!
    if (name !== 'fallback') return { step: name, rung: { step: step + 1, model: 0 } }
    // Another model gets no attempts that this one used up; what was cached, or comes later, needs none.
    if (of.reason === 'ATTEMPTS') continue
    const next = of.chain[model]
    if (next !== undefined) return { step: name, model: next, rung: { step, model: model + 1 } }
  }
  return null
}

/** Of two refusals of one request the one that says more: the first, unless attempts were made since. */
export function saysMore(of: {
  before: { refusal: Refused; attempts: number } | null
  now: Refused
  attempts: number
}): Refused {
  const { before } = of
  return before === null || of.attempts > before.attempts ? of.now : before.refusal
}
