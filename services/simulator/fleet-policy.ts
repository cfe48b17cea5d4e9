/** Several instances of Headgate that share one set of limits, in virtual time, and callers that ask them as
 *  `headgate/client` does: each call goes to one of them by chance, as a queue group of NATS deals it out. Each
 *  instance has a host of its own. It may be killed; another takes its place. What all of them have in flight is counted
 *  from outside. */
import type { Config } from '#contracts/config'
import type { Millis, Seconds } from '#contracts/units'
import { holdsOver, type LimitWord } from '#core/model/share'
import { readRecord } from '#scheduler/fleet/record'
import type { FleetNews } from '#scheduler/loop/fleet-news'
import { Asking, NO_ANSWER } from './asking.ts'
import { seeded, type Throw } from './chance.ts'
import { FleetMember } from './fleet-member.ts'
import { VirtualFleetStore } from './fleet-store.ts'
import { GONE, HeadgatePolicy, NEVER, type HeadgateOptions } from './headgate-policy.ts'
import type { Fleet } from './job.ts'
import {
  noFacts,
  type FleetFacts,
  type KillFacts,
  type SchedulingPolicy,
  type Wire,
} from './policy.ts'
import type { SimRequest } from './sim-request.ts'
import { promisesKept } from './system.ts'
import { VirtualMoney } from './virtual-money.ts'

/** A caller knows that its instance is dead, and asks again, after so long: two questions of a second each, which begin
 *  within 1.5 s, and a quarter of a second by which callers keep apart (`services/client/watch.ts`). */
const NOTICED = { least: 2_000, most: 4_250 }
/** After a second death: it may have stood still (`services/client/asking.ts`). */
const LAST_WAIT: Millis = 15_000
/** Between the dice of one instance and of the next, and those of its membership. */
const APART = { members: 0x9e3779b1, shares: 0x85ebca6b }

export type FleetOptions = Omit<HeadgateOptions, 'film' | 'jobs' | 'restarts' | 'tell' | 'money'> &
  Fleet

export class FleetPolicy implements SchedulingPolicy {
  readonly facts
  readonly #fleet: FleetFacts
  readonly #of: FleetOptions
  /** Who lives, and who died and has connections that are not closed yet. */
  #members: FleetMember[] = []
  readonly #money: VirtualMoney
  readonly #store: VirtualFleetStore
  readonly #dice: { spread: Throw; victims: Throw; noticed: Throw }
  readonly #current = new Map<SimRequest, { asking: Asking; member: FleetMember }>()
  #config: Config
  #trips = 0
  #draining = false
  /** Something was done since promises were last kept, of which one may follow. */
  #entered = false

  constructor(of: FleetOptions) {
    const { clock, config, seed, instances, kills, sameName } = of
    this.#of = of
    this.#config = config
    const dice = (purpose: string): Throw => seeded(seed, `fleet ${purpose}`)
    this.#dice = { spread: dice('spread'), victims: dice('victims'), noticed: dice('noticed') }
    this.#money = new VirtualMoney({ clock, config: () => this.#config })
    this.#fleet = {
      ...{ whole: config.maxInflight, sameName, most: 0, given: 0 },
      ...{ members: [], kills: [], turnedAway: 0 },
    }
    this.facts = { ...noFacts(), spent: this.#money.spent, fleet: this.#fleet }
    this.#store = new VirtualFleetStore({
      ...{ clock, dice: dice('store') },
      written: (text) => this.#written(text),
    })
    for (let i = 0; i < instances; i++) this.#join()
    for (const { atS, forS } of kills) clock.after(Math.round(atS * 1_000), () => this.#kill(forS))
  }

  get #living(): FleetMember[] {
    return this.#members.filter(({ alive }) => alive)
  }

  /** Who waits at an instance or for one, and connections that are not closed yet. */
  get live(): number {
    const closing = this.#members.reduce((sum, { policy }) => sum + policy.live, 0)
    return Math.max(this.#current.size, closing)
  }

  settled(): Promise<void> | null {
    if (!this.#entered) return null
    this.#entered = false
    return promisesKept()
  }

  // ---- callers ----

  submit(request: SimRequest): void {
    const { clock, unpredicted = false } = this.#of
    const { deadlineMs } = request
    const told = unpredicted ? NEVER : deadlineMs
    this.#ask(request, { deadlineMs: told, again: false })
    if (!unpredicted || deadlineMs === null || request.answers > 0) return
    clock.after(deadlineMs, () => {
      if (request.answers === 0) this.withdraw(request)
    })
  }

  /** Its caller is gone. */
  withdraw(request: SimRequest): void {
    const current = this.#current.get(request)
    if (current === undefined) return
    const { asking, member } = current
    if (member.alive) member.policy.withdraw(request)
    else asking.break('cancelled')
  }

  cancel(everyNth: number): void {
    let n = 0
    for (const request of [...this.#current.keys()])
      if (++n % everyNth === 0) this.withdraw(request)
  }

  #ask(request: SimRequest, of: { deadlineMs: Millis | null; again: boolean }): void {
    const member = this.#picked()
    if (member === null) return this.#turnAway(request)
    const asking = new Asking({ request, again: of.again, ended: (one) => this.#over(one) })
    this.#current.set(request, { asking, member })
    member.ask(asking, of.deadlineMs)
  }

  /** Who has opened its doors; where none has, who will. */
  #picked(): FleetMember | null {
    const living = this.#living
    const open = living.filter((one) => one.open)
    const all = open.length > 0 ? open : living
    return all[Math.floor(this.#dice.spread() * all.length)] ?? null
  }

  #turnAway(request: SimRequest): void {
    if (request.asksAgain?.(GONE) === true) return
    this.#fleet.turnedAway++
    request.ended('failed', 'nobody_there')
  }

  #over(asking: Asking): void {
    const current = this.#current.get(asking.request)
    current?.member.askings.delete(asking)
    if (current?.asking === asking) this.#current.delete(asking.request)
  }

  // ---- an instance dies, and another comes ----

  /** `place`: of one that died; absent: a new one. */
  #join(place?: FleetMember): void {
    const { instances: _, kills: __, sameName, ...of } = this.#of
    const number = this.#fleet.members.length
    const seed = (of.seed + Math.imul(number, APART.members)) >>> 0
    const policy: HeadgatePolicy = new HeadgatePolicy({
      ...{ ...of, config: this.#config, seed, unpredicted: false, film: null, money: this.#money },
      wire: this.#wire(() => member),
      tell: (news) => this.#tell(member, news),
    })
    const member: FleetMember = new FleetMember({
      name: (sameName ? place?.facts.name : undefined) ?? `i${number + 1}`,
      ...{ number, seed: (seed ^ APART.shares) >>> 0, policy, clock: of.clock, store: this.#store },
      entered: (act) => {
        this.#entered = true
        act()
      },
      others: () => this.#living.some((one) => one !== member && one.joined),
    })
    this.#members.push(member)
    this.#fleet.members.push(member.facts)
    if (this.#draining) member.drain()
  }

  #kill(forS: Seconds): void {
    const living = this.#living
    const member = living[Math.floor(this.#dice.victims() * living.length)]
    if (member === undefined) throw new Error('nobody is there who could be killed')
    const { clock } = this.#of
    const cut = member.policy.loop.state.inflight
    this.#trips += member.policy.facts.trips
    const { at, thrownAway } = member.die(forS)
    const kill: KillFacts = {
      ...{ at, forS, member: member.facts.name, lost: member.askings.size, cut, thrownAway },
      ...{ askedAgain: 0, broken: 0, unanswered: 0, noticedS: 0 },
    }
    this.#fleet.kills.push(kill)
    for (const asking of member.askings) this.#noticeLater(asking, kill)
    clock.after(Math.round(forS * 1_000), () => this.#join(member))
  }

  #noticeLater(asking: Asking, kill: KillFacts): void {
    const { least, most } = NOTICED
    const inMs = Math.round(least + (most - least) * this.#dice.noticed())
    this.#of.clock.after(inMs, () => this.#noticed(asking, kill))
  }

  #noticed(asking: Asking, kill: KillFacts): void {
    if (asking.over) return
    // Where nobody answers nothing is known.
    if (this.#living.length === 0) return this.#noticeLater(asking, kill)
    const { clock } = this.#of
    kill.noticedS = Math.max(kill.noticedS, clock.instant / 1_000 - kill.at)
    if (asking.begun) {
      kill.broken++
      return asking.break('stream_broken')
    }
    const deadlineMs = this.#left(asking.request)
    if (!asking.again && (deadlineMs === null || deadlineMs >= 1)) {
      kill.askedAgain++
      return this.#ask(asking.request, { deadlineMs, again: true })
    }
    kill.unanswered++
    if (!asking.again) return asking.break(NO_ANSWER)
    clock.after(LAST_WAIT, () => asking.break(NO_ANSWER))
  }

  /** Of its time; null: it named none. */
  #left({ deadlineMs, arrivedAt }: SimRequest): Millis | null {
    if (this.#of.unpredicted === true) return NEVER
    return deadlineMs === null ? null : Math.floor(arrivedAt + deadlineMs - this.#of.clock.instant)
  }

  // ---- what instances tell each other ----

  #tell(from: FleetMember, news: FleetNews): void {
    if (news.kind === 'limit') {
      this.facts.decreases++
      this.facts.lowered.push([this.#of.clock.now() / 1_000, news.word.limit])
    }
    for (const one of this.#living)
      if (one !== from) this.#of.clock.after(this.#store.leg(), () => one.hear(news))
  }

  // ---- all of them together ----

  drain(): void {
    this.#draining = true
    for (const one of this.#living) one.drain()
  }

  configure(config: Config): void {
    this.#config = config
    for (const { policy } of this.#living) policy.configure(config)
  }

  get tenants(): number {
    return Math.max(0, ...this.#living.map(({ policy }) => policy.tenants))
  }

  /** What those who live may use now, of the limits that they have learned together. */
  limit(): number {
    this.#count()
    const living = this.#living
    const usable = living.reduce((sum, one) => sum + one.usable, 0)
    const words = new Map<string, LimitWord>()
    for (const one of living)
      for (const [route, word] of one.words()) {
        const known = words.get(route)
        if (known === undefined || holdsOver(word, known)) words.set(route, word)
      }
    const { initial } = this.#config.routeDefaults
    const learned = [...words.values()].reduce((sum, { limit }) => sum + limit, 0)
    return Math.min(words.size === 0 ? initial : learned, usable)
  }

  queued(lane: string): number {
    return this.#living.reduce((sum, { policy }) => sum + policy.queued(lane), 0)
  }

  check(): string[] {
    return this.#living.flatMap(({ policy }) => policy.check())
  }

  atRest(): string[] {
    this.#count()
    const waiting = this.#current.size
    const left = waiting === 0 ? [] : [`I9: at rest ${waiting} callers wait`]
    return [...left, ...this.#living.flatMap(({ policy }) => policy.atRest())]
  }

  #count(): void {
    const living = this.#living
    for (const one of living) one.count()
    this.facts.trips = living.reduce((sum, { policy }) => sum + policy.facts.trips, this.#trips)
    this.#members = this.#members.filter(({ alive, policy }) => alive || policy.live > 0)
  }

  /** I15 at the instant of a start; the attempt itself is counted already. */
  #wire(member: () => FleetMember): Wire {
    const { wire, tally, found } = this.#of
    return {
      send: (request, on) => {
        const attempt = wire.send(request, on)
        member().started()
        this.#fleet.most = Math.max(this.#fleet.most, tally.inflight)
        if (tally.inflight > this.#config.maxInflight)
          found([`I15: ${request.id} started above G, ${tally.inflight} are in flight`])
        return attempt
      },
    }
  }

  #written(text: string): void {
    const { record } = readRecord(text)
    const members = Object.values(record?.members ?? {})
    const given = members.reduce((sum, { held }) => sum + held, 0)
    this.#fleet.given = Math.max(this.#fleet.given, given)
    if (given > this.#config.maxInflight) this.#of.found([`I15: the record gives ${given} slots`])
  }
}
