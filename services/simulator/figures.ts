/** Figures of one or more runs. Percentiles are taken over the samples of all seeds together; extremes are
 *  the worst of any seed. */
import type { Seconds } from '#contracts/units'
import { jain, tenantJain } from './fairness.ts'
import type { Backlog } from './job.ts'
import type { PolicyFacts } from './policy.ts'
import { pooled, quantileOf, type Samples } from './samples.ts'
import type { LaneTally, Tally } from './tally.ts'

/** What one part of a scenario left behind, for one seed. */
export interface PartRun {
  part: number
  name: string
  until: Seconds
  tally: Tally
  facts: PolicyFacts
  /** Useful service over the best possible, in the part's own unit. */
  goodput: { served: number; possible: number }
  /** Tenants that the scheduler still remembered at the end. */
  tenantsLeft: number
  /** When the last attempt ended. */
  overAt: Seconds
  lowestLimit(from: Seconds, until: Seconds): number
  /** Null: there is none. */
  backlog: Backlog | null
  /** The same without the backlog, and with it but without a death; null: it was not played. */
  without: PartRun | null
  unbroken: PartRun | null
}

export class Run {
  readonly all: readonly PartRun[]

  constructor(all: readonly PartRun[]) {
    this.all = all
  }

  /** All seeds of one part. */
  part(index: number): Run {
    return new Run(this.all.filter((one) => one.part === index))
  }

  sum(of: (tally: Tally) => number): number {
    return this.all.reduce((sum, one) => sum + of(one.tally), 0)
  }

  ratio(over: (tally: Tally) => number, under: (tally: Tally) => number): number {
    const below = this.sum(under)
    return below === 0 ? 0 : this.sum(over) / below
  }

  mostOf(of: (part: PartRun) => number): number {
    return Math.max(...this.all.map(of))
  }

  leastOf(of: (part: PartRun) => number): number {
    return Math.min(...this.all.map(of))
  }

  meanOf(of: (part: PartRun) => number): number {
    return this.all.reduce((sum, one) => sum + of(one), 0) / this.all.length
  }

  /** Arrival to first start. */
  wait(lane: string, p: number): number | null {
    return this.#quantile(lane, p, (tally) => tally.waits)
  }

  /** The same for starts within a window of the run. */
  waitWithin(lane: string, p: number, from: Seconds, until: Seconds): number | null {
    const values: number[] = []
    this.#each(lane, (tally) => {
      for (let i = 0; i < tally.waits.length; i++) {
        const at = tally.starts.at(i)
        if (at >= from && at < until) values.push(tally.waits.at(i))
      }
    })
    return quantileOf(Float64Array.from(values).sort(), p)
  }

  /** The same for some tenants. */
  waitOf(lane: string, p: number, who: (tenant: string) => boolean): number | null {
    const values: number[] = []
    this.#each(lane, (tally) => {
      const wanted = [...tally.tenants.keys()].map(who)
      for (let i = 0; i < tally.waits.length; i++)
        if (wanted[tally.starts.tenant(i)] === true) values.push(tally.waits.at(i))
    })
    return quantileOf(Float64Array.from(values).sort(), p)
  }

  e2e(lanes: readonly string[], p: number): number | null {
    const samples: Samples[] = []
    for (const lane of lanes) this.#each(lane, (tally) => void samples.push(tally.e2e))
    return pooled(samples).quantile(p)
  }

  lastStart(lane: string): number | null {
    const values: number[] = []
    this.#each(lane, ({ starts }) => {
      if (starts.length > 0) values.push(starts.at(starts.length - 1))
    })
    return values.length === 0 ? null : Math.max(...values)
  }

  /** Mean attempts in flight from `from` to `until`. */
  use(from: Seconds, until?: Seconds): number {
    return this.meanOf((one) => one.tally.perSecond.inflight.mean(from + 1, until ?? one.until))
  }

  /** Seconds after `from` until ten samples in a row reach the mark; the slowest seed. */
  recovery(of: { from: Seconds; mark: number }): number {
    return this.mostOf((one) => {
      const { inflight } = one.tally.perSecond
      let inRow = 0
      for (let second = of.from; second < one.until; second++) {
        inRow = inflight.at(second) >= of.mark ? inRow + 1 : 0
        if (inRow === 10) return second - 9 - of.from
      }
      return Infinity
    })
  }

  amplification(): number {
    return this.ratio(
      (tally) => tally.attempts,
      (tally) => tally.startedRequests,
    )
  }

  /** Refused after an attempt. */
  failedRatio(): number {
    return this.ratio(
      (tally) => lanesOf(tally).reduce((sum, lane) => sum + lane.failed, 0),
      (tally) => lanesOf(tally).reduce((sum, lane) => sum + lane.offered, 0),
    )
  }

  ratio429(from: Seconds, until: Seconds): number {
    return this.ratio(
      ({ perSecond }) => perSecond.answers429.sum(from, until),
      ({ perSecond }) => perSecond.attempts.sum(from, until),
    )
  }

  /** |predicted - waited| where either is above a second. */
  predictionError(p: number): number | null {
    const errors: number[] = []
    for (const { tally } of this.all)
      for (const [predicted, waited] of tally.predictions)
        if (predicted > 1 || waited > 1) errors.push(Math.abs(predicted - waited))
    return quantileOf(Float64Array.from(errors).sort(), p)
  }

  /** Jain's index of what tenants were served, without regard to what they asked for. */
  rawJain(): number | null {
    const indices = this.all.map(({ tally }) =>
      jain(lanesOf(tally).flatMap((lane) => [...lane.tenants.values()].map((one) => one.served))),
    )
    return least(indices)
  }

  jainTenants(): number | null {
    return least(this.all.map(({ tally }) => tenantJain(tally)))
  }

  goodput(): number | null {
    const possible = this.all.reduce((sum, one) => sum + one.goodput.possible, 0)
    if (possible === 0) return null
    return this.all.reduce((sum, one) => sum + one.goodput.served, 0) / possible
  }

  /** What every run tells. */
  common(): Record<string, number | null> {
    const ratio = (status: 'answers429' | 'answers529'): number =>
      this.ratio(
        (tally) => tally[status],
        (tally) => tally.allAttempts,
      )
    return {
      goodput_of_optimum: this.goodput(),
      ratio_429: ratio('answers429'),
      ratio_529: ratio('answers529'),
      amplification: this.amplification(),
      jain_tenants: this.jainTenants(),
    }
  }

  #quantile(lane: string, p: number, of: (tally: LaneTally) => Samples): number | null {
    const samples: Samples[] = []
    this.#each(lane, (tally) => void samples.push(of(tally)))
    return pooled(samples).quantile(p)
  }

  #each(lane: string, act: (tally: LaneTally) => void): void {
    for (const { tally } of this.all) {
      const found = tally.lanes.get(lane)
      if (found !== undefined) act(found)
    }
  }
}

const lanesOf = (tally: Tally): LaneTally[] => [...tally.lanes.values()]

function least(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null)
  return known.length === 0 ? null : Math.min(...known)
}

/** Mean slots that a lane held. */
export const shareMean = (run: Run, lane: string, from: Seconds, until: Seconds): number =>
  run.meanOf((one) => one.tally.lanes.get(lane)?.perSecond.inflight.mean(from, until) ?? 0)
