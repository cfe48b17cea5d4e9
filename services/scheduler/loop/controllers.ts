/** The two machines of one route, fed with what its attempts prove, read as a limit and a gate. */
import {
  BAND,
  breakerMachine,
  capOf,
  type BreakerEvent,
  type BreakerSnapshot,
} from '#machines/breaker'
import type { BreakerSettings } from '#machines/breaker'
import { peakOf, type LimitSettings } from '#machines/aimd'
import { compile } from '#machines/compile'
import { limitMachine, type LimitEvent, type LimitSnapshot } from '#machines/concurrency-limit'
import type { Inspection } from '#machines/inspection'
import type { After } from '#machines/run'
import type { Config, RouteConfig } from '#contracts/config'
import { verdicts } from '#contracts/verdict'
import { holdsOver, portionOf, WHOLE, type LimitWord, type Portion } from '#core/model/share'
import type { Gate, RouteControl } from '#core/model/inputs'
import type { HeadgateEvent, Millis, Verdict } from '#ports'
import { cellOf, type Machine } from './machine-cell.ts'

/** Where a machine stands, for who draws it. */
export interface MachineView {
  readonly state: string
  /** When it came there, on the clock's `now`. */
  readonly since: Millis
  readonly counts: readonly number[]
}
type BreakerView = Pick<BreakerSnapshot, 'value' | 'context'>
type LimitView = Pick<LimitSnapshot, 'value' | 'context'>

export interface ControllersOptions {
  route: { id: string; config: RouteConfig }
  config: Config
  now: () => Millis
  /** Wall time, for events. */
  wall: () => Millis
  after: After
  random: () => number
  /** How many attempts of the route are in flight. */
  inflight: () => number
  record: (event: HeadgateEvent) => void
  /** A machine moved by itself: the core must hear of it. */
  onMoved: () => void
  /** Who watches the machines; null: nobody. */
  inspection: Inspection | null
  /** The limit was cut by what we met; absent: nobody else must know. */
  onCut?: () => void
  /** The breaker has opened for so long by what we met. */
  onOpened?: (openFor: Millis) => void
}

/** Share of the limit that a provider serves which is full, and not ill. */
export const SERVING = 0.8

export class Controllers {
  readonly #options: ControllersOptions
  readonly #breaker: Machine<BreakerView, BreakerEvent>
  readonly #limit: Machine<LimitView, LimitEvent>
  #settings: LimitSettings
  #lastBreaker: BreakerView
  #lastLimit: LimitView
  #openedAt: Millis
  #breakerSince: Millis
  #limitSince: Millis
  #slow = false
  /** Our part of what the fleet divides. The limit is that of all of them together; the breaker's counts are ours. */
  #portion: Portion = WHOLE
  /** Raised by each decrease that any instance makes: of two words on the limit the one of the higher number holds,
   *  of the same number the higher limit. */
  #fleetEpoch = 0
  #hearing = false

  constructor(options: ControllersOptions) {
    this.#options = options
    const { config, route } = options
    const settings = limitSettings(config, route.config)
    this.#settings = settings
    const after: After = (ms, call) =>
      options.after(ms, () => {
        call()
        this.#review()
        options.onMoved()
      })
    const breakerInput = { settings: breakerSettings(config), random: options.random }
    const limitInput = { settings, at: options.now() }
    this.#breaker = cellOf(breakerTable, breakerInput, {
      ...{ name: `breaker ${route.id}`, after, inspection: options.inspection },
    })
    this.#limit = cellOf(limitTable, limitInput, {
      ...{ name: `limit ${route.id}`, after, inspection: options.inspection },
    })
    this.#lastBreaker = this.#breaker.get()
    this.#lastLimit = this.#limit.get()
    this.#openedAt = options.now()
    this.#breakerSince = this.#openedAt
    this.#limitSince = this.#openedAt
  }

  /** An attempt started; `probe` when the gate is half-open. */
  started(inflight: number): void {
    const all = this.#ofAll(inflight)
    if (all > this.#limit.get().context.aimd.window.peak)
      this.#limit.send({ type: 'attempt.started', inflight: all })
    if (this.#breaker.get().value === 'halfOpen') {
      this.#breaker.send({ type: 'probe.started' })
      this.#review()
    }
  }

  /** An attempt ended; it still counts in `inflight`. */
  ended(
    verdict: Verdict,
    attempt: {
      epoch: number
      generation: number
      tenant: string
      /** The tenant first. */
      traits: readonly string[]
      at: Millis
      inflight: number
      /** Of them, how many the provider has certainly taken. */
      accepted: number
    },
  ): void {
    const { at, epoch, inflight, tenant, traits } = attempt
    const classic429 = this.#settings.mode === 'classic' && is429(verdict)
    const rule = verdicts[verdict.kind]
    const vote = classic429 ? 'throttle' : rule.limit
    const { limit: before, raisedFrom } = this.#limit.get().context.aimd
    // What no healthy window has confirmed may be more than the provider has.
    const proven = this.#ours(Math.min(before, raisedFrom ?? before))
    if (vote === 'ok') this.#limit.send({ type: 'attempt.ok', at, traits })
    else if (vote === 'throttle')
      this.#limit.send({
        type: 'attempt.throttled',
        ...{ epoch, at, traits },
        inflight: this.#ofAll(inflight),
        accepted: this.#ofAll(attempt.accepted),
      })
    else if (vote === 'hold') {
      this.#limit.send({ type: 'ramp.limited', at, retryAfterMs: verdict.retryAfterMs ?? 0 })
      this.#slowDown(true)
    }
    // A provider that serves most of what it has is full, not ill: that is the limit's to learn. One call that it
    // counts and we do not, and the next in line is refused within milliseconds, and the next.
    const full =
      vote === 'throttle' &&
      this.#breaker.get().value === 'closed' &&
      attempt.accepted > 0 &&
      (attempt.accepted > proven * SERVING || attempt.accepted >= proven - 1)
    const health = classic429 ? 'fail' : full ? 'neutral' : rule.breaker
    if (health !== 'neutral')
      this.#breaker.send({
        type: health === 'ok' ? 'attempt.ok' : 'attempt.failed',
        generation: attempt.generation,
        tenant,
        at,
        limit: this.#ours(this.#limit.get().context.aimd.limit),
        inflight,
      })
    this.#review()
  }

  tick(now: { at: Millis; inflight: number; wanted: boolean; jumped: boolean }): void {
    const { at, wanted } = now
    const inflight = this.#ofAll(now.inflight)
    if (this.#breaker.get().value === 'probing') this.#breaker.send({ type: 'tick' })
    if (now.jumped) this.#limit.send({ type: 'clock.jumped', at, inflight })
    else this.#limit.send({ type: 'tick', at, inflight, wanted })
    if (this.#slow && at >= this.#limit.get().context.aimd.slowUntil) this.#slowDown(false)
    this.#review()
  }

  configure(config: Config, route: RouteConfig): void {
    const settings = limitSettings(config, route)
    this.#settings = settings
    this.#limit.send({ type: 'settings.changed', settings, at: this.#options.now() })
    this.#breaker.send({ type: 'settings.changed', settings: breakerSettings(config) })
    this.#review()
  }

  /** Our part of the limit from now on. */
  divide(portion: Portion): void {
    this.#portion = portion
  }

  /** What the fleet should know of the limit. */
  get word(): LimitWord {
    return { epoch: this.#fleetEpoch, limit: this.#limit.get().context.aimd.limit }
  }

  /** Another instance's word on it. */
  hear(word: LimitWord): void {
    const known = this.word
    if (!holdsOver(word, known)) return
    this.#fleetEpoch = word.epoch
    const [at, inflight] = [this.#options.now(), this.#ofAll(this.#options.inflight())]
    const cut = word.limit < known.limit
    this.#hearing = true
    this.#limit.send({ type: 'fleet.heard', limit: word.limit, cut, at, inflight })
    this.#review()
    this.#hearing = false
  }

  /** Another instance's breaker has opened, by the provider's own word. */
  hearOpened(openFor: Millis): void {
    this.#breaker.send({ type: 'fleet.opened', openFor })
    this.#review()
  }

  control(): RouteControl {
    const { aimd } = this.#limit.get().context
    return {
      route: this.#options.route.id,
      limit: this.#ours(aimd.limit),
      epoch: aimd.epoch,
      gate: this.#gate(),
      peak: this.#ours(peakOf(aimd, this.#settings)),
      heldUntil: aimd.heldUntil,
      slowUntil: aimd.slowUntil,
    }
  }

  get limitState(): string {
    return this.#limit.get().value
  }

  view(): { breaker: MachineView; limit: MachineView } {
    const [breaker, limit] = [this.#breaker, this.#limit]
    return {
      breaker: { state: breaker.get().value, since: this.#breakerSince, counts: breaker.counts },
      limit: { state: limit.get().value, since: this.#limitSince, counts: limit.counts },
    }
  }

  stop(): void {
    this.#breaker.stop()
    this.#limit.stop()
  }

  #gate(): Gate {
    const breaker = this.#breaker.get()
    const { limit, best } = this.#limit.get().context.aimd
    return {
      state: BAND[breaker.value],
      cap: capOf(breaker, this.#ours(limit), this.#ours(best)),
      generation: breaker.context.generation,
      until: breaker.value === 'open' ? this.#openedAt + breaker.context.openFor : null,
    }
  }

  /** Of slots of the whole fleet those that are ours: one at least, or a part that rounds to nothing would never be
   *  served. */
  #ours(slots: number): number {
    return this.#portion === WHOLE ? slots : Math.max(1, portionOf(slots, this.#portion))
  }

  /** What our attempts would be, were all instances like us: the limit is compared with that. */
  #ofAll(slots: number): number {
    if (this.#portion === WHOLE) return slots
    const { limit } = this.#limit.get().context.aimd
    return Math.round((slots * limit) / this.#ours(limit))
  }

  #slowDown(slow: boolean): void {
    this.#slow = slow
    this.#breaker.send({ type: 'ramp.slowed', slow })
  }

  /** Tells the world, and each machine of the other, what has changed. */
  #review(): void {
    this.#reviewBreaker()
    const limit = this.#limit.get()
    const before = this.#lastLimit
    this.#lastLimit = limit
    if (before.value !== limit.value) this.#limitSince = this.#options.now()
    const [from, to] = [before.context.aimd.limit, limit.context.aimd.limit]
    if (to < from && !this.#hearing) {
      this.#fleetEpoch++
      this.#options.onCut?.()
    }
    if (from === to && before.value === limit.value) return
    this.#options.record({
      name: 'limit',
      at: this.#options.wall(),
      data: {
        route: this.#options.route.id,
        state: limit.value,
        from,
        limit: to,
        inflight: this.#options.inflight(),
        reason: limit.context.reason,
      },
    })
  }

  #reviewBreaker(): void {
    const breaker = this.#breaker.get()
    const before = this.#lastBreaker
    this.#lastBreaker = breaker
    if (before.value === breaker.value && before.context.rampStep === breaker.context.rampStep)
      return
    const at = this.#options.now()
    if (before.value !== breaker.value) this.#breakerSince = at
    if (breaker.value === 'open') {
      this.#openedAt = at
      this.#limit.send({ type: 'breaker.opened', at })
      if (breaker.context.reason === 'error_rate') this.#options.onOpened?.(breaker.context.openFor)
    }
    if (breaker.value === 'ramp' && before.value !== 'ramp')
      this.#limit.send({
        type: 'breaker.ramping',
        at,
        inflight: this.#ofAll(this.#options.inflight()),
        steady: breaker.context.settings.steady === true,
      })
    if (
      breaker.value === 'closed' &&
      before.value === 'ramp' &&
      breaker.context.settings.steady === true
    )
      this.#limit.send({
        type: 'breaker.ramped',
        at,
        earned: this.#ofAll(before.context.earned + 1),
      })
    if (BAND[before.value] === BAND[breaker.value] && breaker.value !== 'ramp') return
    this.#options.record({
      name: 'breaker',
      at: this.#options.wall(),
      data: {
        route: this.#options.route.id,
        from: BAND[before.value],
        state: BAND[breaker.value],
        reason: breaker.context.reason,
        open_ms: breaker.value === 'open' ? breaker.context.openFor : null,
      },
    })
  }
}

const is429 = (verdict: Verdict): boolean =>
  verdict.status === 429 || verdict.kind === 'throttled' || verdict.kind === 'ramp_limited'

export const limitSettings = (config: Config, route: RouteConfig): LimitSettings => ({
  mode: config.file.concurrency_limit.mode,
  initial: route.initial,
  floor: route.floor,
  ceiling: config.file.concurrency_limit.ceiling,
  windowMs: config.file.concurrency_limit.window_seconds * 1_000,
})

/** Twenty failures without one success between them: a storm and a hang are known before they outweigh the
 *  good half minute before them. */
export const IN_ROW = 20

export const breakerSettings = (config: Config): BreakerSettings => ({
  ...config.breaker,
  steady: config.file.concurrency_limit.mode === 'default',
  inRow: Math.max(IN_ROW, config.breaker.minSamples),
})

const breakerTable = compile(breakerMachine)
const limitTable = compile(limitMachine)
