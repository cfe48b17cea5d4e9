/** The arithmetic of the concurrency limit: additive increase, multiplicative decrease, once per
 *  congestion event (control-laws §8). Pure: every function gives a new value and its reason.
 *
 *  Our differences from the textbook: a decrease needs a burst (a ratio over recent verdicts, not one
 *  error), the limit before an episode is remembered and regained by halving the gap, a raise that the
 *  provider answers with a burst is only taken back, and the next one is half as large (decisions/0014), and
 *  the largest load of the last 24 h bounds growth. A 429 never comes here. */
import type { Millis } from '#contracts/units'
import {
  BURST,
  isBurst,
  isOwn,
  lately,
  NOBODY,
  OTHERS,
  pushed,
  RECENT,
  stamp,
  type Lately,
  type Traits,
} from './burst.ts'

export type { Traits }

/** A decrease this long after the last one is a new episode. */
export const EPISODE: Millis = 120_000
export const FAST_WINDOW = { start: 5_000, max: 30_000, idle: 60_000 }
export const SLOW_WINDOW: Millis = 60_000
export const FIND_WINDOW: Millis = 2_000
export const FACTOR = 0.7
export const RECOVERED = 0.9
/** Of the limit, what may be kept free and still counts as used where it is waited for; at least one slot. */
export const KEPT = 0.2
export const HEALTHY = { throttled: 0.03, minSamples: 10, used: 0.8 }
/** Where calls are long, few end in a window: it stays open for more, no longer than this. */
export const WINDOW_MAX: Millis = 120_000
export const CEILING_OVER_PEAK = 1.2
const HOUR: Millis = 3_600_000
export const HOURS = 24
export const HOLD = { min: 60_000, thenSlow: 600_000 }

export interface LimitSettings {
  mode: 'default' | 'classic'
  initial: number
  floor: number
  ceiling: number
  windowMs: Millis
}

export interface Aimd {
  readonly limit: number
  readonly epoch: number
  /** The limit before the present episode. */
  readonly best: number
  /** The limit before the last cut: half of the way back to it is taken at once. */
  readonly near: number
  /** The limit before the last raise, while no healthy window has confirmed that; null: it has, or no raise. */
  readonly raisedFrom: number | null
  /** The next raise beyond `near`, on the way to `best`. */
  readonly step: number
  readonly fastWindow: Millis
  readonly lastDecrease: Millis
  /** Since the last decrease no full healthy window has passed outside recovery. */
  readonly post: boolean
  /** Last verdicts, oldest first: when, negative for a throttle. Instants are at least 1. */
  readonly ring: readonly number[]
  /** What those have in common whose throttles are in the ring; as many as there are throttles. */
  readonly throttled: readonly Traits[]
  /** The last good answers, oldest first: to whom, when. */
  readonly answered: readonly (readonly [to: Traits, at: Millis])[]
  readonly window: {
    readonly start: Millis
    readonly n: number
    readonly throttles: number
    readonly peak: number
  }
  /** Largest load per hour of the last 24: [hour, peak]. */
  readonly peaks: readonly (readonly [hour: number, peak: number])[]
  /** The largest of them; 0: none yet. */
  readonly peak: number
  readonly heldUntil: Millis
  readonly slowUntil: Millis
}

export interface Change {
  next: Aimd
  reason: string
}

export const begin = (settings: LimitSettings, at: Millis): Aimd => ({
  limit: settings.initial,
  epoch: 0,
  best: settings.initial,
  near: settings.initial,
  raisedFrom: null,
  step: 1,
  fastWindow: FAST_WINDOW.start,
  lastDecrease: -Infinity,
  post: false,
  ring: [],
  throttled: [],
  answered: [],
  window: { start: at, n: 0, throttles: 0, peak: 0 },
  peaks: [],
  peak: 0,
  heldUntil: -Infinity,
  slowUntil: -Infinity,
})

export const recovering = (a: Aimd, at: Millis): boolean =>
  a.limit < RECOVERED * a.best && at >= a.slowUntil

export const held = (a: Aimd, at: Millis): boolean => at < a.heldUntil

/** An attempt started; `inflight` includes it. */
export const started = (a: Aimd, inflight: number): Aimd =>
  inflight <= a.window.peak ? a : { ...a, window: { ...a.window, peak: inflight } }

export const ok = (a: Aimd, at: Millis, traits: Traits = NOBODY): Aimd => ({
  ...a,
  ...pushed(a, stamp(at)),
  answered: [...a.answered.slice(1 - OTHERS.last), [traits, at]],
  window: { ...a.window, n: a.window.n + 1 },
})

/** A throttle by an attempt of `epoch`, which still counts in `inflight`. */
export interface Throttle {
  epoch: number
  at: Millis
  inflight: number
  /** Whose it is, and what else it may share with others; absent: callers are not told apart. */
  traits?: Traits | undefined
  /** Of `inflight`, how many the provider has certainly taken: they are older than its refusals are. Absent: not
   *  known. It serves so many at once, so the limit need not be lower. */
  accepted?: number | undefined
}

export function throttled(a: Aimd, by: Throttle, settings: LimitSettings): Change {
  if (settings.mode === 'classic') return classicDecrease(a, by, settings)
  if (by.epoch !== a.epoch) return { next: a, reason: 'same_congestion_event' }
  const told = pushed(a, -stamp(by.at), by.traits ?? NOBODY)
  const window = { ...a.window, n: a.window.n + 1, throttles: a.window.throttles + 1 }
  const seen = lately(told.ring, by.at)
  if (!isBurst(seen)) return { next: { ...a, ...told, window }, reason: 'noise' }
  // Nor do its throttles make the window unhealthy, in which the others do well.
  if (isOwn(told.throttled, a.answered, by.at))
    return { next: { ...a, ...told }, reason: 'one_cause_alone' }
  if (a.raisedFrom !== null && a.raisedFrom < a.limit)
    return takenBack(a, a.raisedFrom, by, mostlyWell(seen, by) && by.at - a.lastDecrease > RECENT)
  const fresh = by.at - a.lastDecrease > EPISODE
  const cut = Math.max(
    Math.min(settings.floor, a.limit),
    Math.floor(factorOf(seen) * Math.min(a.limit, by.inflight + 1)),
  )
  // It serves so many at this moment: that is the capacity, and no guess.
  const shown = mostlyWell(seen, by) && (by.accepted ?? 0) > cut
  // The first cut after good times says what there is; those that follow at once are a storm's.
  const lone = by.at - a.lastDecrease > RECENT
  const limit = shown && lone ? Math.max(cut, Math.min(a.limit - 1, by.accepted ?? 0)) : cut
  const next: Aimd = {
    ...a,
    limit,
    epoch: a.epoch + 1,
    best:
      shown && lone
        ? limit
        : fresh
          ? Math.max(a.limit, Math.min(a.best, peakOf(a, settings)))
          : a.best,
    near: shown && lone ? limit : a.limit,
    raisedFrom: null,
    step: 1,
    fastWindow: fresh ? FAST_WINDOW.start : Math.min(FAST_WINDOW.max, 2 * a.fastWindow),
    lastDecrease: by.at,
    post: true,
    ring: [],
    throttled: [],
    window: restart(by.at, by.inflight),
  }
  return { next, reason: 'upstream_overloaded' }
}

/** The last raise was too much: what was healthy before it is known. When not even one more is possible, the
 *  next try waits for longer. */
function takenBack(a: Aimd, limit: number, by: Throttle, well: boolean): Change {
  const step = Math.floor((a.limit - limit) / 2)
  const next: Aimd = {
    ...a,
    limit,
    epoch: a.epoch + 1,
    // Beyond it the provider has just refused: that is known now, too.
    best: well ? Math.min(a.best, Math.max(limit, by.accepted ?? 0)) : a.best,
    near: Math.min(a.near, limit),
    raisedFrom: null,
    step: Math.max(1, step),
    fastWindow: Math.min(step === 0 ? FAST_WINDOW.idle : FAST_WINDOW.max, 2 * a.fastWindow),
    lastDecrease: by.at,
    post: true,
    ring: [],
    throttled: [],
    window: restart(by.at, by.inflight),
  }
  return { next, reason: 'raise_taken_back' }
}

/** The more of the last verdicts are throttles, the deeper the cut: a provider that refuses one in five is
 *  nearly right, one that refuses most is far off. Source: DCTCP (Alizadeh et al. 2010). */
function factorOf({ recent, throttles, lastThrottles }: Lately): number {
  const share = Math.max(throttles / recent, lastThrottles / Math.min(recent, BURST.ofLast))
  return Math.max(FACTOR, 1 - share * share)
}

/** The provider takes most of what it is sent: what it refuses is what was too much, and no storm. */
const mostlyWell = ({ recent, throttles }: Lately, by: Throttle): boolean =>
  throttles <= recent / 2 || (by.accepted ?? 0) > by.inflight / 2

/** The plain rule of `mode: classic`: any throttle shrinks, and one healthy window regains one. */
function classicDecrease(
  a: Aimd,
  by: { at: Millis; inflight: number },
  settings: LimitSettings,
): Change {
  const limit = Math.max(Math.min(settings.floor, a.limit), Math.floor(FACTOR * a.limit))
  const window = { ...a.window, n: a.window.n + 1, throttles: a.window.throttles + 1 }
  return { next: { ...a, limit, lastDecrease: by.at, window }, reason: 'upstream_overloaded' }
}

/** Once a second. */
export function tick(
  a: Aimd,
  now: { at: Millis; inflight: number; wanted?: boolean | undefined },
  settings: LimitSettings,
): Change {
  const { at, inflight } = now
  // Work that only this limit keeps waiting is as good a reason to hurry as a limit that was higher before.
  const eager = now.wanted === true && at >= a.slowUntil
  const inRecovery = settings.mode === 'default' && (recovering(a, at) || eager)
  // Nothing was ever refused: the capacity is still to be found.
  const finding = eager && a.epoch === 0
  const length = finding
    ? FIND_WINDOW
    : inRecovery
      ? a.fastWindow
      : settings.mode === 'default' && (a.post || at < a.slowUntil)
        ? SLOW_WINDOW
        : settings.windowMs
  if (at - a.window.start < length) return { next: a, reason: 'window_open' }
  const window = restart(at, inflight)
  const { n, throttles, peak } = a.window
  const allowed = settings.mode === 'classic' ? 0 : Math.max(1, HEALTHY.throttled * n)
  const few = n < Math.min(HEALTHY.minSamples, a.limit)
  if (
    few &&
    throttles <= allowed &&
    settings.mode === 'default' &&
    at - a.window.start < WINDOW_MAX
  )
    return { next: a, reason: 'window_open' }
  const healthy = throttles <= allowed && !few
  const post = inRecovery ? a.post : false
  if (!healthy) return { next: { ...a, window, post }, reason: 'window_not_healthy' }
  const peaks = remember(a.peaks, at, peak)
  const most = largest(peaks)
  // What a bound that scales with the limit keeps waiting uses all that it may.
  const used = peak >= HEALTHY.used * a.limit || (eager && settings.mode === 'default')
  if (!used || held(a, at)) {
    const reason = used ? 'held' : 'limit_not_used'
    return { next: { ...a, peaks, peak: most, post, window }, reason }
  }
  const gain = finding ? fifthOf(peak) : inRecovery ? regain(a, peak) : 1
  // What is kept free for others while somebody waits for it counts as used, up to a part: else it could never grow.
  const kept = eager ? Math.min(Math.max(1, KEPT * a.limit), Math.max(0, a.limit - peak)) : 0
  const limit = Math.max(a.limit, Math.min(ceilingOf(most + kept, settings), a.limit + gain))
  const reason = limit === a.limit ? 'at_ceiling' : inRecovery ? 'regaining' : 'healthy_window'
  // A raise that was not used yet is not proven: what was proven before it stays known.
  const proven = a.raisedFrom !== null && peak <= a.raisedFrom ? a.raisedFrom : a.limit
  const raisedFrom = limit > a.limit || proven < a.limit ? proven : null
  const best = Math.max(a.best, proven)
  const grown = { ...a, limit, best, peaks, peak: most, post, window, raisedFrom }
  if (settings.mode === 'classic') return { next: { ...grown, raisedFrom: null }, reason }
  // What works may be tried in larger steps, and sooner.
  const step = !inRecovery ? 1 : a.limit < a.near ? a.step : 2 * a.step
  const fastWindow = inRecovery ? Math.max(FAST_WINDOW.start, a.fastWindow / 2) : a.fastWindow
  return { next: { ...grown, step, fastWindow }, reason }
}

/** Half of the way to where the last cut was made; beyond it, what has worked so far doubled. */
function regain(a: Aimd, peak: number): number {
  const half = (to: number): number => Math.max(1, Math.ceil((to - a.limit) / 2))
  if (a.limit < a.near) return half(a.near)
  if (a.limit < a.best) return Math.min(half(a.best), a.step)
  // Beyond all that was known: never by more than a fifth of what was used.
  return Math.min(a.step, fifthOf(peak))
}

const fifthOf = (peak: number): number => Math.max(1, Math.floor((CEILING_OVER_PEAK - 1) * peak))

/** The largest load of the last 24 h; before any, the initial limit. */
export const peakOf = (a: Aimd, settings: LimitSettings): number =>
  a.peak === 0 ? settings.initial : a.peak

/** Nothing grows beyond what the last 24 h proved, and a little. */
export const ceilingOf = (peak: number, settings: LimitSettings): number =>
  Math.min(settings.ceiling, Math.ceil(CEILING_OVER_PEAK * Math.max(peak, settings.initial)))

/** The breaker opened: an outage is not a capacity measurement, so remember what was. */
export const tripped = (a: Aimd, at: Millis): Aimd =>
  at - a.lastDecrease > EPISODE ? { ...a, best: a.limit } : a

/** The ramp ended below what was: that much is proven. */
export const rampEnded = (a: Aimd, earned: number, settings: LimitSettings): Aimd => {
  const limit = Math.max(Math.min(settings.floor, a.limit), Math.min(a.limit, Math.floor(earned)))
  return limit === a.limit ? a : { ...a, limit, near: limit, raisedFrom: null }
}

/** The breaker lets traffic back: half of what was, quickly regained. */
export const rampStarted = (
  a: Aimd,
  now: { at: Millis; inflight: number; steady?: boolean | undefined },
  settings: LimitSettings,
): Aimd => ({
  ...a,
  // Steady: the breaker's own ramp is what grows, and is cut by the first refusal.
  limit: now.steady
    ? Math.max(a.limit, a.best)
    : Math.max(Math.min(settings.floor, a.best), Math.floor(a.best / 2)),
  epoch: a.epoch + 1,
  near: a.best,
  raisedFrom: null,
  step: 1,
  fastWindow: FAST_WINDOW.start,
  ring: [],
  throttled: [],
  window: restart(now.at, now.inflight),
})

/** 429 ramp_limit_exceeded: first no raise, then slowly. */
export const slowed = (a: Aimd, by: { at: Millis; retryAfterMs: Millis }): Aimd => {
  const heldUntil = Math.max(a.heldUntil, by.at + Math.max(by.retryAfterMs, HOLD.min))
  return { ...a, heldUntil, slowUntil: heldUntil + HOLD.thenSlow }
}

/** The clock jumped: what the window saw is not worth judging. */
export const jumped = (a: Aimd, now: { at: Millis; inflight: number }): Aimd => ({
  ...a,
  window: restart(now.at, now.inflight),
})

/** New settings: the limit stays, within them. */
export const configured = (a: Aimd, settings: LimitSettings): Aimd => ({
  ...a,
  limit: Math.min(settings.ceiling, Math.max(settings.floor, a.limit)),
  best: Math.min(settings.ceiling, Math.max(settings.floor, a.best)),
})

export const restart = (at: Millis, inflight: number): Aimd['window'] => ({
  start: at,
  n: 0,
  throttles: 0,
  peak: inflight,
})

function largest(peaks: Aimd['peaks']): number {
  let most = 0
  for (const one of peaks) most = Math.max(most, one[1])
  return most
}

function remember(peaks: Aimd['peaks'], at: Millis, peak: number): Aimd['peaks'] {
  const hour = Math.floor(at / HOUR)
  const kept = peaks.filter(([one]) => one > hour - HOURS && one !== hour)
  const known = peaks.find(([one]) => one === hour)?.[1] ?? 0
  return [...kept, [hour, Math.max(known, peak)]]
}
