/** Durable jobs beside callers who wait: who pays for a backlog, and what a process that dies costs it. */
import { backlogFigures, lostJobs, restartFigures, rise } from './backlog-figures.ts'
import type { Run } from './figures.ts'
import type { Policy } from './job.ts'
import type { JobFacts } from './policy.ts'
import { atLoad, callers, sixty, type Part, type Scenario } from './scenario.ts'

/** Nobody else has durable jobs. */
const WITH_JOBS: readonly Policy[] = ['headgate']

/** Interactive and premium calls that come and go as a morning does, between three and seven tenths of the slots. */
const tide = callers({
  I: { per: (at) => 7.5 * tideAt(at), ttft: 0.5, deadline: 120 },
  P: { per: (at) => 2.5 * tideAt(at), ttft: 0.5, deadline: 120 },
  most: 5.25,
})
const tideAt = (at: number): number => 0.5 - 0.2 * Math.cos((2 * Math.PI * at) / 900)

/** Times what it is without the backlog. */
const ratio = (run: Run, lane: string): number | null => {
  const risen = rise(backlogFigures(run), lane)
  return risen === null ? null : 1 + risen
}

const beside = (name: string, config: NonNullable<Part['config']>): Part => ({
  name,
  until: 900,
  config,
  source: tide,
  provider: sixty,
  unit: 'work',
  // More than the slots that are left free could do.
  backlog: { jobs: 5_500, tenants: 5, lane: 'batch', deadlineS: null, overS: 0 },
})

export const besideBacklog: Scenario = {
  name: 'backlog',
  title:
    'interactive beside a batch backlog without end; `full_`: with `preemption.max_per_request` and `scheduling.headroom` 0',
  parameters: [],
  policies: WITH_JOBS,
  parts: () => [
    beside('as shipped', {}),
    beside('full', { preemption: { max_per_request: 0 }, scheduling: { headroom: 0 } }),
  ],
  figures(run) {
    const [shipped, full] = [run.part(0), run.part(1)]
    return {
      i_e2e_p95_ratio: ratio(shipped, 'interactive'),
      i_wait_p95_s: shipped.wait('interactive', 0.95),
      fill: backlogFigures(shipped)?.fill ?? null,
      jobs_per_s: backlogFigures(shipped)?.jobs_per_s ?? null,
      full_i_e2e_p95_ratio: ratio(full, 'interactive'),
      full_i_wait_p95_s: full.wait('interactive', 0.95),
      full_fill: backlogFigures(full)?.fill ?? null,
      full_jobs_per_s: backlogFigures(full)?.jobs_per_s ?? null,
    }
  },
  must: () => ({
    i_e2e_p95_ratio: '<= 1.05',
    full_i_e2e_p95_ratio: '<= 1.05',
    full_fill: '>= 0.95',
  }),
}

export const restarts: Scenario = {
  name: 'restarts',
  title: 'a backlog across three deaths of the process, of 5, 30 and 5 s',
  parameters: [],
  policies: WITH_JOBS,
  parts: () => [
    {
      name: 'all',
      until: 1_200,
      source: callers(atLoad(0.6)),
      provider: sixty,
      unit: 'work',
      backlog: { jobs: 2_000, tenants: 5, lane: 'batch', deadlineS: null, overS: 0 },
      restarts: [
        { atS: 200, forS: 5 },
        { atS: 400, forS: 30 },
        { atS: 600, forS: 5 },
      ],
    },
  ],
  figures(run) {
    const backlog = backlogFigures(run)
    const died = restartFigures(run)
    const deaths = died?.deaths ?? []
    const facts = run.all.flatMap(({ facts: { jobs } }) => jobs ?? [])
    const sum = (of: (facts: JobFacts) => number): number =>
      facts.reduce((total, one) => total + of(one), 0)
    const answered = sum(({ ended, expired, failed }) => ended - expired - failed)
    return {
      answered: answered / sum(({ asked }) => asked),
      lost: sum(lostJobs),
      beyond_one: sum(({ beyondOne }) => beyondOne),
      beyond_untold: Math.max(
        0,
        sum(({ beyondOne, told }) => beyondOne - told),
      ),
      done_s: backlog?.done_s ?? null,
      later_s: died?.later_s ?? null,
      calls_lost: deaths.reduce((sum, one) => sum + one.lost, 0),
      recovered_s: Math.max(...deaths.map((one) => one.recovered_s ?? Infinity)),
    }
  },
  must: () => ({ answered: '>= 1', lost: '<= 0', beyond_untold: '<= 0' }),
}
