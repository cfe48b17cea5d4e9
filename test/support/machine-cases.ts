/** The three machines with one example event per type and branch, for walks and model-based tests. */
import type { AnyStateMachine } from 'xstate'
import { breakerMachine, type BreakerEvent } from '#machines/breaker'
import { limitMachine, type LimitEvent } from '#machines/concurrency-limit'
import { lifecycleMachine, type LifecycleEvent } from '#machines/request-lifecycle'

/** Quick to trip, so that walks see every state. */
export const breakerInput = {
  settings: { threshold: 0.25, windowMs: 30_000, minSamples: 4, openMs: 15_000, probeRatio: 0.1 },
  random: () => 0.5,
}

export const limitInput = {
  settings: { mode: 'default' as const, initial: 20, floor: 8, ceiling: 128, windowMs: 30_000 },
  at: 1,
}

/** Events at a given time; `pick` chooses among tenants and loads. The generation and epoch are mostly
 *  the machine's present ones: events of others are ignored, and a walk of those sees nothing. */
export const breakerEvents = (
  at: number,
  pick: (n: number) => number,
  now: { generation: number },
): BreakerEvent[] => [
  {
    type: 'attempt.ok',
    generation: now.generation - (pick(5) === 0 ? 1 : 0),
    tenant: `t${pick(2)}`,
    at,
    limit: 4 + pick(20),
    inflight: pick(20),
  },
  {
    type: 'attempt.failed',
    generation: now.generation - (pick(5) === 0 ? 1 : 0),
    tenant: `t${pick(2)}`,
    at,
  },
  { type: 'probe.started' },
  { type: 'tick' },
  { type: 'ramp.slowed', slow: pick(2) === 0 },
  ...(pick(10) === 0 ? [{ type: 'fleet.opened' as const, openFor: 5_000 + pick(20_000) }] : []),
  {
    type: 'settings.changed',
    settings: { ...breakerInput.settings, minSamples: 3 + pick(3), steady: pick(3) > 0 },
  },
]

export const limitEvents = (
  at: number,
  pick: (n: number) => number,
  now: { aimd: { epoch: number } },
): LimitEvent[] => [
  // Traffic is most of a walk; what changes the mode is rare, or no walk would regain anything.
  ...Array.from({ length: 12 }, () => ({ type: 'attempt.ok' as const, at })),
  ...Array.from({ length: 6 }, () => ({
    type: 'attempt.throttled' as const,
    epoch: now.aimd.epoch - (pick(5) === 0 ? 1 : 0),
    at,
    inflight: 1 + pick(20),
  })),
  ...Array.from({ length: 12 }, () => ({ type: 'tick' as const, at, inflight: pick(20) })),
  ...Array.from({ length: 4 }, () => ({ type: 'attempt.started' as const, inflight: pick(60) })),
  { type: 'clock.jumped', at, inflight: pick(20) },
  { type: 'breaker.opened', at },
  { type: 'breaker.ramping', at, inflight: pick(20), steady: pick(2) === 0 },
  { type: 'breaker.ramped', at, earned: pick(30) },
  { type: 'ramp.limited', at, retryAfterMs: pick(90_000) },
  { type: 'fleet.heard', at, limit: 1 + pick(80), cut: pick(3) === 0, inflight: pick(60) },
  { type: 'settings.changed', settings: { ...limitInput.settings, ceiling: 8 + pick(100) }, at },
]

export const lifecycleEvents = (at: number): LifecycleEvent[] => [
  { type: 'attempt.started', at },
  { type: 'stream.forwarding', at },
  { type: 'attempt.retrying', at },
  { type: 'attempt.rerouted', at },
  { type: 'backoff.over', at },
  { type: 'attempt.aborting', at },
  { type: 'attempt.requeued', at },
  { type: 'request.settled', at },
]

export { breakerMachine, lifecycleMachine, limitMachine }

/** A machine to be walked at random. */
export interface Walk {
  machine: AnyStateMachine
  input: unknown
  events: (at: number, pick: (n: number) => number, now: never) => readonly { type: string }[]
}

export const walks: Record<string, Walk> = {
  'request-lifecycle': {
    machine: lifecycleMachine,
    input: { at: 0 },
    events: (at) => lifecycleEvents(at),
  },
  breaker: { machine: breakerMachine, input: breakerInput, events: breakerEvents },
  'concurrency-limit': { machine: limitMachine, input: limitInput, events: limitEvents },
}

/** A context as text, whatever JSON would leave out of it. */
export const told = (context: unknown): string =>
  JSON.stringify(context, (_, value: unknown) =>
    typeof value === 'symbol' || value === Infinity || value === -Infinity ? String(value) : value,
  )
