/** Every route's machines and timers: opened and closed as the core asks, fed with what attempts prove,
 *  read as controls. */
import type { Config } from '#contracts/config'
import { verdicts } from '#contracts/verdict'
import type { Input, RouteControl } from '#core/model/inputs'
import { Lately } from '#core/estimators/lately'
import { traitsOf } from '#core/estimators/witness'
import { acceptedOf, wanted } from '#core/laws/capacity'
import type { Attempt, Request, Route } from '#core/model/state'
import type { Inspection } from '#machines/inspection'
import { ALONE, portionOn, type LimitWord, type Share } from '#core/model/share'
import { Controllers, type MachineView } from './controllers.ts'
import type { HeadgateEvent, Millis, Verdict } from '#ports'
import { Timer, type TimerHeap } from './timer-heap.ts'

export interface RouteControllersOptions {
  heap: TimerHeap
  now: () => Millis
  wall: () => Millis
  random: () => number
  config: () => Config
  record: (event: HeadgateEvent) => void
  /** A machine moved by itself, or a route's time has come. */
  step: (input: Input) => void
  /** Who watches the machines; null: nobody. */
  inspection: Inspection | null
  /** What the rest of a fleet must hear. */
  tell: (news: RouteNews) => void
}

/** What one instance met, as far as it is everybody's. */
export type RouteNews =
  | { kind: 'limit'; route: string; word: LimitWord }
  | { kind: 'opened'; route: string; openFor: Millis }

interface Entry {
  readonly route: Route
  readonly controllers: Controllers
  readonly wake: Timer
}

export class RouteControllers {
  readonly #options: RouteControllersOptions
  readonly #entries = new Map<string, Entry>()
  #machineTimers = 0
  #share: Share = ALONE
  /** What the fleet said of routes that are not open here. */
  readonly #heard = new Lately<{ word: LimitWord }>()

  constructor(options: RouteControllersOptions) {
    this.#options = options
  }

  open(route: Route): void {
    const { step, tell, ...options } = this.#options
    const controllers: Controllers = new Controllers({
      ...options,
      onCut: () => tell({ kind: 'limit', route: route.id, word: controllers.word }),
      onOpened: (openFor) =>
        openedByProvider(route) && tell({ kind: 'opened', route: route.id, openFor }),
      route,
      config: options.config(),
      after: (ms, call) => this.#after(ms, call),
      inflight: () => route.inflight,
      onMoved: () => step({ type: 'control', control: controllers.control() }),
    })
    controllers.divide(portionOn(this.#share, route.id))
    const heard = this.#heard.get(route.id)
    if (heard !== undefined) controllers.hear(heard.word)
    const wake = new Timer(() => step({ type: 'route-wake', route: route.id }))
    this.#entries.set(route.id, { route, controllers, wake })
  }

  close(id: string): void {
    const entry = this.#entries.get(id)
    if (entry === undefined) return
    entry.controllers.stop()
    this.#options.heap.clear(entry.wake)
    this.#entries.delete(id)
  }

  wakeAt(id: string, at: Millis): void {
    const entry = this.#entries.get(id)
    if (entry !== undefined) this.#options.heap.set(entry.wake, at)
  }

  started(request: Request): void {
    this.#of(request).controllers.started(request.route.inflight)
  }

  /** The machines hear of a verdict; the answer is what they say now. */
  ended(request: Request, attempt: Attempt, verdict: Verdict): RouteControl {
    const { controllers, route } = this.#of(request)
    const throttled = verdicts[verdict.kind].limit === 'throttle'
    if (throttled) route.refusedAfter.add(this.#options.now() - attempt.startedAt)
    controllers.ended(verdict, {
      accepted: throttled ? acceptedOf(route, this.#options.now()) : 0,
      epoch: attempt.epoch,
      generation: attempt.generation,
      tenant: request.tenant.name,
      traits: traitsOf(request.asked),
      at: this.#options.now(),
      inflight: route.inflight,
    })
    return controllers.control()
  }

  control(request: Request): RouteControl {
    return this.#of(request).controllers.control()
  }

  tick(now: { at: Millis; jumped: boolean }): RouteControl[] {
    for (const { controllers, route } of this.#entries.values())
      controllers.tick({ ...now, inflight: route.inflight, wanted: wanted(route) })
    return this.#controls()
  }

  /** Our part of every limit from now on. */
  divide(share: Share): RouteControl[] {
    this.#share = share
    for (const [id, { controllers }] of this.#entries) controllers.divide(portionOn(share, id))
    return this.#controls()
  }

  /** What this instance knows of the limits. */
  words(): Map<string, LimitWord> {
    return new Map([...this.#entries].map(([id, { controllers }]) => [id, controllers.word]))
  }

  /** Another instance's word. Null: no such route is open here. */
  hear(news: RouteNews): RouteControl | null {
    const controllers = this.#entries.get(news.route)?.controllers
    if (controllers === undefined) {
      if (news.kind === 'limit') {
        const most = this.#options.config().file.routes_max
        this.#heard.use(news.route, most, () => ({ word: news.word })).word = news.word
      }
      return null
    }
    if (news.kind === 'limit') controllers.hear(news.word)
    else controllers.hearOpened(news.openFor)
    return controllers.control()
  }

  configure(config: Config): RouteControl[] {
    for (const { controllers, route } of this.#entries.values())
      controllers.configure(config, route.config)
    return this.#controls()
  }

  limitState(id: string): string {
    return this.#entries.get(id)?.controllers.limitState ?? 'steady'
  }

  /** Where the machines of every open route stand. */
  views(): Map<string, { breaker: MachineView; limit: MachineView }> {
    return new Map([...this.#entries].map(([id, { controllers }]) => [id, controllers.view()]))
  }

  /** Pending ones, of machines and routes. */
  get timers(): number {
    let pending = this.#machineTimers
    for (const { wake } of this.#entries.values()) if (wake.pending) pending++
    return pending
  }

  stop(): void {
    for (const { controllers } of this.#entries.values()) controllers.stop()
  }

  #controls(): RouteControl[] {
    return [...this.#entries.values()].map(({ controllers }) => controllers.control())
  }

  /** A route is open from its first request to after its last. */
  #of(request: Request): Entry {
    const entry = this.#entries.get(request.route.id)
    if (entry === undefined)
      throw new Error(`${request.key}: its route ${request.route.id} is closed`)
    return entry
  }

  #after(ms: Millis, call: () => void): () => void {
    const { heap, now } = this.#options
    const timer = new Timer(() => {
      this.#machineTimers--
      call()
    })
    this.#machineTimers++
    heap.set(timer, now() + ms)
    return () => {
      if (!timer.pending) return
      this.#machineTimers--
      heap.clear(timer)
    }
  }
}

/** Whether the provider itself has said so: a hang or a lost connection may be this instance's own trouble. */
const openedByProvider = ({ lastFault }: Route): boolean => lastFault?.status != null
