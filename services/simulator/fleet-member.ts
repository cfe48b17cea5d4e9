/** One instance of a fleet in virtual time: a whole Headgate, and its line in the record that the fleet shares, kept by
 *  the service's own `Membership`. When it dies, no timer of it fires any more and nothing reaches it. */
import { NONE, type LimitWord, type Share } from '#core/model/share'
import { seededDice } from '#core/estimators/dice'
import type { Clock, Dice, Millis } from '#ports'
import { demandOf } from '#scheduler/fleet/demand'
import { Membership } from '#scheduler/fleet/membership'
import type { FleetNews } from '#scheduler/loop/fleet-news'
import type { Asking } from './asking.ts'
import type { VirtualFleetStore } from './fleet-store.ts'
import type { HeadgatePolicy } from './headgate-policy.ts'
import type { Death, MemberFacts } from './policy.ts'

/** Without a share an instance serves nobody: its doors open with the first one, but not later than this. */
const DOORS_MS: Millis = 3_000
/** Whoever is there answers a newcomer by then. */
const HELLO_MS: Millis = 300
/** All have one configuration. */
const CONFIG = 'same'

export interface FleetMemberOptions {
  name: string
  /** The how-many-th of the fleet it is, whatever its name; the first is 0. */
  number: number
  seed: number
  clock: Clock
  store: VirtualFleetStore
  policy: HeadgatePolicy
  /** Runs what may leave promises that are kept at the same instant. */
  entered: (act: () => void) => void
  /** Whether another instance lives that has joined. */
  others: () => boolean
}

export class FleetMember {
  readonly policy: HeadgatePolicy
  readonly facts: MemberFacts
  /** Who waits for an answer of it. */
  readonly askings = new Set<Asking>()
  readonly #of: FleetMemberOptions
  readonly #membership: Membership
  #alive = true
  #open = false

  constructor(of: FleetMemberOptions) {
    this.#of = of
    this.policy = of.policy
    const bornS = of.clock.now() / 1_000
    this.facts = { name: of.name, from: bornS, until: null, asked: 0, lapses: 0, most: 0 }
    const clock = this.#clock()
    this.#membership = new Membership({
      ...{ name: of.name, incarnation: `n${of.number}`, version: 'simulated' },
      ...{ store: of.store.for(clock), clock, dice: this.#dice() },
      demand: () => {
        const { state } = this.policy.loop
        return demandOf({ state, limits: this.words(), config: CONFIG })
      },
      onShare: (share) => this.#take(share),
      onLimit: (route, word) => this.hear({ kind: 'limit', route, word }),
      anybody: () => this.#anybody(clock),
      news: () => {},
    })
    this.policy.loop.share(NONE)
    of.entered(() => void this.#membership.open())
    clock.after(DOORS_MS, () => (this.#open = true))
  }

  get alive(): boolean {
    return this.#alive
  }

  /** Its doors take calls. */
  get open(): boolean {
    return this.#open
  }

  get joined(): boolean {
    return this.#membership.joined
  }

  /** Slots of the whole that it may use now. */
  get usable(): number {
    return this.#membership.usable
  }

  words(): Map<string, LimitWord> {
    return this.policy.loop.words()
  }

  /** What another instance met. */
  hear(news: FleetNews): void {
    if (this.#alive) this.policy.loop.hear(news)
  }

  /** `deadlineMs`: the time that it has left; null: the lane's. */
  ask(asking: Asking, deadlineMs: Millis | null): void {
    this.facts.asked++
    this.askings.add(asking)
    this.policy.ask(asking.request, asking.words(deadlineMs))
  }

  /** An attempt of it has started. */
  started(): void {
    this.facts.most = Math.max(this.facts.most, this.policy.loop.state.inflight)
  }

  drain(): void {
    this.policy.drain()
    this.#of.entered(() => this.#membership.drain())
  }

  /** As by SIGKILL; its line stays in the record. */
  die(forS: number): Death {
    this.count()
    this.#alive = false
    this.facts.until = this.#of.clock.now() / 1_000
    this.#membership.close()
    return this.policy.kill(forS)
  }

  /** What only its membership knows, as it is now. */
  count(): void {
    if (this.#alive) this.facts.lapses = this.#membership.view.lapses
  }

  #take(share: Share): void {
    if (!this.#alive) return
    this.#open = true
    this.policy.loop.share(share)
  }

  /** Stands when it dies. */
  #clock(): Clock {
    const { clock, entered } = this.#of
    return {
      now: () => clock.now(),
      wall: () => clock.wall(),
      after: (ms, call) => clock.after(ms, () => this.#alive && entered(call)),
    }
  }

  #dice(): Dice {
    return seededDice(this.#of.seed)
  }

  /** Asked where there is no record yet. */
  #anybody(clock: Clock): Promise<boolean> {
    const { store, others } = this.#of
    return new Promise((resolve) => {
      clock.after(store.leg() + store.leg(), () => {
        if (others()) resolve(true)
      })
      clock.after(HELLO_MS, () => resolve(false))
    })
  }
}
