/** Members of a fleet on one record in virtual time (control-laws S9): their clocks run apart, the store is slow, goes
 *  away and loses what it held, members are cut off from it, stand still, die, join and leave. What they have in
 *  flight together is counted from outside. */
import { seededDice } from '#core/estimators/dice'
import { OUTLIVES } from '#core/laws/shares'
import { ALONE, slotsOf, type Share } from '#core/model/share'
import type { Clock, Dice, FleetStore, Millis } from '#ports'
import { Membership } from '#scheduler/fleet/membership'
import { readRecord } from '#scheduler/fleet/record'
import { TimerHeap } from '#scheduler/loop/timer-heap'

export interface FleetWorldOptions {
  seed: number
  whole: number
  members: number
  membersMax: number
  seconds: number
  /** Chances of each member or of the store, per 100 ms. */
  chances: {
    join: number
    crash: number
    leave: number
    /** Cut off from the store; each step 0.01 to heal. */
    cutOff: number
    /** Stands still, for up to 45 s. */
    freeze: number
    redraw: number
    /** The store is away for all, for up to 60 s. */
    away: number
    /** The store loses the record. */
    lose: number
  }
  /** Of one leg to the store and back, most. */
  delayMs: Millis
  /** The store is away for all, once; absent: only by chance. */
  awayFor?: { from: Millis; ms: Millis }
}

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
      const wanted = this.members.reduce((sum, one) => sum + one.demand, 0)
      most = Math.max(most, inflight)
      if (inflight > this.of.whole) this.violations.push(`${this.now} ms: ${inflight} in flight`)
      this.sums()
      this.looksWhileAway(inflight)
      if (step * STEP < 30_000) continue
      used += Math.min(inflight, this.of.whole)
      could += Math.min(this.of.whole, wanted)
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
  }
}

class Member {
  readonly world: World
  readonly membership: Membership
  alive = true
  cutOff = false
  frozenUntil = 0
  wants = 0
  inflight = 0
  share: Share = { ...ALONE, slots: 0, until: 0, safe: 0, safeUntil: 0 }
  readonly rate: number
  readonly held: (() => void)[] = []

  constructor(world: World, name: string) {
    this.world = world
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
        capacity: world.of.whole,
        config: 'same',
        limits: new Map(),
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

  /** What it wants, and what still runs of what it wanted. */
  get demand(): number {
    return this.alive ? Math.max(this.wants, this.inflight) : this.inflight
  }

  redraw(): void {
    const { dice } = this.world
    this.wants = dice.next() < 0.3 ? 0 : 5 + Math.floor(30 * dice.next())
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
      this.inflight = 0
      world.lapses += this.membership.view.lapses
      this.membership.close()
    } else if (world.happens(chances.leave)) {
      this.wants = 0
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
    const most = slotsOf(this.share, this.now)
    if (late && this.inflight > most) this.inflight = most
    this.fill()
    this.tick()
  }

  fill(): void {
    const { world } = this
    if (!this.alive || world.now < this.frozenUntil) return
    while (this.inflight < Math.min(this.wants, slotsOf(this.share, this.now))) {
      this.inflight++
      const mean = 8_000
      const lasts = Math.min(30_000, 1_000 - mean * Math.log(1 - world.dice.next()))
      // The provider ends a call whether its caller stands still or not.
      world.after(lasts, () => {
        if (this.inflight > 0) this.inflight--
        this.fill()
      })
    }
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

/** All that waits for what has just happened has run. */
async function settled(): Promise<void> {
  for (let i = 0; i < 12; i++) await Promise.resolve()
}

const NONE = { join: 0, crash: 0, leave: 0, cutOff: 0, freeze: 0, redraw: 0, away: 0, lose: 0 }
const S9 = { whole: 60, members: 3, membersMax: 6, seconds: 400 }

/** S9 of the control laws. */
export const calmFleet = (seed: number): FleetWorldOptions => ({
  ...{ ...S9, seed, delayMs: 50 },
  chances: { ...NONE, join: 0.0005, redraw: 0.0005 },
})
export const slowFleet = (seed: number): FleetWorldOptions => ({ ...calmFleet(seed), delayMs: 500 })
/** As S9 says. */
export const chaosFleet = (seed: number): FleetWorldOptions => ({
  ...{ ...S9, seed, delayMs: 50 },
  chances: { ...NONE, join: 0.002, crash: 0.0004, cutOff: 0.001, redraw: 0.003 },
})
/** And beyond: members stand still and leave, the store goes away for everybody and loses the record. */
export const stormyFleet = (seed: number): FleetWorldOptions => ({
  ...chaosFleet(seed),
  chances: {
    ...chaosFleet(seed).chances,
    ...{ leave: 0.0002, freeze: 0.0003, away: 0.0002, lose: 0.0001 },
  },
})
