/** Drives the pure core from commands, as the loop would, and watches every law after each step. */
import { configFile, resolve, type Config } from '#contracts/config'
import type { Verdict, VerdictKind } from '#contracts/verdict'
import { seededDice, type Dice } from '#core/estimators/dice'
import type { Effect } from '#core/model/effects'
import type { Gate, Input, NewRequest, RouteControl } from '#core/model/inputs'
import type { State } from '#core/model/state'
import { emptyState } from '#core/model/make'
import { violations } from '#core/invariants'
import { step } from '#core/step'
import { attemptOf } from '#core/model/place'

export function configOf(file: unknown = {}, options: { emergency?: boolean } = {}): Config {
  const { config, contradictions } = resolve(configFile.parse(file), options)
  if (contradictions.length > 0) throw new Error(contradictions.join('; '))
  return config
}

export const verdictOf = (kind: VerdictKind, more: Partial<Verdict> = {}): Verdict => ({
  kind,
  status: kind === 'ok' ? 200 : kind === 'ended' ? null : 529,
  errorType: null,
  cause: kind,
  retryAfterMs: null,
  requestId: null,
  usage: null,
  ttftMs: null,
  mayHaveRun: false,
  rate: null,
  body: null,
  ...more,
})

const EACH = 40

export class CoreWorld {
  readonly state: State
  now = 0
  readonly dice: Dice
  readonly effects: Effect[] = []
  /** Answers given, by key; a key may be used again after its end. */
  readonly outcomes = new Map<string, string[]>()
  readonly accepted = new Map<string, number>()
  /** Slot-seconds of attempts that ended well. */
  useful = 0
  /** Slot-seconds of attempts that were preempted, up to their abort; how soon the transport lets go is not
   *  the core's. */
  preempted = 0
  /** Most that stood aside at once. */
  aside = 0
  readonly #wakes = new Map<string, number>()
  readonly #routeWakes = new Map<string, number>()
  readonly #controls = new Map<string, RouteControl>()
  readonly #check: boolean
  readonly #lastV = new WeakMap<object, number>()
  #made = 0
  #unchecked = 0

  constructor(file: unknown = {}, options: { seed?: number; check?: boolean } = {}) {
    this.state = emptyState(configOf(file), 0)
    this.dice = seededDice(options.seed ?? 1)
    this.#check = options.check ?? true
  }

  /** One step; throws when a law is broken. */
  input(input: Input): Effect[] {
    const effects = step(this.state, input, this.now, this.dice)
    for (const effect of effects) this.#note(effect)
    this.effects.push(...effects)
    this.aside = Math.max(this.aside, this.state.aside)
    if (this.#check && this.#checksNow()) {
      const found = [...violations(this.state, effects), ...this.#virtualTimes()]
      if (found.length > 0) throw new Error(`after ${input.type}: ${found.join('; ')}`)
    }
    return effects
  }

  /** A check looks at every request: with many of them, only each so many steps is followed by one, so that its cost
   *  stays that of `EACH` requests a step. */
  #checksNow(): boolean {
    this.#unchecked++
    if (this.#unchecked * EACH < this.state.requests.size) return false
    this.#unchecked = 0
    return true
  }

  submit(of: Partial<NewRequest> = {}): Effect[] {
    const tenant = of.tenant ?? 'a'
    const id = of.id ?? `r${this.#made++}`
    return this.input({
      type: 'request',
      request: {
        lane: 'interactive',
        model: 'm',
        stream: true,
        maxTokens: 1_024,
        bytes: 400,
        deadlineMs: null,
        ...of,
        tenant,
        id,
        key: `${tenant}/${id}`,
      },
    })
  }

  end(key: string, verdict: Verdict | VerdictKind = 'ok'): Effect[] {
    const request = this.state.requests.get(key)
    if (request === undefined || attemptOf(request) === null)
      throw new Error(`${key} is not running`)
    return this.input({
      type: 'verdict',
      key,
      verdict: typeof verdict === 'string' ? verdictOf(verdict) : verdict,
      control: this.controlOf(request.route.id),
    })
  }

  /** Lets time pass, firing every timer on its way in order. */
  advance(ms: number): void {
    const until = this.now + ms
    for (;;) {
      let at = Infinity
      let fire: Input | null = null
      for (const [key, due] of this.#wakes) if (due < at) [at, fire] = [due, { type: 'wake', key }]
      for (const [route, due] of this.#routeWakes)
        if (due < at) [at, fire] = [due, { type: 'route-wake', route }]
      if (fire === null || at > until) break
      this.now = Math.max(this.now, at)
      if (fire.type === 'wake') this.#wakes.delete(fire.key)
      else if (fire.type === 'route-wake') this.#routeWakes.delete(fire.route)
      this.input(fire)
    }
    this.now = until
  }

  tick(elapsedMs = 1_000): void {
    this.input({ type: 'tick', elapsedMs, controls: [...this.#controls.values()] })
  }

  setLimit(route: string, limit: number): void {
    const control = { ...this.controlOf(route), limit }
    this.#controls.set(route, control)
    this.input({ type: 'control', control })
  }

  setGate(route: string, gate: Partial<Gate>): void {
    const old = this.controlOf(route)
    const control = { ...old, gate: { ...old.gate, generation: old.gate.generation + 1, ...gate } }
    this.#controls.set(route, control)
    this.input({ type: 'control', control })
  }

  controlOf(id: string): RouteControl {
    const known = this.#controls.get(id)
    if (known !== undefined) return known
    const route = this.state.routes.get(id)
    if (route === undefined) throw new Error(`no route ${id}`)
    const { limit, epoch, gate, peak, heldUntil, slowUntil } = route
    return { route: id, limit, epoch, gate, peak, heldUntil, slowUntil }
  }

  /** Keys whose attempts hold a slot, oldest start first. */
  running(): string[] {
    return [...this.state.requests.values()]
      .filter((r) => attemptOf(r) !== null)
      .sort((a, b) => attemptOf(a)!.startedAt - attemptOf(b)!.startedAt)
      .map((r) => r.key)
  }

  /** Keys in the order of their starts. */
  started(): string[] {
    return this.effects.flatMap((e) => (e.type === 'start-attempt' ? [e.request.key] : []))
  }

  /** Virtual time never goes back, in any group. */
  #virtualTimes(): string[] {
    const found: string[] = []
    const look = (of: object, v: number, name: string): void => {
      if (v < (this.#lastV.get(of) ?? -Infinity)) found.push(`virtual time of ${name} went back`)
      this.#lastV.set(of, v)
    }
    look(this.state.groups.firm, this.state.groups.firm.v, 'the lanes')
    look(this.state.groups.preemptible, this.state.groups.preemptible.v, 'the preemptible lanes')
    for (const lane of this.state.lanes) {
      look(lane, lane.v, lane.config.name)
      for (const laneRoute of lane.laneRoutes)
        look(laneRoute.queue, laneRoute.queue.v, `${lane.config.name}'s tenants`)
    }
    return found
  }

  #note(effect: Effect): void {
    switch (effect.type) {
      case 'wake-at':
        this.#wakes.set(effect.request.key, effect.at)
        break
      case 'route-wake-at':
        this.#routeWakes.set(effect.route.id, effect.at)
        break
      case 'route-closed':
        this.#controls.delete(effect.route.id)
        this.#routeWakes.delete(effect.route.id)
        break
      case 'queued':
        this.accepted.set(effect.request.key, (this.accepted.get(effect.request.key) ?? 0) + 1)
        break
      case 'settled':
        this.#answer(
          effect.request.key,
          effect.ending.kind === 'completed' ? 'completed' : effect.ending.reason,
        )
        this.#wakes.delete(effect.request.key)
        break
      case 'abort-attempt':
        if (effect.why === 'preempt')
          this.preempted += (this.now - effect.attempt.startedAt) / 1_000
        if (effect.ending !== null) this.#answer(effect.request.key, effect.ending.reason)
        break
      case 'attempt-ended':
        if (effect.verdict.kind === 'ok')
          this.useful += (this.now - effect.attempt.startedAt) / 1_000
        break
      case 'released':
        this.#wakes.delete(effect.request.key)
        break
      default:
    }
  }

  #answer(key: string, how: string): void {
    const all = this.outcomes.get(key) ?? []
    all.push(how)
    this.outcomes.set(key, all)
  }
}
