/** Stops a failing route, probes it, and lets traffic back in steps (control-laws §10).
 *  Counts only verdicts of its own generation. The permits themselves are slots, counted by the core
 *  under the cap that `gateOf` reads from here. */
import { assign, setup, type SnapshotFrom } from 'xstate'
import type { Millis } from '#contracts/units'
import { emptyWindow, failing, note, type FailureWindow } from './failure-window.ts'

/** Half-open ends after this many successes, or failures, or this long after its first probe. */
const PROBES = { enough: 5, tooMany: 2, decideWithin: 60_000 }
/** After a failed probe the breaker stays open for the longest that is allowed. */
const OPEN = { min: 10_000, max: 20_000, jitter: 0.2 }
/** Ramp: shares of the limit, a step each; slower after `ramp_limit_exceeded`. */
export const RAMP = { shares: [0.25, 0.5, 0.75], step: 5_000, slowStep: 10_000 } as const

export interface BreakerSettings {
  threshold: number
  windowMs: Millis
  minSamples: number
  openMs: Millis
  probeRatio: number
}

export interface BreakerInput {
  settings: BreakerSettings
  /** Uniform in [0, 1): spreads the end of open times over a fleet. */
  random: () => number
}

export interface BreakerContext extends BreakerInput {
  generation: number
  window: FailureWindow
  /** Of the present half-open. */
  probesOk: number
  probesFailed: number
  openFor: Millis
  /** Place in `RAMP.shares`. */
  rampStep: number
  slow: boolean
  /** Why the last change of state came. */
  reason: string
}

type Verdict = { generation: number; tenant: string; at: Millis }
export type BreakerEvent =
  | ({ type: 'attempt.ok' } & Verdict)
  | ({ type: 'attempt.failed' } & Verdict)
  | { type: 'probe.started' }
  /** The limit's ramp is held back: the breaker's own is slower too. */
  | { type: 'ramp.slowed'; slow: boolean }
  | { type: 'settings.changed'; settings: BreakerSettings }

export const breakerMachine = setup({
  types: {
    input: {} as BreakerInput,
    context: {} as BreakerContext,
    events: {} as BreakerEvent,
  },
  delays: {
    openFor: ({ context }) => context.openFor,
    decideWithin: PROBES.decideWithin,
    rampStep: ({ context }) => (context.slow ? RAMP.slowStep : RAMP.step),
  },
  guards: {
    otherGeneration: ({ context, event }) =>
      'generation' in event && event.generation !== context.generation,
    tripping: ({ context, event }) =>
      event.type === 'attempt.failed' &&
      failing(
        note(context.window, {
          ok: false,
          tenant: event.tenant,
          at: event.at,
          windowMs: context.settings.windowMs,
        }),
        { ...context.settings, at: event.at },
      ),
    enoughProbes: ({ context }) => context.probesOk + 1 >= PROBES.enough,
    tooManyFailures: ({ context }) => context.probesFailed + 1 >= PROBES.tooMany,
    lastStep: ({ context }) => context.rampStep >= RAMP.shares.length - 1,
  },
  actions: {
    countOk: assign({
      window: ({ context, event }) =>
        event.type === 'attempt.ok'
          ? note(context.window, {
              ok: true,
              tenant: event.tenant,
              at: event.at,
              windowMs: context.settings.windowMs,
            })
          : context.window,
    }),
    countFailure: assign({
      window: ({ context, event }) =>
        event.type === 'attempt.failed'
          ? note(context.window, {
              ok: false,
              tenant: event.tenant,
              at: event.at,
              windowMs: context.settings.windowMs,
            })
          : context.window,
    }),
    countProbeOk: assign({ probesOk: ({ context }) => context.probesOk + 1 }),
    countProbeFailure: assign({ probesFailed: ({ context }) => context.probesFailed + 1 }),
    /** Each change that starts a new count raises the generation. */
    openUp: assign(({ context }) => ({
      generation: context.generation + 1,
      openFor: jittered(context),
      window: emptyWindow,
      reason: 'error_rate',
    })),
    openAgain: assign(({ context }, params: { reason: string }) => ({
      generation: context.generation + 1,
      openFor: OPEN.max,
      reason: params.reason,
    })),
    letProbesIn: assign(({ context }) => ({
      generation: context.generation + 1,
      probesOk: 0,
      probesFailed: 0,
      reason: 'open_time_over',
    })),
    rampUp: assign(({ context }) => ({
      generation: context.generation + 1,
      window: emptyWindow,
      rampStep: 0,
      reason: 'probes_succeeded',
    })),
    nextStep: assign({
      rampStep: ({ context }) => context.rampStep + 1,
      reason: 'ramp_step',
    }),
    close: assign({ reason: 'ramp_passed' }),
    slowDown: assign({
      slow: ({ context, event }) => (event.type === 'ramp.slowed' ? event.slow : context.slow),
    }),
    configure: assign({
      settings: ({ context, event }) =>
        event.type === 'settings.changed' ? event.settings : context.settings,
    }),
  },
}).createMachine({
  id: 'breaker',
  initial: 'closed',
  options: { maxIterations: 1_000 },
  context: ({ input }) => ({
    ...input,
    generation: 0,
    window: emptyWindow,
    probesOk: 0,
    probesFailed: 0,
    openFor: input.settings.openMs,
    rampStep: 0,
    slow: false,
    reason: 'start',
  }),
  states: {
    closed: {
      on: {
        'attempt.ok': [{ guard: 'otherGeneration' }, { actions: ['countOk'] }],
        'attempt.failed': [
          { guard: 'otherGeneration' },
          { guard: 'tripping', target: 'open', actions: ['openUp'] },
          { actions: ['countFailure'] },
        ],
        'ramp.slowed': { actions: ['slowDown'] },
        'settings.changed': { actions: ['configure'] },
      },
    },
    open: {
      after: { openFor: { target: 'halfOpen', actions: ['letProbesIn'] } },
      on: {
        'ramp.slowed': { actions: ['slowDown'] },
        'settings.changed': { actions: ['configure'] },
      },
    },
    /** Permits are out, none is used yet: nothing to decide, so no time runs. */
    halfOpen: {
      on: {
        'probe.started': { target: 'probing' },
        'ramp.slowed': { actions: ['slowDown'] },
        'settings.changed': { actions: ['configure'] },
      },
    },
    probing: {
      after: {
        decideWithin: {
          target: 'open',
          actions: [{ type: 'openAgain', params: { reason: 'probes_undecided' } }],
        },
      },
      on: {
        'attempt.ok': [
          { guard: 'otherGeneration' },
          { guard: 'enoughProbes', target: 'ramp', actions: ['rampUp'] },
          { actions: ['countProbeOk'] },
        ],
        'attempt.failed': [
          { guard: 'otherGeneration' },
          {
            guard: 'tooManyFailures',
            target: 'open',
            actions: [{ type: 'openAgain', params: { reason: 'probes_failed' } }],
          },
          { actions: ['countProbeFailure'] },
        ],
        'ramp.slowed': { actions: ['slowDown'] },
        'settings.changed': { actions: ['configure'] },
      },
    },
    ramp: {
      after: {
        rampStep: [
          { guard: 'lastStep', target: 'closed', actions: ['close'] },
          { target: 'ramp', reenter: true, actions: ['nextStep'] },
        ],
      },
      on: {
        'attempt.ok': [{ guard: 'otherGeneration' }, { actions: ['countOk'] }],
        'attempt.failed': [
          { guard: 'otherGeneration' },
          { guard: 'tripping', target: 'open', actions: ['openUp'] },
          { actions: ['countFailure'] },
        ],
        'ramp.slowed': { actions: ['slowDown'] },
        'settings.changed': { actions: ['configure'] },
      },
    },
  },
})

export type BreakerSnapshot = SnapshotFrom<typeof breakerMachine>
export type BreakerState = BreakerSnapshot['value']

/** The open time, spread by +-20 % and kept within what the law allows. */
function jittered(context: BreakerContext): Millis {
  const spread = 1 + OPEN.jitter * (2 * context.random() - 1)
  return Math.round(Math.min(OPEN.max, Math.max(OPEN.min, context.settings.openMs * spread)))
}

/** How operators know the state; half-open is one to them, used or not. */
export const BAND = {
  closed: 'closed',
  open: 'open',
  halfOpen: 'half_open',
  probing: 'half_open',
  ramp: 'ramp',
} as const satisfies Record<BreakerState, string>

/** Concurrent attempts of this generation that the breaker permits, under the limit as it stands. Probes are
 *  a share of the `usual` limit: an outage drives the limit down, and probing one at a time would make it
 *  last (decisions/0014). */
export function capOf(
  snapshot: Pick<BreakerSnapshot, 'value' | 'context'>,
  limit: number,
  usual: number = limit,
): number {
  switch (snapshot.value) {
    case 'closed':
      return Infinity
    case 'open':
      return 0
    case 'ramp':
      return Math.max(1, Math.ceil((RAMP.shares[snapshot.context.rampStep] ?? 1) * limit))
    default:
      return Math.max(1, Math.ceil(snapshot.context.settings.probeRatio * Math.max(limit, usual)))
  }
}
