/** Members of a fleet on one record in virtual time (control-laws S9): their clocks run apart, the store is slow, goes
 *  away and loses what it held, members are cut off from it, stand still, die, join and leave. What they have in
 *  flight together is counted from outside. */
import { seededDice } from '#core/estimators/dice'
import { OUTLIVES } from '#core/laws/shares'
import { PARTS } from '#core/laws/route-shares'
import { ALONE, portionOf, portionOn, slotsOf, type Share } from '#core/model/share'
import type { Clock, Dice, FleetStore, Millis } from '#ports'
import { Membership } from '#scheduler/fleet/membership'
import { readRecord } from '#scheduler/fleet/record'
import { baseOf } from '#scheduler/fleet/route-parts'
import { TimerHeap } from '#scheduler/loop/timer-heap'
import type { FleetWorldOptions } from './fleet-worlds.ts'

export interface FleetWorldResult {
  /** Most in flight together. */
  most: number
  /** Instants at which it was more than the whole, and records that gave more than the whole. */
  violations: string[]
  /** In flight over what could have been: the least of the whole and all that is wanted; after 30 s. */
  score: number
  writes: number
  lapses: number
  /** Least in flight while the store was away as asked; and whether what members may use ever rose then. */
  leastWhileAway: number
  roseWhileAway: boolean
}

const STEP: Millis = 100

export async function fleetWorld(of: FleetWorldOptions): Promise<FleetWorldResult> {
  return new World(of).run()
}

class World {
  readonly of: FleetWorldOptions
  readonly dice: Dice
  now: Millis = 0
  readonly heap = new TimerHeap()
  text: { text: string; revision: number } | null = null
  revision = 0
  away = 0
  members: Member[] = []
  readonly violations: string[] = []
  writes = 0
  lapses = 0
  leastWhileAway = Infinity
  roseWhileAway = false
  #allowed = Infinity
  #made = 0

  constructor(of: FleetWorldOptions) {
    this.of = of
    this.dice = seededDice(of.seed)
  }

  after = (ms: Millis, call: () => void): (() => void) => this.heap.after(this.now, ms, call)

  happens = (chance: number): boolean => chance > 0 && this.dice.next() < chance

  async run(): Promise<FleetWorldResult> {
    for (let i = 0; i < this.of.members; i++) this.join()
    let [most, used, could] = [0, 0, 0]
    const steps = (this.of.seconds * 1_000) / STEP
    for (let step = 0; step < steps; step++) {
      await this.advance(STEP)
      this.chances()
      const inflight = this.members.reduce((sum, one) => sum + one.inflight, 0)
      most = Math.max(most, inflight)
      if (inflight > this.of.whole) this.violations.push(`${this.now} ms: ${inflight} in flight`)
      const possible = this.onRoutes()
      this.sums()
      this.looksWhileAway(inflight)
      if (step * STEP < 30_000) continue
      used += Math.min(inflight, this.of.whole)
      could += Math.min(this.of.whole, possible)
    }
    const score = could === 0 ? 1 : used / could
    const { violations, writes } = this
    const lapses = this.members.reduce((sum, one) => sum + one.membership.view.lapses, this.lapses)
    const { leastWhileAway, roseWhileAway } = this
    return { most, violations, score, writes, lapses, leastWhileAway, roseWhileAway }
  }

  async advance(ms: Millis): Promise<void> {
    const until = this.now + ms
    while (this.heap.next() <= until) {
      this.now = Math.max(this.now, this.heap.next())
      this.heap.fireNext(this.now)
      await settled()
    }
    this.now = until
  }

  chances(): void {
    const { chances, membersMax } = this.of
    const living = this.members.filter(({ alive }) => alive)
    if (living.length < membersMax && this.happens(chances.join)) this.join()
    if (this.now >= this.away && this.happens(chances.away))
      this.away = this.now + 60_000 * this.dice.next()
    if (this.happens(chances.lose) && living.every((one) => !one.cutOff)) this.text = null
    for (const one of living) one.chances()
    this.members = this.members.filter((one) => one.alive || one.inflight > 0)
  }

  /** Holds each route to its limit. Gives what could be in flight of all that is wanted of them. */
  onRoutes(): number {
    let possible = 0
    for (const [route, limit] of this.of.routes) {
      const inflight = this.members.reduce((sum, one) => sum + one.on(route).inflight, 0)
      const wanted = this.members.reduce((sum, one) => sum + one.demand(route), 0)
      // Cuts between portions move with every record: one slot each of those whose record is a write old.
      if (inflight > limit + this.members.length)
        this.violations.push(`${this.now} ms: ${inflight} of ${limit} in flight on ${route}`)
      possible += Math.min(limit, wanted)
    }
    return possible
  }

  looksWhileAway(inflight: number): void {
    const { awayFor } = this.of
    if (awayFor === undefined || this.now < awayFor.from) return
    if (this.now >= awayFor.from + awayFor.ms) return
    this.away = Math.max(this.away, awayFor.from + awayFor.ms)
    // What was on its way when it went may still come.
    if (this.now < awayFor.from + 1_000) return
    const allowed = this.members.reduce((sum, one) => sum + slotsOf(one.share, one.now), 0)
    if (allowed > this.#allowed) this.roseWhileAway = true
    this.#allowed = allowed
    this.leastWhileAway = Math.min(this.leastWhileAway, inflight)
  }

  join(): void {
    const member = new Member(this, `m${this.#made++}`)
    this.members.push(member)
  }

  sums(): void {
    if (this.text === null) return
    const { record } = readRecord(this.text.text)
    if (record === null) return
    const held = Object.values(record.members).reduce((sum, line) => sum + line.held, 0)
    if (held > this.of.whole) this.violations.push(`${this.now} ms: the record gives ${held}`)
    for (const [route] of this.of.routes) {
      const parts = Object.values(record.members).reduce(
        (sum, line) => sum + (line.routes?.[route]?.held ?? baseOf(line.held, this.of.whole)),
        0,
      )
      if (parts > PARTS + 1e-6)
        this.violations.push(`${this.now} ms: the record gives ${parts} parts of ${route}`)
    }
  }
}

class Member {
  readonly world: World
  readonly membership: Membership
  alive = true
  cutOff = false
  frozenUntil = 0
  readonly routes: ReadonlyMap<string, OnRoute>
  share: Share = NOTHING
  readonly rate: number
  readonly held: (() => void)[] = []

  constructor(world: World, name: string) {
    this.world = world
    this.routes = new Map([...world.of.routes.keys()].map((id) => [id, new OnRoute()]))
    this.rate = 1 + 0.01 * (2 * world.dice.next() - 1)
    this.redraw()
    this.membership = new Membership({
      ...{ name, incarnation: name, version: 'test' },
      store: this.store(),
      clock: this.clock(),
      dice: world.dice,
      demand: () => ({
        inflight: this.inflight,
        queued: Math.max(0, this.wants - this.inflight),
        whole: world.of.whole,
        capacity: [...world.of.routes.values()].reduce((a, b) => a + b, 0),
        config: 'same',
        limits: new Map([...world.of.routes].map(([id, limit]) => [id, { epoch: 0, limit }])),
        routes: this.routes,
      }),
      onShare: (share) => {
        this.share = share
        this.fill()
      },
      onLimit: () => {},
      anybody: () =>
        Promise.resolve(
          world.members.some((one) => one !== this && one.alive && one.membership.joined),
        ),
      news: () => {},
    })
    void this.membership.open()
    this.tick()
  }

  get now(): Millis {
    return this.world.now * this.rate
  }

  get inflight(): number {
    return this.#sum(({ inflight }) => inflight)
  }

  get wants(): number {
    return this.#sum(({ wants }) => wants)
  }

  on(route: string): OnRoute {
    return this.routes.get(route)!
  }

  /** What it wants, and what still runs of what it wanted. */
  demand(route: string): number {
    const { wants, inflight } = this.on(route)
    return this.alive ? Math.max(wants, inflight) : inflight
  }

  #sum(of: (one: OnRoute) => number): number {
    return [...this.routes.values()].reduce((sum, one) => sum + of(one), 0)
  }

  /** Nothing, or something of each route, or of one alone. */
  redraw(): void {
    const { dice } = this.world
    const wants = dice.next() < 0.3 ? 0 : 5 + Math.floor(30 * dice.next())
    const routes = [...this.routes.values()]
    const [first, second] = routes.length < 2 || dice.next() < 0.5 ? routes : routes.toReversed()
    const ofSecond = second === undefined || dice.next() < 0.5 ? 0 : dice.next()
    first!.wants = Math.ceil(wants * (1 - ofSecond))
    if (second !== undefined) second.wants = wants - first!.wants
  }

  chances(): void {
    const { chances } = this.world.of
    const { world } = this
    if (world.happens(chances.redraw)) this.redraw()
    if (this.cutOff ? world.happens(0.01) : world.happens(chances.cutOff))
      this.cutOff = !this.cutOff
    if (world.now >= this.frozenUntil && world.happens(chances.freeze))
      this.frozenUntil = world.now + 45_000 * world.dice.next()
    if (world.happens(chances.crash)) {
      // Its connections die with it.
      this.alive = false
      for (const route of this.routes.values()) route.inflight = 0
      world.lapses += this.membership.view.lapses
      this.membership.close()
    } else if (world.happens(chances.leave)) {
      for (const route of this.routes.values()) route.wants = 0
      this.membership.drain()
    }
    this.fill()
  }

  /** What runs here waits while the process stands still. */
  run(call: () => void): void {
    if (!this.alive) return
    const { world } = this
    if (world.now < this.frozenUntil)
      world.after(this.frozenUntil - world.now, () => this.run(call))
    else call()
  }

  clock(): Clock {
    return {
      now: () => this.now,
      wall: () => this.now,
      after: (ms, call) => this.world.after(ms / this.rate, () => this.run(call)),
    }
  }

  tick(): void {
    this.world.after(1_000, () => this.run(() => this.second()))
  }

  /** What the core does once a second (`laws/share-in-force`). */
  second(): void {
    const late = this.now >= this.share.until + OUTLIVES
    if (late) {
      for (const [id, route] of this.routes)
        route.inflight = Math.min(route.inflight, this.slotsOn(id))
      for (const route of this.routes.values()) {
        const excess = Math.max(0, this.inflight - slotsOf(this.share, this.now))
        route.inflight -= Math.min(excess, route.inflight)
      }
    }
    this.fill()
    this.tick()
  }

  slotsOn(id: string): number {
    return portionOf(this.world.of.routes.get(id)!, portionOn(this.share, id))
  }

  fill(): void {
    const { world } = this
    if (!this.alive || world.now < this.frozenUntil) return
    for (const [id, route] of this.routes)
      while (
        this.inflight < slotsOf(this.share, this.now) &&
        route.inflight < Math.min(route.wants, this.slotsOn(id))
      )
        this.#start(route)
  }

  #start(route: OnRoute): void {
    const { world } = this
    route.inflight++
    const mean = 8_000
    const lasts = Math.min(30_000, 1_000 - mean * Math.log(1 - world.dice.next()))
    // The provider ends a call whether its caller stands still or not.
    world.after(lasts, () => {
      if (route.inflight > 0) route.inflight--
      this.fill()
    })
  }

  store(): FleetStore {
    const { world } = this
    const leg = (): Promise<void> =>
      new Promise((resolve) => {
        world.after(world.dice.next() * world.of.delayMs, () => this.run(resolve))
      })
    const reached = (): boolean => !this.cutOff && world.now >= world.away
    const act = async <T>(does: () => T): Promise<T> => {
      await leg()
      const before = reached()
      const done = before ? does() : null
      await leg()
      // The answer may be lost, too: then nobody knows whether it was done.
      if (!before || !reached()) throw new Error('the store does not answer')
      return done as T
    }
    return {
      read: () => act(() => world.text),
      write: (text, over) =>
        act(() => {
          if ((world.text?.revision ?? 0) !== over) return null
          world.text = { text, revision: ++world.revision }
          world.writes++
          for (const one of world.members) one.hear()
          return world.text.revision
        }),
      watch: (on) => {
        this.held.push(() => {
          const found = world.text
          if (found !== null) on(found)
        })
        return Promise.resolve()
      },
      close: () => Promise.resolve(),
    }
  }

  hear(): void {
    if (this.cutOff || this.world.now < this.world.away) return
    this.world.after(this.world.dice.next() * this.world.of.delayMs, () =>
      this.run(() => {
        if (!this.cutOff) for (const on of this.held) on()
      }),
    )
  }
}

class OnRoute {
  wants = 0
  inflight = 0

  get live(): number {
    return Math.max(this.wants, this.inflight)
  }
}

const NOTHING: Share = {
  ...ALONE,
  ...{ slots: 0, until: 0, safe: 0, safeUntil: 0, portion: { from: 0, to: 0 } },
}

/** All that waits for what has just happened has run. */
async function settled(): Promise<void> {
  for (let i = 0; i < 12; i++) await Promise.resolve()
}
