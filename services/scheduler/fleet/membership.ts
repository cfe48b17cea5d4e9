/** One instance's part in a fleet (control-laws §14): reads the record, runs the law on it, writes its own line by
 *  compare-and-set, and says what may be used. What shrinks is obeyed before it is written, what grows after. */
import type { Clock, Dice, FleetStore, Millis } from '#ports'
import { LEASE, MOVE, safePart, SAFE_FOR } from '#core/laws/shares'
import { slotsOf, type LimitWord, type Portion, type Share } from '#core/model/share'
import { DecayingPeak } from './decaying-peak.ts'
import { Living } from './living.ts'
import { Observed } from './observed.ts'
import { planOf, wantOf, type Demand, type Plan } from './plan.ts'
import { viewOf, type FleetView, type MembershipNews } from './view.ts'
import { linesOf, RouteParts, routesMoved } from './route-parts.ts'
import { newRecord, readRecord, type FleetLine, type FleetRecord } from './record.ts'

/** A lease is renewed about so often; the jitter keeps members apart. */
export const RENEW: Millis = 2_500
export const RENEW_JITTER = 0.4
/** How often it is looked what is wanted. */
export const POLL: Millis = 500
/** Between two writes that are not the first answer to something new. */
export const SPACING: Millis = 200
/** The name of what is divided by slots, among what is wanted. */
const WHOLE = 'whole'
/** After somebody was faster, and before everybody answers one write: up to so long, by chance. */
export const APART: Millis = 40

export interface MembershipOptions {
  store: FleetStore
  clock: Clock
  dice: Dice
  /** Stable over restarts of the same place: who comes back under it takes over what it held. */
  name: string
  incarnation: string
  version: string
  /** This process, as others on its host can look for it; absent: they cannot. */
  process?: string
  /** Whether another member's process has ended for certain; absent: nobody can know. */
  isGone?: (process: string) => boolean
  demand: () => Demand
  onShare: (share: Share) => void
  /** Another member's word on a route's limit. */
  onLimit: (route: string, word: LimitWord) => void
  /** Whether any other instance answers that has joined; asked where there is no record yet. */
  anybody: () => Promise<boolean>
  news: (news: MembershipNews) => void
}

export class Membership {
  readonly #of: MembershipOptions
  readonly #observed: Observed
  #name: string
  #seen: { record: FleetRecord; revision: number; since: Millis } | null = null
  #seq = 0
  readonly #wants = new DecayingPeak()
  readonly #parts = new RouteParts()
  readonly #bornAt: Millis
  /** Of the last confirmed write: when it was sent, its lease, and what we may use under it. */
  #sentAt: Millis = -Infinity
  #lease: Millis = 0
  #use = 0
  #given: Share | null = null
  #triedAt: Millis = -Infinity
  #renewIn: Millis
  #busy = false
  #again = false
  #waits = false
  /** What is divided: of several configurations the smallest. */
  #whole: number
  #leaving = false
  #closed = false
  #lapsed = false
  #lapses = 0
  #trouble: string | null = null
  readonly #living = new Living()
  #stops: (() => void)[] = []

  constructor(of: MembershipOptions) {
    this.#of = of
    this.#observed = new Observed(of.isGone)
    this.#name = of.name
    this.#bornAt = of.clock.now()
    this.#whole = of.demand().whole
    this.#renewIn = this.#jittered()
  }

  async open(): Promise<void> {
    await this.#of.store.watch((found) => this.#found(found))
    this.#poll()
    await this.#act()
  }

  get view(): FleetView {
    return viewOf({
      record: this.#seen?.record ?? null,
      observed: this.#observed,
      now: this.#of.clock.now(),
      ...{ name: this.#name, given: this.#of.name, whole: this.#whole, reason: this.#trouble },
      ...{ lapses: this.#lapses, usable: this.usable },
      leaseEnds: Math.max(this.#bornAt, this.#sentAt) + LEASE,
    })
  }

  /** Whether it has ever been written down: then it may hold something still. */
  get joined(): boolean {
    return this.#sentAt > -Infinity
  }

  /** Slots that it may use now. */
  get usable(): number {
    return this.#given === null ? 0 : slotsOf(this.#given, this.#of.clock.now())
  }

  /** Takes nothing new: what it holds goes to the others as its attempts end. */
  drain(): void {
    this.#leaving = true
    void this.#act()
  }

  /** Takes its line out of the record: others need not wait. Never rejects. */
  async leave(): Promise<void> {
    this.close()
    await this.#of.store
      .read()
      .then(
        async (found) => {
          const record = found === null ? null : readRecord(found.text).record
          if (found === null || record?.members[this.#name]?.incarnation !== this.#of.incarnation)
            return
          const members = { ...record.members }
          delete members[this.#name]
          await this.#of.store.write(JSON.stringify({ ...record, members }), found.revision)
        },
        () => {},
      )
      .catch(() => {})
  }

  close(): void {
    this.#closed = true
    for (const stop of this.#stops.splice(0)) stop()
  }

  #poll(): void {
    if (this.#closed) return
    this.#after(POLL, () => {
      this.#wanted()
      if (this.#seen !== null) this.#observed.look(this.#seen.record)
      this.#review()
      void this.#act()
      this.#poll()
    })
  }

  #after(ms: Millis, call: () => void): void {
    const stop = this.#of.clock.after(ms, () => {
      this.#stops = this.#stops.filter((one) => one !== stop)
      if (!this.#closed) call()
    })
    this.#stops.push(stop)
  }

  #jittered = (): Millis => RENEW * (1 + RENEW_JITTER * (this.#of.dice.next() - 0.5))
  /** Units of the whole. */
  #wanted(): number {
    const now = this.#of.clock.now()
    const demand = this.#of.demand()
    this.#wants.note(WHOLE, this.#leaving ? 0 : wantOf(demand), now)
    this.#parts.note(demand.routes, now)
    return Math.ceil(this.#wants.of(WHOLE, now))
  }

  get #valid(): boolean {
    return this.#of.clock.now() < this.#sentAt + this.#lease
  }

  /** Tells of a lapse once, and of those who died. */
  #review(): void {
    const lapsed = this.#sentAt > -Infinity && !this.#valid
    if (lapsed !== this.#lapsed) {
      this.#lapsed = lapsed
      if (lapsed) {
        this.#lapses++
        this.#give()
      }
      this.#of.news({ kind: lapsed ? 'lapsed' : 'renewed', member: this.#name })
    }
    if (this.#seen === null) return
    const { record } = this.#seen
    const others = this.#observed.others(record, this.#name, this.#of.clock.now())
    for (const news of this.#living.review(record, others)) this.#of.news(news)
  }

  #found(found: { text: string; revision: number }): void {
    if (this.#closed || !this.#observe(found)) return
    this.#review()
    // All members hear of one write at once.
    this.#after(APART * this.#of.dice.next(), () => void this.#act())
  }

  /** False: it is older than what we know, or cannot be read. */
  #observe(found: { text: string; revision: number }): boolean {
    const { record, reason } = readRecord(found.text)
    if (record === null) {
      this.#troubled(reason)
      return false
    }
    const same = this.#seen !== null && this.#seen.record.id === record.id
    if (same && found.revision <= this.#seen!.revision) return false
    const now = this.#of.clock.now()
    this.#seen = { record, revision: found.revision, since: same ? this.#seen!.since : now }
    this.#observed.note(record, now)
    this.#observed.look(record)
    for (const [name, line] of Object.entries(record.members)) {
      if (name === this.#name) continue
      for (const [route, word] of Object.entries(line.limits)) this.#of.onLimit(route, word)
    }
    this.#obey()
    return true
  }

  /** What the record takes from us binds at once. */
  #obey(): void {
    const plan = this.#plan()
    if (plan === null) return
    // What we hold under a lease that is valid may be used again without a word.
    this.#use = this.#valid ? plan.use : Math.min(this.#use, plan.use)
    this.#parts.obey(plan.routes, this.#valid)
    this.#give()
  }

  #plan(): Plan | null {
    if (this.#seen === null) return null
    const plan = planOf({
      ...this.#seen,
      now: this.#of.clock.now(),
      observed: this.#observed,
      name: this.#name,
      incarnation: this.#of.incarnation,
      joined: this.joined,
      mayUse: this.#valid ? this.#use : 0,
      leaving: this.#leaving,
      demand: this.#of.demand(),
      want: this.#wanted(),
      parts: this.#parts,
    })
    this.#whole = plan.whole
    return plan
  }

  async #act(): Promise<void> {
    if (this.#closed) return
    if (this.#busy) {
      this.#again = true
      return
    }
    this.#busy = true
    try {
      await this.#write()
    } catch (error) {
      this.#troubled(error instanceof Error ? error.message : 'no reason given')
    } finally {
      this.#busy = false
    }
    if (!this.#again) return
    this.#again = false
    void this.#act()
  }

  async #write(): Promise<void> {
    if (this.#seen === null && !(await this.#begin())) return
    this.#notSuperseded()
    const plan = this.#plan()
    if (plan === null) return
    const now = this.#of.clock.now()
    const line = plan.record.members[this.#name]
    if (!this.#due(line, plan, now)) return
    if (now - this.#triedAt < SPACING && line !== undefined && plan.write >= line.held)
      return this.#soon()
    this.#triedAt = now
    const next = this.#line(plan, LEASE)
    const record = { ...plan.record, members: { ...plan.record.members, [this.#name]: next } }
    const revision = await this.#of.store.write(JSON.stringify(record), this.#seen!.revision)
    if (revision === null) return this.#slower()
    this.#confirmed({ record, revision, sentAt: now, plan })
  }

  #confirmed(of: { record: FleetRecord; revision: number; sentAt: Millis; plan: Plan }): void {
    const since = this.#seen?.record.id === of.record.id ? this.#seen.since : of.sentAt
    const older =
      this.#seen !== null &&
      this.#seen.record.id === of.record.id &&
      this.#seen.revision > of.revision
    if (!older) this.#seen = { record: of.record, revision: of.revision, since }
    this.#trouble = null
    this.#sentAt = of.sentAt
    this.#lease = of.record.members[this.#name]!.lease
    this.#renewIn = this.#jittered()
    this.#use = of.plan.later
    this.#parts.confirmed(of.plan.routes)
    if (older) this.#obey()
    this.#review()
    this.#give()
  }

  /** One write is too soon after the last: it is looked again in a moment. */
  #soon(): void {
    if (this.#waits) return
    this.#waits = true
    this.#after(SPACING, () => {
      this.#waits = false
      void this.#act()
    })
  }

  /** Somebody was faster: what they wrote is read, and answered in a moment. */
  async #slower(): Promise<void> {
    const found = await this.#of.store.read()
    if (found === null) this.#seen = null
    else this.#observe(found)
    this.#triedAt = -Infinity
    this.#after(APART * this.#of.dice.next(), () => void this.#act())
  }

  /** The record as it is, or a new one. False: there is nothing to write on yet. */
  async #begin(): Promise<boolean> {
    const found = await this.#of.store.read()
    if (found !== null) return this.#observe(found) || this.#seen !== null
    const first = this.#sentAt === -Infinity
    // Others may hold what a lost record gave them: they write it down again.
    if (first && (await this.#of.anybody())) return false
    const id = Math.floor(this.#of.dice.next() * 2 ** 48).toString(36)
    const record = newRecord(`${this.#of.incarnation}-${id}`, first)
    this.#seen = { record, revision: 0, since: this.#of.clock.now() }
    return true
  }

  /** Two processes of one name: the one that finds the other's line takes another name. */
  #notSuperseded(): void {
    const line = this.#seen?.record.members[this.#name]
    if (line === undefined || line.incarnation === this.#of.incarnation) return
    if (this.#sentAt === -Infinity) return
    this.#of.news({ kind: 'superseded', member: this.#name })
    this.#name = `${this.#of.name}-${this.#of.incarnation}`
    this.#use = 0
    this.#parts.forget()
    this.#lease = 0
    this.#give()
  }

  #due(line: FleetLine | undefined, { write, routes }: Plan, now: Millis): boolean {
    if (line === undefined || line.incarnation !== this.#of.incarnation) return true
    if (write !== line.held || now - this.#sentAt >= this.#renewIn) return true
    if (line.leaving !== this.#leaving) return true
    if (routesMoved(line.routes ?? {}, linesOf(routes))) return true
    const want = this.#wanted()
    return Math.abs(want - line.want) > Math.max(MOVE.slots, MOVE.part * line.want)
  }

  #line({ write: held, routes }: Plan, lease: Millis): FleetLine {
    const { inflight, whole, config, limits } = this.#of.demand()
    return {
      incarnation: this.#of.incarnation,
      seq: ++this.#seq,
      ...{ lease, held, inflight, whole, config },
      want: this.#wanted(),
      version: this.#of.version,
      ...(this.#of.process === undefined ? {} : { process: this.#of.process }),
      leaving: this.#leaving,
      limits: Object.fromEntries(limits),
      routes: linesOf(routes),
    }
  }

  #give(): void {
    if (this.#sentAt === -Infinity || this.#seen === null) return
    const until = this.#sentAt + this.#lease
    const whole = this.#whole
    const safe = Math.min(this.#use, safePart(whole))
    const slots = this.#valid ? this.#use : safe
    const share: Share = {
      ...{ slots, until, safe, safeUntil: until + SAFE_FOR },
      portion: this.#portion(slots),
      routes: this.#parts.portions(this.#seen.record, this.#name, whole, !this.#valid),
    }
    this.#given = share
    this.#of.onShare(share)
  }

  /** Parts lie side by side in the order of names. */
  #portion(slots: number): Portion {
    let from = 0
    for (const [name, { held }] of Object.entries(this.#seen!.record.members))
      if (name < this.#name) from += held
    return { from: from / this.#whole, to: (from + slots) / this.#whole }
  }

  #troubled(reason: string): void {
    if (this.#trouble !== reason) this.#of.news({ kind: 'trouble', member: this.#name, reason })
    this.#trouble = reason
  }
}
