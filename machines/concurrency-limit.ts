/** How many attempts a route may have in flight: the chart over `aimd` (control-laws §8).
 *  steady: growing by one per healthy window, or unused. recovering: regaining what it had before a
 *  congestion event. held: the provider asked for a slower ramp, so nothing grows. */
import { assign, setup, type SnapshotFrom } from 'xstate'
import type { Millis } from '#contracts/units'
import * as aimd from './aimd.ts'
import type { Aimd, LimitSettings } from './aimd.ts'
import { heard, type Heard } from './fleet-word.ts'

export interface LimitInput {
  settings: LimitSettings
  at: Millis
}

export interface LimitContext {
  settings: LimitSettings
  aimd: Aimd
  /** Why the limit is what it is. */
  reason: string
}

export type LimitEvent =
  /** `inflight` includes the attempt; needed only when it is a new peak. */
  | { type: 'attempt.started'; inflight: number }
  /** `traits`: whose it is, and what else it may share with others; absent: callers are not told apart. */
  | { type: 'attempt.ok'; at: Millis; traits?: aimd.Traits }
  /** The attempt still counts in `inflight`. */
  | ({ type: 'attempt.throttled' } & aimd.Throttle)
  /** `wanted`: something waits that only this limit keeps from starting; absent: not known. */
  | { type: 'tick'; at: Millis; inflight: number; wanted?: boolean }
  | { type: 'clock.jumped'; at: Millis; inflight: number }
  | { type: 'breaker.opened'; at: Millis }
  /** `steady`: the breaker's ramp follows successes; absent: steps of time. */
  | { type: 'breaker.ramping'; at: Millis; inflight: number; steady?: boolean }
  /** The ramp is over; `earned`: attempts at once that it has seen succeed. */
  | { type: 'breaker.ramped'; at: Millis; earned: number }
  | { type: 'ramp.limited'; at: Millis; retryAfterMs: Millis }
  /** What another instance of the fleet says of the limit; `cut`: it met a refusal that we have not heard of. */
  | ({ type: 'fleet.heard' } & Heard)
  | { type: 'settings.changed'; settings: LimitSettings; at: Millis }

type Mode = 'steady' | 'recovering' | 'held'

export const limitMachine = setup({
  types: {
    input: {} as LimitInput,
    context: {} as LimitContext,
    events: {} as LimitEvent,
  },
  guards: {
    leadsTo: ({ context, event }, params: { mode: Mode }) =>
      modeOf(apply(context, event).next, event) === params.mode,
  },
  actions: {
    apply: assign(({ context, event }) => {
      const { next, reason } = apply(context, event)
      const settings = event.type === 'settings.changed' ? event.settings : context.settings
      return {
        aimd: next,
        settings,
        reason: next.limit === context.aimd.limit ? context.reason : reason,
      }
    }),
  },
}).createMachine({
  id: 'limit',
  initial: 'steady',
  options: { maxIterations: 1_000 },
  context: ({ input }) => ({
    settings: input.settings,
    aimd: aimd.begin(input.settings, input.at),
    reason: 'start',
  }),
  states: {
    steady: {
      on: {
        'attempt.started': { actions: ['apply'] },
        'attempt.ok': { actions: ['apply'] },
        'attempt.throttled': [
          {
            guard: { type: 'leadsTo', params: { mode: 'recovering' } },
            target: 'recovering',
            actions: ['apply'],
          },
          { actions: ['apply'] },
        ],
        tick: [
          {
            guard: { type: 'leadsTo', params: { mode: 'recovering' } },
            target: 'recovering',
            actions: ['apply'],
          },
          { actions: ['apply'] },
        ],
        'breaker.ramping': [
          {
            guard: { type: 'leadsTo', params: { mode: 'recovering' } },
            target: 'recovering',
            actions: ['apply'],
          },
          { actions: ['apply'] },
        ],
        'breaker.ramped': { actions: ['apply'] },
        'ramp.limited': { target: 'held', actions: ['apply'] },
        'breaker.opened': { actions: ['apply'] },
        'clock.jumped': { actions: ['apply'] },
        'settings.changed': { actions: ['apply'] },
        'fleet.heard': [
          {
            guard: { type: 'leadsTo', params: { mode: 'recovering' } },
            target: 'recovering',
            actions: ['apply'],
          },
          { actions: ['apply'] },
        ],
      },
    },
    recovering: {
      on: {
        'attempt.started': { actions: ['apply'] },
        'attempt.ok': { actions: ['apply'] },
        'attempt.throttled': { actions: ['apply'] },
        tick: [
          {
            guard: { type: 'leadsTo', params: { mode: 'steady' } },
            target: 'steady',
            actions: ['apply'],
          },
          { actions: ['apply'] },
        ],
        'breaker.ramping': { actions: ['apply'] },
        'breaker.ramped': { actions: ['apply'] },
        'ramp.limited': { target: 'held', actions: ['apply'] },
        'breaker.opened': [
          {
            guard: { type: 'leadsTo', params: { mode: 'steady' } },
            target: 'steady',
            actions: ['apply'],
          },
          { actions: ['apply'] },
        ],
        'clock.jumped': { actions: ['apply'] },
        'settings.changed': [
          {
            guard: { type: 'leadsTo', params: { mode: 'steady' } },
            target: 'steady',
            actions: ['apply'],
          },
          { actions: ['apply'] },
        ],
        'fleet.heard': [
          {
            guard: { type: 'leadsTo', params: { mode: 'steady' } },
            target: 'steady',
            actions: ['apply'],
          },
          { actions: ['apply'] },
        ],
      },
    },
    held: {
      on: {
        'attempt.started': { actions: ['apply'] },
        'attempt.ok': { actions: ['apply'] },
        'attempt.throttled': { actions: ['apply'] },
        tick: [
          {
            guard: { type: 'leadsTo', params: { mode: 'recovering' } },
            target: 'recovering',
            actions: ['apply'],
          },
          {
            guard: { type: 'leadsTo', params: { mode: 'steady' } },
            target: 'steady',
            actions: ['apply'],
          },
          { actions: ['apply'] },
        ],
        'breaker.ramping': { actions: ['apply'] },
        'breaker.ramped': { actions: ['apply'] },
        'ramp.limited': { actions: ['apply'] },
        'breaker.opened': { actions: ['apply'] },
        'clock.jumped': { actions: ['apply'] },
        'settings.changed': { actions: ['apply'] },
        'fleet.heard': { actions: ['apply'] },
      },
    },
  },
})

export type LimitSnapshot = SnapshotFrom<typeof limitMachine>
export type LimitState = LimitSnapshot['value']

/** What the arithmetic makes of an event. */
function apply(context: LimitContext, event: LimitEvent): aimd.Change {
  const { aimd: now, settings } = context
  switch (event.type) {
    case 'attempt.started':
      return { next: aimd.started(now, event.inflight), reason: 'started' }
    case 'attempt.ok':
      return { next: aimd.ok(now, event.at, event.traits), reason: 'ok' }
    case 'attempt.throttled':
      return aimd.throttled(now, event, settings)
    case 'tick':
      return aimd.tick(now, event, settings)
    case 'clock.jumped':
      return { next: aimd.jumped(now, event), reason: 'clock_jumped' }
    case 'breaker.opened':
      return { next: aimd.tripped(now, event.at), reason: 'breaker_opened' }
    case 'breaker.ramping':
      return { next: aimd.rampStarted(now, event, settings), reason: 'breaker_ramping' }
    case 'breaker.ramped':
      return { next: aimd.rampEnded(now, event.earned, settings), reason: 'ramp_ended' }
    case 'ramp.limited':
      return { next: aimd.slowed(now, event), reason: 'ramp_limit_exceeded' }
    case 'fleet.heard':
      return heard(now, event, settings)
    case 'settings.changed':
      return { next: aimd.configured(now, event.settings), reason: 'settings_changed' }
  }
}

function modeOf(next: Aimd, event: LimitEvent): Mode {
  const at = 'at' in event ? event.at : 0
  if (aimd.held(next, at)) return 'held'
  return aimd.recovering(next, at) ? 'recovering' : 'steady'
}
