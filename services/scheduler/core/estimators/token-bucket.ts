/** One dimension of a quota: a token bucket, refilled continuously, that may go into debt, because the true
 *  cost of an attempt is known only after its answer (control-laws §9).
 *  Bound: over any window w, spending is at most burst + rate x w, plus the largest single need, plus what
 *  estimates fell short (invariant I13). */
import type { Millis } from '#contracts/units'

/** Share of the provider's limit that is used: its clock and ours are never one. */
export const SAFETY = 0.95
/** Of its limit: the provider has rounded it, and no call of ours is in it. */
export const FULL = 0.98
/** Seconds over which accepted work is averaged when a 429 says that the rate is too high. */
export const RECENT = 20
export const CUT = { every: 10_000, factor: 0.9, deepest: 0.3, least: 0.05 }
export const GROW = { every: 10_000, quiet: 30_000, step: 0.05, slowStep: 0.025, most: 1 }
/** Never nothing: what waits must come to its turn. */
export const LEAST_PART = 0.001
/** A smaller part of what is shared is not the last word: whoever wants more is given more. */
export const EXPECTED_PART = 0.05
/** Room for what doubles lose when levels are added up. */
const EPSILON = 1e-9

export class TokenBucket {
  /** Per minute; null when neither configured nor learned: then nothing is paced. */
  limit: number | null = null
  /** Units per second. */
  rate = 0
  /** May be negative: debt. As of `at`. */
  level = 0
  /** This bucket has kept a request waiting since its rate last grew. */
  delayed = false
  at: Millis
  readonly #safety: number
  readonly #burstSeconds: number
  readonly #burstLeast: number
  /** Of the limit, what is ours. */
  #part = 1
  #configured: number | null = null
  #learned: number | null = null
  #cutAt: Millis = -Infinity
  #grewAt: Millis
  #step = GROW.step
  readonly #bornAt: Millis
  /** Accepted units, by second modulo `RECENT`; null: nobody compares them with the provider's word. */
  readonly #accepted: Float64Array | null
  #second: number

  /** `ours`: a limit that nobody else counts: all of it is used, and no word of a provider's is compared with it. */
  constructor(of: { burstSeconds: number; burstLeast: number; ours?: boolean; now: Millis }) {
    this.#accepted = of.ours === true ? null : new Float64Array(RECENT)
    this.#safety = of.ours === true ? 1 : SAFETY
    this.#burstSeconds = of.burstSeconds
    this.#burstLeast = of.burstLeast
    this.at = of.now
    this.#grewAt = of.now
    this.#bornAt = of.now
    this.#second = Math.floor(of.now / 1_000)
  }

  get burst(): number {
    return Math.max(this.#burstLeast, this.rate * this.#burstSeconds)
  }

  /** The rate that the limit allows, before any cut. */
  get full(): number {
    return this.limit === null ? 0 : (this.#safety * this.#part * this.limit) / 60
  }

  /** The limit is divided with others. What is in hand is never more than our part; a larger part fills by its rate. */
  divide(whole: number, now: Millis): void {
    const part = Math.max(LEAST_PART, whole)
    if (part === this.#part) return
    this.refill(now)
    const cut = this.full === 0 ? 1 : this.rate / this.full
    this.#part = part
    this.rate = cut * this.full
    this.level = Math.min(this.level, this.burst)
  }

  configure(perMinute: number | null, now: Millis): void {
    this.#configured = perMinute
    this.#limitChanged(now)
  }

  /** The provider's own word of its limit. */
  learn(perMinute: number, now: Millis): void {
    if (perMinute === this.#learned || perMinute <= 0) return
    this.#learned = perMinute
    this.#limitChanged(now)
  }

  #limitChanged(now: Millis): void {
    const limit = Math.min(this.#configured ?? Infinity, this.#learned ?? Infinity)
    const next = limit === Infinity ? null : limit
    if (next === this.limit) return
    const fresh = this.limit === null
    this.refill(now)
    this.limit = next
    this.rate = this.full
    this.#step = GROW.step
    this.level = fresh ? this.burst : Math.min(this.level, this.burst)
    this.at = Math.max(this.at, now)
  }

  /** The earliest instant at which `need` may be reserved; now or before means yes. */
  readyAt(need: number, now: Millis): Millis {
    if (this.limit === null) return now
    const missing = Math.min(need, this.burst) - this.levelAt(now)
    if (missing <= EPSILON && now >= this.at) return now
    return Math.max(now, this.at) + Math.max(0, Math.ceil((missing / this.rate) * 1_000))
  }

  /** How long until so much has come, a pause included: what waits before a request may be more than a burst. Of a limit
   *  that is divided at least `EXPECTED_PART` is reckoned with. */
  comesIn(units: number, now: Millis): Millis {
    if (this.limit === null) return 0
    const missing = units - this.levelAt(now)
    const rate = this.rate * Math.max(1, EXPECTED_PART / this.#part)
    return Math.max(now, this.at) - now + Math.max(0, (missing / rate) * 1_000)
  }

  /** Takes `need`. Gives what was accepted in the same second up to now, by which the attempt can tell what came
   *  after itself. */
  reserve(need: number, now: Millis): number {
    if (this.limit !== null) {
      this.refill(now)
      this.level -= need
    }
    if (this.#accepted === null) return 0
    this.#roll(now, this.#accepted)
    return (this.#accepted[this.#second % RECENT]! += need)
  }

  /** The truth about an attempt that started at `startedAt`: `by` is actual minus reserved. */
  settle(by: number, startedAt: Millis, now: Millis): void {
    if (by === 0) return
    this.#correct(startedAt, by, now)
    if (this.limit === null) return
    this.refill(now)
    this.level = Math.min(this.burst, this.level - by)
  }

  /** An attempt that started at `startedAt` was not accepted after all; what it spent stays spent. */
  refused(startedAt: Millis, now: Millis): void {
    this.#correct(startedAt, -1, now)
  }

  #correct(startedAt: Millis, by: number, now: Millis): void {
    if (this.#accepted === null) return
    this.#roll(now, this.#accepted)
    const second = Math.floor(startedAt / 1_000)
    if (second > this.#second - RECENT && second <= this.#second)
      this.#accepted[second % RECENT]! += by
  }

  /** What the provider said was left when it admitted an attempt, less what was taken since: as reserved, or as it
   *  turned out. There is never more than that; and where the provider had all of its limit left, our debt was none.
   *  Of no use once the attempt is older than what is remembered.
   *  `accepted`: what `reserve` gave it; `own`: by what it was put right itself. */
  told(
    of: { remaining: number; startedAt: Millis; accepted: number; own: number },
    now: Millis,
  ): void {
    if (this.limit === null) return
    const since = this.#since(of, now)
    if (since === null) return
    this.refill(now)
    const left = this.#part * of.remaining - since + (this.rate * (now - of.startedAt)) / 1_000
    const untouched = this.limit === this.#learned && of.remaining >= FULL * this.limit
    const debt = this.level < 0 && now >= this.at && untouched
    if (left < this.level || debt) this.level = Math.min(this.burst, left)
  }

  #since(of: { startedAt: Millis; accepted: number; own: number }, now: Millis): number | null {
    const accepted = this.#accepted
    if (accepted === null) return null
    this.#roll(now, accepted)
    const second = Math.floor(of.startedAt / 1_000)
    if (second <= this.#second - RECENT) return null
    let sum = Math.max(0, accepted[second % RECENT]! - of.accepted - of.own)
    for (let i = second + 1; i <= this.#second; i++) sum += accepted[i % RECENT]!
    return sum
  }

  /** Nothing is left, and nothing comes until `until`. */
  pause(until: Millis, now: Millis): void {
    this.refill(now)
    this.level = Math.min(this.level, 0)
    this.at = Math.max(this.at, until)
  }

  /** The provider refused although we stayed within the limit we knew: down to what it accepts. */
  cut(now: Millis): void {
    const accepted = this.#accepted
    if (this.limit === null || accepted === null || !this.#mayCut(now)) return
    this.#roll(now, accepted)
    let sum = 0
    for (const units of accepted) sum += units
    const seconds = Math.min(RECENT, Math.max(1, (now - this.#bornAt) / 1_000))
    const target = Math.min(CUT.factor * this.rate, sum / seconds)
    this.#slowTo(Math.max(CUT.deepest * this.rate, target), now)
  }

  /** A refusal that says nothing of quota: a little slower. */
  slow(now: Millis): void {
    if (this.limit !== null && this.#mayCut(now)) this.#slowTo(CUT.factor * this.rate, now)
  }

  #mayCut(now: Millis): boolean {
    return now - this.#cutAt >= CUT.every
  }

  #slowTo(rate: number, now: Millis): void {
    this.refill(now)
    this.#cutAt = now
    this.#grewAt = now
    this.#step = GROW.step
    this.rate = Math.min(this.full, Math.max(CUT.least * this.full, rate))
    this.level = Math.min(this.level, this.burst)
  }

  /** Once a second: the rate grows back while it keeps requests waiting and no 429 comes, the faster the
   *  longer that lasts (decisions/0010). */
  grow(of: { lastThrottle: Millis; slowly: boolean; held: boolean; now: Millis }): void {
    const { now } = of
    if (this.limit === null || this.rate >= this.full || now - this.#grewAt < GROW.every) return
    if (of.held || now - of.lastThrottle < GROW.quiet || !this.delayed) return
    this.refill(now)
    const step = of.slowly ? GROW.slowStep : this.#step
    this.rate = Math.min(this.full, this.rate * (1 + step))
    if (!of.slowly) this.#step = Math.min(GROW.most, 2 * this.#step)
    this.#grewAt = now
    this.delayed = false
  }

  /** Below this share of its burst, a 429 is explained. */
  below(share: number, now: Millis): boolean {
    return this.limit !== null && this.levelAt(now) < share * this.burst
  }

  levelAt(now: Millis): number {
    if (now <= this.at) return this.level
    return Math.min(this.burst, this.level + (this.rate * (now - this.at)) / 1_000)
  }

  refill(now: Millis): void {
    if (this.limit === null || now <= this.at) return
    this.level = this.levelAt(now)
    this.at = now
  }

  #roll(now: Millis, accepted: Float64Array): void {
    const second = Math.floor(now / 1_000)
    if (second <= this.#second) return
    for (let i = Math.max(this.#second + 1, second - RECENT + 1); i <= second; i++)
      accepted[i % RECENT] = 0
    this.#second = second
  }
}
