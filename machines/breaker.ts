/** Stops a failing route, probes it, and lets traffic back in steps (control-laws §10).
 *  Counts only verdicts of its own generation. The permits themselves are slots, counted by the core
 *  under the cap that `gateOf` reads from here. */
import { assign, setup, type SnapshotFrom } from 'xstate'
import type { Millis } from '#contracts/units'
import { emptyWindow, failing, note, type FailureWindow } from './failure-window.ts'

/** Half-open ends after this many successes, or failures, or this long after its first probe. */
export const PROBES = { enough: 5, tooMany: 2, decideWithin: 60_000 }
/** After a failed probe the breaker stays open for the longest that is allowed. */
export const OPEN = { min: 10_000, max: 20_000, jitter: 0.2 }
/** Ramp: shares of the limit, a step each; slower after `ramp_limit_exceeded`. */
/** Steady: a refusal leaves this share of what was in flight; at so few, probes decide again. */
export const RAMP = {
  shares: [0.25, 0.5, 0.75],
  step: 5_000,
  slowStep: 10_000,
  cut: 0.7,
  least: 2,
} as const

export interface BreakerSettings {
  threshold: number
  windowMs: Millis
  minSamples: number
  openMs: Millis
  probeRatio: number
  /** Failures without a success between them that open it, whatever came before; absent: only the share does. */
  inRow?: number
  /** True: probes go on until they succeed, and traffic comes back as fast as it succeeds; absent or false: two
   *  failed probes open the breaker again, and the ramp has three steps of time (control-laws §10). */
  steady?: boolean
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
  /** Steady: concurrent attempts that what succeeded has earned, in half-open beyond the probes, and in the ramp. */
  earned: number
  /** Steady: probes that failed since the last tick; each keeps its permit until then. */
  spent: number
  /** Steady: seconds in a row in which every probe failed; each halves the probes of the next, down to one. */
  dark: number
  /** Steady: a refusal has cut the ramp; from then on it grows by one in a round, no more by doubling. */
  careful: boolean
  openFor: Millis
  /** Place in `RAMP.shares`. */
  rampStep: number
  slow: boolean
  /** Why the last change of state came. */
  reason: string
}

type Verdict = {
  generation: number
  tenant: string
  at: Millis
  /** The limit as it stands, and attempts in flight, this one included; needed when steady. */
  limit?: number
  inflight?: number
}
export type BreakerEvent =
  | ({ type: 'attempt.ok' } & Verdict)
  | ({ type: 'attempt.failed' } & Verdict)
  | { type: 'probe.started' }
  /** Once a second; needed when steady. */
  | { type: 'tick' }
  /** The limit's ramp is held back: the breaker's own is slower too. */
  | { type: 'ramp.slowed'; slow: boolean }
  /** Another instance of the fleet has opened, by the provider's own word: it would be asked in vain. */
  | { type: 'fleet.opened'; openFor: Millis }
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
    tooManyFailures: ({ context }) =>
      context.settings.steady !== true && context.probesFailed + 1 >= PROBES.tooMany,
    /** All that was seen was good, though it was little. */
    onlyGood: ({ context }) =>
      context.settings.steady === true && context.probesOk > 0 && context.probesFailed === 0,
    steady: ({ context }) => context.settings.steady === true,
    /** The ramp permits all that the limit does. */
    allEarned: ({ context, event }) =>
      context.settings.steady === true &&
      !context.slow &&
      'limit' in event &&
      event.limit !== undefined &&
      context.earned + 1 >= event.limit,
    /** Refusals have taken the ramp back to where probes are. */
    rampLost: ({ context }) => context.settings.steady === true && context.earned <= RAMP.least,
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
    countProbeOk: assign({
      probesOk: ({ context }) => context.probesOk + 1,
      earned: ({ context }) => context.earned + 1,
      dark: 0,
    }),
    /** Steady: successes count from the last failure on. */
    countProbeFailure: assign({
      probesFailed: ({ context }) => context.probesFailed + 1,
      probesOk: ({ context }) => (context.settings.steady === true ? 0 : context.probesOk),
      earned: ({ context }) => Math.floor(context.earned / 2),
      spent: ({ context }) => context.spent + 1,
    }),
    earn: assign({
      earned: ({ context }) =>
        context.earned + (context.careful ? 1 / Math.max(1, context.earned) : 1),
    }),
    /** A refusal in the ramp: back to less than what was in flight. */
    cutRamp: assign({
      careful: true,
      earned: ({ context, event }) =>
        Math.max(
          1,
          Math.floor(
            RAMP.cut *
              Math.min(
                context.earned,
                'inflight' in event ? (event.inflight ?? Infinity) : Infinity,
              ),
          ),
        ),
    }),
    refill: assign(({ context }) => ({
      spent: 0,
      dark: context.spent > 0 && context.probesOk === 0 ? context.dark + 1 : context.dark,
    })),
    look: assign({ probesOk: 0, probesFailed: 0 }),
    probeAgain: assign(({ context }) => ({
      generation: context.generation + 1,
      probesOk: 0,
      probesFailed: 0,
      earned: 0,
      spent: 0,
      dark: 0,
      reason: 'ramp_refused',
    })),
    /** Each change that starts a new count raises the generation. */
    openUp: assign(({ context }) => ({
      generation: context.generation + 1,
      openFor: jittered(context),
      window: emptyWindow,
      reason: 'error_rate',
    })),
    openWithFleet: assign(({ context, event }) => ({
      generation: context.generation + 1,
      openFor: event.type === 'fleet.opened' ? Math.min(OPEN.max, event.openFor) : context.openFor,
      window: emptyWindow,
      reason: 'opened_by_the_fleet',
    })),
    openAgain: assign(({ context }, params: { reason: string }) => ({
      generation: context.generation + 1,
      openFor: OPEN.max,
      reason: params.reason,
    })),
    letProbesIn: assign(({ context }) => ({
      generation: context.generation + 1,
      probesOk: 0,
      earned: 0,
      spent: 0,
      dark: 0,
      probesFailed: 0,
      reason: 'open_time_over',
    })),
    rampUp: assign(({ context }) => ({
      generation: context.generation + 1,
      window: emptyWindow,
      earned: context.earned + PROBES.enough,
      careful: false,
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
    earned: 0,
    spent: 0,
    dark: 0,
    careful: false,
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
        'fleet.opened': { target: 'open', actions: ['openWithFleet'] },
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
        decideWithin: [
          { guard: 'onlyGood', target: 'ramp', actions: ['rampUp'] },
          { guard: 'steady', target: 'probing', reenter: true, actions: ['look'] },
          {
            target: 'open',
            actions: [{ type: 'openAgain', params: { reason: 'probes_undecided' } }],
          },
        ],
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
        tick: { actions: ['refill'] },
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
        'attempt.ok': [
          { guard: 'otherGeneration' },
          { guard: 'allEarned', target: 'closed', actions: ['countOk', 'close'] },
          { actions: ['countOk', 'earn'] },
        ],
        'attempt.failed': [
          { guard: 'otherGeneration' },
          { guard: 'rampLost', target: 'halfOpen', actions: ['probeAgain'] },
          { guard: 'steady', actions: ['countFailure', 'cutRamp'] },
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
  const { settings, earned, spent, dark, rampStep, slow } = snapshot.context
  switch (snapshot.value) {
    case 'closed':
      return Infinity
    case 'open':
      return 0
    case 'ramp':
      // Asked to come back slowly, it takes its time whatever succeeds.
      return settings.steady === true && !slow
        ? Math.max(1, Math.min(limit, Math.floor(earned)))
        : Math.max(1, Math.ceil((RAMP.shares[rampStep] ?? 1) * limit))
    default: {
      const probes = Math.max(1, Math.ceil(settings.probeRatio * Math.max(limit, usual)))
      if (settings.steady !== true) return probes
      return Math.max(0, Math.ceil(probes / 2 ** Math.min(dark, 10)) + earned - spent)
    }
  }
}
