/** What a run is measured by, each figure against numbers made by hand. */
import { describe, expect, test } from 'vitest'
import { Run, shareMean, type PartRun } from '../../services/simulator/figures.ts'
import { ProviderModel, verdictOf } from '../../services/simulator/provider-model.ts'
import { seriesOf } from '../../services/simulator/series.ts'
import type { How, SimRequest } from '../../services/simulator/sim-request.ts'
import { PerSecond, Tally } from '../../services/simulator/tally.ts'
import { noFacts } from '../../services/simulator/policy.ts'
import { requestOf, type ArrivalSketch } from '../support/simulated.ts'

describe('numbers by second', () => {
  test('add up, are set, and are zero where nothing was said', () => {
    const seconds = new PerSecond()
    seconds.add(999, 2)
    seconds.add(1_000, 3)
    seconds.add(1_999, 4)
    seconds.set(4_000, 9)
    expect([0, 1, 2, 3, 4, 5].map((second) => seconds.at(second))).toEqual([2, 7, 0, 0, 9, 0])
    expect(seconds.length).toBe(5)
  })

  test('windows run from their first second to before their last', () => {
    const seconds = new PerSecond()
    for (const [second, value] of [5, 1, 4, 2].entries()) seconds.set(second * 1_000, value)
    expect(seconds.sum(1, 3)).toBe(5)
    expect(seconds.mean(0, 4)).toBe(3)
    expect(seconds.mean(0, 12)).toBe(1)
    expect(seconds.mean(2, 2)).toBe(0)
    expect(seconds.least(0, 4)).toBe(1)
    expect(seconds.least(2, 100)).toBe(2)
    expect(seconds.sum(-5, 1)).toBe(5)
  })

  test('grow as far as the run goes', () => {
    const seconds = new PerSecond()
    seconds.add(1_000, 1)
    seconds.add(100_000_000, 2)
    expect(seconds.sum(0, Infinity)).toBe(3)
    expect(seconds.at(1)).toBe(1)
  })
})

/** A tally that was told what happened to some requests. */
class Told {
  readonly tally: Tally

  constructor(until = 100) {
    this.tally = new Tally(until)
  }

  arrives(of: ArrivalSketch = {}): SimRequest {
    const request = requestOf(of)
    this.tally.arrived(request)
    return request
  }

  /** One attempt, from and until, in seconds. */
  runs(request: SimRequest, from: number, until: number, verdict = verdictOf('ok', 200)): void {
    this.tally.started(request, from * 1_000)
    this.tally.ended(request, verdict, from * 1_000, until * 1_000)
  }

  settles(
    request: SimRequest,
    at: number,
    how: How = 'completed',
    code: string | null = null,
  ): void {
    this.tally.settled(request, how, code, at * 1_000)
  }

  get run(): Run {
    return new Run([partOf(this.tally)])
  }
}

const partOf = (tally: Tally, of: Partial<PartRun> = {}): PartRun => ({
  part: 0,
  name: 'all',
  until: tally.until,
  tally,
  facts: noFacts(),
  goodput: { served: 0, possible: 0 },
  tenantsLeft: 0,
  overAt: 0,
  lowestLimit: () => 0,
  ...{ backlog: null, without: null, unbroken: null },
  ...of,
})
const preempted = { ...verdictOf('ended', null), cause: 'preempt' }

describe('the tally', () => {
  test('a wait is from arrival to the first start; later starts change nothing', () => {
    const told = new Told()
    const request = told.arrives({ at: 1_000 })
    told.runs(request, 3, 4, verdictOf('overloaded', 529))
    told.runs(request, 9, 10)
    told.settles(request, 10)
    expect(told.run.wait('interactive', 0.5)).toBe(2)
    expect(told.run.e2e(['interactive'], 0.5)).toBe(9)
    expect(told.tally.lane('interactive').waits.length).toBe(1)
    expect(request.startedAt).toBe(3_000)
  })

  test('what never started has no wait, and only what completed has an end to end', () => {
    const told = new Told()
    told.settles(told.arrives(), 50, 'refused', 'queue_full')
    const failed = told.arrives()
    told.runs(failed, 4, 5, verdictOf('fault', 500))
    told.settles(failed, 5, 'failed', 'retries_exhausted')
    const { run, tally } = told
    expect(run.wait('interactive', 1)).toBe(4)
    expect(run.e2e(['interactive'], 1)).toBe(null)
    expect(run.wait('premium', 1)).toBe(null)
    expect(tally.lane('interactive')).toMatchObject({ offered: 2, completed: 0, refused: 1, failed: 1 }) // prettier-ignore
    expect(Object.fromEntries(tally.codes)).toEqual({ queue_full: 1, retries_exhausted: 1 })
    // One of two was refused after an attempt.
    expect(run.failedRatio()).toBe(0.5)
  })

  test('amplification counts every attempt of the requests that started, but for preempted ones', () => {
    const told = new Told()
    const [once, thrice] = [told.arrives(), told.arrives()]
    told.arrives()
    told.runs(once, 0, 1)
    told.runs(thrice, 0, 2, preempted)
    told.runs(thrice, 3, 4, verdictOf('overloaded', 529))
    told.runs(thrice, 5, 6)
    expect(told.run.amplification()).toBe(1.5)
    expect(told.tally).toMatchObject({ attempts: 3, allAttempts: 4, startedRequests: 2, wasted: 2 })
  })

  test('an attempt that was cancelled by its caller was no preemption', () => {
    const told = new Told()
    told.runs(told.arrives(), 0, 2, { ...preempted, cause: 'cancel' })
    expect(told.tally).toMatchObject({ attempts: 1, wasted: 0, useful: 0 })
  })

  test('useful is what ended well, and only its part within the window', () => {
    const told = new Told(10)
    told.runs(told.arrives(), 2, 5)
    told.runs(told.arrives(), 8, 14)
    told.runs(told.arrives(), 11, 12)
    told.runs(told.arrives(), 1, 2, verdictOf('cut', 200))
    expect(told.tally.useful).toBe(3 + 2)
    // Tokens of the two that began in the window.
    expect(told.tally.usefulInput).toBe(2 * 100)
    expect(told.tally.usefulOutput).toBe(2 * 60)
    expect(told.tally.perSecond.ok.sum(0, 10)).toBe(2)
  })

  test('an answer after its deadline is of no use; one at its last instant is', () => {
    const told = new Told()
    told.runs(told.arrives({ deadlineMs: 5_000 }), 1, 6)
    told.runs(told.arrives({ deadlineMs: 5_000 }), 2, 5)
    expect(told.tally.useful).toBe(3)
    expect(told.tally.usefulInput).toBe(100)
  })

  test('in time and late speak of requests with a deadline that started', () => {
    const told = new Told()
    const started = (of: ArrivalSketch): SimRequest => {
      const request = told.arrives(of)
      told.runs(request, 1, 2)
      return request
    }
    told.settles(started({ deadlineMs: 5_000 }), 5)
    told.settles(started({ deadlineMs: 5_000 }), 6)
    told.settles(started({ deadlineMs: 5_000 }), 5, 'failed', 'deadline_exceeded')
    told.settles(started({ deadlineMs: 5_000 }), 5, 'failed', 'retries_exhausted')
    told.settles(started({}), 50)
    told.settles(told.arrives({ deadlineMs: 5_000 }), 5, 'refused', 'deadline_exceeded')
    expect(told.tally).toMatchObject({ inTime: 1, late: 2 })
  })

  test('each second shows what is in flight then, by lane', () => {
    const tally = new Tally(10)
    const [one, two] = [requestOf(), requestOf({ lane: 'batch' })]
    for (const request of [one, two]) {
      tally.arrived(request)
      tally.started(request, 0)
    }
    const sample = (at: number): void =>
      tally.sample({
        at,
        limit: 60,
        capacity: 30,
        queued: (lane) => (lane === 'batch' ? 4 : 0),
        provider: new ProviderModel({ capacity: () => 30 }, 1),
      })
    sample(1)
    tally.ended(two, verdictOf('throttled', 429), 0, 1_500)
    sample(2)
    const { perSecond } = tally
    expect([perSecond.inflight.at(1), perSecond.inflight.at(2)]).toEqual([2, 1])
    expect([perSecond.limit.at(1), perSecond.capacity.at(2)]).toEqual([60, 30])
    expect(tally.lane('batch').perSecond.inflight.at(1)).toBe(1)
    expect(tally.lane('batch').perSecond.queued.at(2)).toBe(4)
    expect(perSecond.answers429.at(1)).toBe(1)
    expect(tally.answers429).toBe(1)
  })
})

describe('figures', () => {
  test('waits can be cut by time of start and by tenant', () => {
    const told = new Told()
    for (const [tenant, at] of [
      ['a', 10],
      ['b', 20],
      ['a', 30],
    ] as const)
      // prettier-ignore
      told.runs(told.arrives({ tenant }), at, at + 1)
    const { run } = told
    expect(run.waitWithin('interactive', 1, 10, 30)).toBe(20)
    expect(run.waitWithin('interactive', 1, 40, 50)).toBe(null)
    expect(run.waitOf('interactive', 1, (tenant) => tenant === 'b')).toBe(20)
    expect(run.lastStart('interactive')).toBe(30)
    expect(run.lastStart('premium')).toBe(null)
  })

  test('percentiles are over all seeds together; use is the mean of seeds', () => {
    const [one, two] = [new Told(10), new Told(10)]
    for (const at of [1, 2, 3]) one.runs(one.arrives(), at, at)
    two.runs(two.arrives(), 90, 90)
    for (let second = 1; second < 10; second++) {
      one.tally.perSecond.inflight.set(second * 1_000, 20)
      two.tally.perSecond.inflight.set(second * 1_000, 40)
    }
    const run = new Run([partOf(one.tally), partOf(two.tally, { part: 1 })])
    expect(run.wait('interactive', 0.5)).toBe(2)
    expect(run.part(1).wait('interactive', 0.5)).toBe(90)
    expect(run.use(0)).toBe(30)
  })

  test('recovered is the first of ten seconds in a row at the mark; the slowest seed counts', () => {
    const of = (from: number): Tally => {
      const tally = new Tally(100)
      for (let second = from; second < 100; second++)
        tally.perSecond.inflight.set(second * 1_000, second === from + 3 ? 1 : 50)
      return tally
    }
    const recovery = (...tallies: Tally[]): number =>
      new Run(tallies.map((tally) => partOf(tally))).recovery({ from: 20, mark: 50 })
    // At the mark from 30 on, but for second 33: ten in a row begin at 34.
    expect(recovery(of(30))).toBe(14)
    expect(recovery(of(30), of(40))).toBe(24)
    expect(recovery(of(90))).toBe(Infinity)
  })

  test('the error of predictions leaves out what was short and said to be', () => {
    const tally = new Tally(10)
    tally.predictions.push([0, 0.9], [0, 1.5], [4, 1], [10, 12])
    // 1.5, 3 and 2.
    expect(new Run([partOf(tally)]).predictionError(1)).toBe(3)
    expect(new Run([partOf(tally)]).predictionError(0.5)).toBe(2)
    expect(new Run([partOf(new Tally(10))]).predictionError(0.5)).toBe(null)
  })

  test('goodput adds up seeds before it divides, and is unknown where nothing was possible', () => {
    const part = (served: number, possible: number): PartRun =>
      partOf(new Tally(10), { goodput: { served, possible } })
    expect(new Run([part(1, 2), part(1, 8)]).goodput()).toBe(0.2)
    expect(new Run([part(0, 0)]).goodput()).toBe(null)
  })

  test('fairness is that of the worst seed', () => {
    const of = (...served: number[]): PartRun => {
      const tally = new Tally(10)
      for (const [i, one] of served.entries()) {
        const tenant = tally.lane('interactive').tenant(`t${i}`)
        tenant.served = one
        tenant.offered = 100
      }
      return partOf(tally)
    }
    const run = new Run([of(5, 5), of(10, 0)])
    expect([run.rawJain(), run.jainTenants()]).toEqual([0.5, 0.5])
  })

  test('a ratio of 429 is over the attempts of its window, and none over none is zero', () => {
    const told = new Told()
    for (const at of [1, 2, 3]) told.runs(told.arrives(), at, at)
    told.runs(told.arrives(), 4, 4, verdictOf('throttled', 429))
    expect(told.run.ratio429(0, 100)).toBe(0.25)
    expect(told.run.ratio429(2, 5)).toBeCloseTo(1 / 3, 12)
    expect(told.run.ratio429(50, 60)).toBe(0)
    expect(told.run.common()).toMatchObject({ ratio_429: 0.25, ratio_529: 0, amplification: 1 })
  })

  test('a lane that nobody used held no slots', () => {
    const told = new Told(10)
    told.arrives()
    expect(shareMean(told.run, 'batch', 0, 10)).toBe(0)
  })
})

describe('the series', () => {
  test('has a point a second, with waits in the second of the start', () => {
    const told = new Told(3)
    told.runs(told.arrives({ at: 0 }), 1, 2)
    told.runs(told.arrives({ at: 0 }), 1.5, 2)
    told.tally.perSecond.capacity.set(1_000, Infinity)
    const series = seriesOf(partOf(told.tally))
    expect(series.t).toEqual([0, 1, 2])
    expect(series.attempts_per_s).toEqual([0, 2, 0])
    expect(series.lanes['interactive']?.wait_p50_s).toEqual([null, 1, null])
    expect(series.lanes['interactive']?.wait_p95_s).toEqual([null, 1.5, null])
    // What has no bound is no line in a plot.
    expect(series.capacity).toEqual([0, 0, 0])
  })

  test('is thinned to at most 600 points, each the mean of its interval', () => {
    const tally = new Tally(6_000)
    for (let second = 0; second < 6_000; second++)
      tally.perSecond.limit.set(second * 1_000, second % 10)
    const { t, limit } = seriesOf(partOf(tally))
    expect([t.length, t[1], limit[0], limit[599]]).toEqual([600, 10, 4.5, 4.5])
  })

  test('shows how even service was up to each instant', () => {
    const told = new Told(3)
    const [a, b] = [told.arrives({ tenant: 'a' }), told.arrives({ tenant: 'b' })]
    told.runs(a, 1, 2)
    told.runs(b, 2, 3)
    // Nothing yet; one of two has had half a start more than is fair, the other none; both have had one.
    expect(seriesOf(partOf(told.tally)).jain).toEqual([null, 0.5, 1])
  })
})
