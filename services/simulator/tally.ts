/** What happened, counted: by lane, by tenant and by second. Windows are cut out of the seconds afterwards,
 *  so that no figure needs a counter of its own. */
import type { Millis, Seconds, Tokens } from '#contracts/units'
import type { Verdict } from '#contracts/verdict'
import type { ProviderModel } from './provider-model.ts'
import type { OverloadRow } from './overload.ts'
import { Samples } from './samples.ts'
import type { How, SimRequest } from './sim-request.ts'

/** Jobs are counted beside the requests of their lane. */
export const jobsOf = (lane: string): string => `${lane} jobs`

export class Tally {
  readonly until: Seconds
  readonly lanes = new Map<string, LaneTally>()
  /** Every request that started, and all attempts but those that were preempted. */
  startedRequests = 0
  attempts = 0
  allAttempts = 0
  answers429 = 0
  answers529 = 0
  /** Slot-seconds of attempts that were preempted, and of those that ended well and in time, in the window. */
  wasted: Seconds = 0
  useful: Seconds = 0
  inflight = 0
  readonly codes = new Map<string, number>()
  readonly perSecond = {
    arrivals: new PerSecond(),
    attempts: new PerSecond(),
    /** By the second in which the attempt started. */
    ok: new PerSecond(),
    answers429: new PerSecond(),
    answers529: new PerSecond(),
    inflight: new PerSecond(),
    limit: new PerSecond(),
    capacity: new PerSecond(),
  }
  /** Predicted and real waits of requests that started, in seconds. */
  readonly predictions: [predicted: Seconds, waited: Seconds][] = []
  /** Completed, and refused or failed, within their deadline or after it. */
  inTime = 0
  late = 0
  /** Tokens of answers that came in time and began in the window. */
  usefulInput = 0
  usefulOutput = 0
  /** Input of all answers: what no cache had, what was written to it and what was read from it. */
  readonly prompts: Prompts = { fresh: 0, written: 0, read: 0 }
  /** Every call that is over, in order of its end; null: not kept. */
  readonly calls: OverloadRow[] | null

  constructor(until: Seconds, keepCalls = false) {
    this.until = until
    this.calls = keepCalls ? [] : null
  }

  lane(name: string): LaneTally {
    let lane = this.lanes.get(name)
    if (lane === undefined) this.lanes.set(name, (lane = new LaneTally()))
    return lane
  }

  arrived(request: SimRequest): void {
    const lane = this.lane(request.durable ? jobsOf(request.lane) : request.lane)
    const tenant = lane.tenant(request.tenant)
    request.counted = { lane, tenant }
    lane.offered++
    tenant.offered += request.work.serviceMs / 1_000
    lane.arrivals.push(request.arrivedAt / 1_000, tenant.index)
    this.perSecond.arrivals.add(request.arrivedAt, 1)
  }

  started(request: SimRequest, now: Millis): void {
    const { lane, tenant } = countedOf(request)
    this.inflight++
    lane.inflight++
    this.attempts++
    this.allAttempts++
    this.perSecond.attempts.add(now, 1)
    if (request.starts++ > 0) return
    request.startedAt = now
    this.startedRequests++
    const wait = (now - request.arrivedAt) / 1_000
    lane.waits.push(wait)
    lane.starts.push(now / 1_000, tenant.index)
  }

  /** `stretch`: times as long as with nobody else there; work counts as much as it was. */
  ended(request: SimRequest, verdict: Verdict, startedAt: Millis, now: Millis, stretch = 1): void {
    const { lane, tenant } = countedOf(request)
    this.inflight--
    lane.inflight--
    const from = Math.min(startedAt / 1_000, this.until)
    const seconds = Math.min(now / 1_000, this.until) - from
    if (verdict.kind === 'ok') {
      const work = seconds / stretch
      this.#read(verdict.usage)
      tenant.served += work
      const { deadlineMs } = request
      if (deadlineMs !== null && now - request.arrivedAt > deadlineMs) return
      this.useful += work
      if (startedAt < this.until * 1_000) {
        this.usefulInput += request.work.inputTokens
        this.usefulOutput += request.work.outputTokens
      }
      this.perSecond.ok.add(startedAt, 1)
      return
    }
    lane.lost += Math.max(0, seconds)
    if (verdict.status === 429 || verdict.status === 529) request.refusedUpstream++
    if (verdict.status === 429) {
      this.answers429++
      this.perSecond.answers429.add(now, 1)
    }
    if (verdict.status === 529) {
      this.answers529++
      this.perSecond.answers529.add(now, 1)
    }
    if (verdict.cause === 'preempt') {
      this.wasted += seconds
      this.attempts--
    }
  }

  #read(usage: Verdict['usage']): void {
    if (usage === null) return
    this.prompts.fresh += usage.inputTokens
    this.prompts.written += usage.cacheCreationTokens
    this.prompts.read += usage.cacheReadTokens
  }

  settled(request: SimRequest, how: How, code: string | null, now: Millis): void {
    const { lane } = countedOf(request)
    lane[how]++
    if (code !== null) this.codes.set(code, (this.codes.get(code) ?? 0) + 1)
    const total = now - request.arrivedAt
    const inTime =
      how === 'completed' && (request.deadlineMs === null || total <= request.deadlineMs)
    if (inTime) lane.inTime++
    if (inTime && now <= this.until * 1_000) lane.inTimeInRun++
    this.#keep(request, inTime, code, now)
    if (how === 'completed') lane.e2e.push(total / 1_000)
    if (request.deadlineMs === null || request.starts === 0) return
    if (inTime) this.inTime++
    else if (how === 'completed' || code === 'deadline_exceeded') this.late++
  }

  #keep(request: SimRequest, inTime: boolean, code: string | null, now: Millis): void {
    this.calls?.push({
      at: request.arrivedAt,
      lane: request.lane,
      model: request.model,
      tenant: request.tenant,
      serviceMs: request.work.serviceMs,
      endedAt: now,
      inTime,
      attempts: request.starts,
      refused: request.refusedUpstream,
      code,
    })
  }

  sample(of: {
    at: Seconds
    limit: number
    capacity: number
    queued: (lane: string) => number
    provider: ProviderModel
  }): void {
    const now = of.at * 1_000
    this.perSecond.inflight.set(now, this.inflight)
    this.perSecond.limit.set(now, of.limit)
    this.perSecond.capacity.set(now, of.capacity)
    for (const [name, lane] of this.lanes) {
      lane.perSecond.inflight.set(now, lane.inflight)
      lane.perSecond.queued.set(now, of.queued(name))
    }
  }
}

export interface Prompts {
  fresh: Tokens
  written: Tokens
  read: Tokens
}

/** Where a request is counted; looked up once. */
export interface Counted {
  lane: LaneTally
  tenant: TenantTally
}

function countedOf({ counted, id }: SimRequest): Counted {
  if (counted === null) throw new Error(`${id}: counted before it arrived`)
  return counted
}

export class LaneTally {
  offered = 0
  completed = 0
  refused = 0
  failed = 0
  /** Answered, by the deadline where there is one; of these, before the end of the run. */
  inTime = 0
  inTimeInRun = 0
  inflight = 0
  /** Slot-seconds of attempts that did not end well, in the window. */
  lost: Seconds = 0
  /** Arrival to first start, in seconds; in the order of `starts`. */
  readonly waits = new Samples()
  readonly starts = new Moments()
  readonly arrivals = new Moments()
  /** Arrival to the answer of completed requests, in seconds. */
  readonly e2e = new Samples()
  readonly tenants = new Map<string, TenantTally>()
  readonly perSecond = { inflight: new PerSecond(), queued: new PerSecond() }

  tenant(name: string): TenantTally {
    let tenant = this.tenants.get(name)
    if (tenant === undefined)
      this.tenants.set(name, (tenant = { index: this.tenants.size, offered: 0, served: 0 }))
    return tenant
  }
}

/** Slot-seconds that one tenant asked for and got in one lane. */
export interface TenantTally {
  readonly index: number
  offered: Seconds
  served: Seconds
}

/** When something happened, and to which tenant of the lane, in order of time. */
class Moments {
  readonly #at = new Samples()
  readonly #who = new Samples()

  push(at: Seconds, tenant: number): void {
    this.#at.push(at)
    this.#who.push(tenant)
  }

  get length(): number {
    return this.#at.length
  }

  at(index: number): Seconds {
    return this.#at.at(index)
  }

  tenant(index: number): number {
    return this.#who.at(index)
  }
}

/** One number for each second of the run. */
export class PerSecond {
  #values = new Float64Array(4_096)
  length = 0

  add(at: Millis, by: number): void {
    // The array may be another one after reaching: first reach, then look.
    const second = this.#reach(at)
    this.#values[second]! += by
  }

  set(at: Millis, value: number): void {
    const second = this.#reach(at)
    this.#values[second] = value
  }

  at(second: number): number {
    return second < this.length ? this.#values[second]! : 0
  }

  /** Over seconds `from` to below `until`. */
  sum(from: Seconds, until: Seconds): number {
    let sum = 0
    for (let i = Math.max(0, from); i < Math.min(until, this.length); i++) sum += this.#values[i]!
    return sum
  }

  mean(from: Seconds, until: Seconds): number {
    return until <= from ? 0 : this.sum(from, until) / (until - from)
  }

  least(from: Seconds, until: Seconds): number {
    let least = Infinity
    for (let i = from; i < Math.min(until, this.length); i++)
      least = Math.min(least, this.#values[i]!)
    return least
  }

  #reach(at: Millis): number {
    const second = Math.floor(at / 1_000)
    if (second >= this.#values.length) {
      const grown = new Float64Array(Math.max(2 * this.#values.length, second + 1))
      grown.set(this.#values)
      this.#values = grown
    }
    if (second >= this.length) this.length = second + 1
    return second
  }
}
