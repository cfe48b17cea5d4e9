/** A run over time, thinned to what a plot can show. */
import type { PartRun } from './figures.ts'
import { SERIES_POINTS, type Series } from './job.ts'
import { quantileOf } from './samples.ts'
import type { LaneTally } from './tally.ts'
import { maxMin, jain } from './fairness.ts'

export const NO_SERIES: Series = {
  t: [],
  limit: [],
  capacity: [],
  inflight: [],
  attempts_per_s: [],
  answers_429_per_s: [],
  answers_529_per_s: [],
  jain: [],
  lanes: {},
}

export function seriesOf({ tally, until }: PartRun): Series {
  const step = Math.max(1, Math.ceil(until / SERIES_POINTS))
  const points = Math.max(1, Math.floor(until / step))
  const t = Array.from({ length: points }, (_, i) => i * step)
  const { perSecond } = tally
  const mean = (of: { mean(from: number, until: number): number }): number[] =>
    t.map((from) => finite(of.mean(from, from + step)))
  return {
    t,
    limit: mean(perSecond.limit),
    capacity: mean(perSecond.capacity),
    inflight: mean(perSecond.inflight),
    attempts_per_s: mean(perSecond.attempts),
    answers_429_per_s: mean(perSecond.answers429),
    answers_529_per_s: mean(perSecond.answers529),
    jain: fairnessOverTime([...tally.lanes.values()], t, step),
    lanes: Object.fromEntries(
      [...tally.lanes].map(([name, lane]) => [
        name,
        {
          inflight: mean(lane.perSecond.inflight),
          queued: mean(lane.perSecond.queued),
          ...waits(lane, points, step),
        },
      ]),
    ),
  }
}

/** A capacity without bound is no line in a plot. */
const finite = (value: number): number => (Number.isFinite(value) ? value : 0)

function waits(
  lane: LaneTally,
  points: number,
  step: number,
): { wait_p50_s: (number | null)[]; wait_p95_s: (number | null)[] } {
  const bins: number[][] = Array.from({ length: points }, () => [])
  for (let i = 0; i < lane.waits.length; i++)
    bins[Math.floor(lane.starts.at(i) / step)]?.push(lane.waits.at(i))
  const sorted = bins.map((bin) => Float64Array.from(bin).sort())
  return {
    wait_p50_s: sorted.map((bin) => quantileOf(bin, 0.5)),
    wait_p95_s: sorted.map((bin) => quantileOf(bin, 0.95)),
  }
}

/** So many tenants are compared at all points together; with more, at fewer points. */
const COMPARED = 300_000

/** Jain's index of the starts that each tenant had so far, over its max-min fair part of them. */
function fairnessOverTime(
  lanes: readonly LaneTally[],
  t: readonly number[],
  step: number,
): (number | null)[] {
  const counts = lanes.map(({ arrivals, starts, tenants }) => ({
    asked: counter(arrivals, tenants.size),
    got: counter(starts, tenants.size),
  }))
  const tenants = lanes.reduce((sum, lane) => sum + lane.tenants.size, 0)
  const every = Math.ceil((t.length * tenants) / COMPARED)
  return t.map((from, index) => {
    if (index % every !== 0) return null
    const ratios: number[] = []
    for (const lane of counts) {
      const asked = lane.asked(from + step)
      const got = lane.got(from + step)
      const fair = maxMin(
        asked,
        got.reduce((sum, n) => sum + n, 0),
      )
      for (const [i, share] of fair.entries()) if (share > 0) ratios.push(got[i]! / share)
    }
    return jain(ratios)
  })
}

/** How often each tenant has come by, up to an instant; asked with growing instants. */
function counter(moments: LaneTally['starts'], tenants: number): (until: number) => number[] {
  const counts = Array.from({ length: tenants }, () => 0)
  let next = 0
  return (until) => {
    for (; next < moments.length && moments.at(next) < until; next++)
      counts[moments.tenant(next)]!++
    return counts
  }
}
