/** What became of a backlog of jobs, of everybody else beside it, and what deaths of the process cost. */
import type { Seconds } from '#contracts/units'
import { Run, type PartRun } from './figures.ts'
import type { Backlog, BacklogFigures, RestartFigures, Waits } from './job.ts'
import type { JobFacts } from './policy.ts'
import { jobsOf, type LaneTally } from './tally.ts'

type WithBacklog = PartRun & { backlog: Backlog }

/** Null: no run had one. */
export function backlogFigures({ all }: Run): BacklogFigures | null {
  const runs = all.filter((one): one is WithBacklog => one.backlog !== null)
  const [first] = runs
  if (first === undefined) return null
  const { jobs, tenants, lane } = first.backlog
  const facts = runs.map(jobFacts)
  const sum = (of: (facts: JobFacts) => number): number =>
    facts.reduce((total, one) => total + of(one), 0)
  const left = runs.reduce((total, one) => total + leftOf(one), 0)
  const lasted = runs.reduce((total, one) => total + lastedOf(one), 0)
  const ended = sum((one) => one.ended)
  const expired = sum((one) => one.expired)
  const failed = sum((one) => one.failed)
  return {
    ...{ jobs, tenants, lane },
    done_s: left > 0 ? null : Math.max(...runs.map(lastedOf)),
    expected_s: left === 0 ? null : finite(Math.max(...runs.map(expectedOf))),
    jobs_per_s: runs.reduce((total, one) => total + endsOf(one), 0) / lasted,
    ...slotsOf(runs),
    completed: ended - expired - failed,
    ...{ expired, failed, refused: sum((one) => one.refused), left },
    beyond_one: sum((one) => one.beyondOne),
    beside: besideOf(runs),
  }
}

function jobFacts({ facts }: PartRun): JobFacts {
  if (facts.jobs === null) throw new Error('a backlog without jobs')
  return facts.jobs
}

/** Stored, and neither ended nor in the store: there is no good number but 0. */
export const lostJobs = ({ stored, ended, kept }: JobFacts): number => stored - ended - kept

/** Without a result: in the store, or not even there. */
function leftOf(run: WithBacklog): number {
  const facts = jobFacts(run)
  return run.backlog.jobs - facts.ended - facts.refused - lostJobs(facts)
}

/** Up to the last end, or to that of the traffic. */
function lastedOf(run: WithBacklog): Seconds {
  const { lastEndAt } = jobFacts(run)
  return leftOf(run) > 0 ? run.until : Math.max(1e-3, lastEndAt ?? 0)
}

/** As many as ended by then. */
const endsOf = (run: WithBacklog): number =>
  leftOf(run) > 0 ? laneOf(run).inTimeInRun : jobFacts(run).ended

const expectedOf = (run: WithBacklog): Seconds =>
  run.until + leftOf(run) / (endsOf(run) / run.until)

const finite = (value: number): number | null => (Number.isFinite(value) ? value : null)

const laneOf = ({ tally, backlog }: WithBacklog): LaneTally => tally.lane(jobsOf(backlog.lane))

/** Jobs wait in a second in which one is stored and not under way. */
function slotsOf(runs: readonly WithBacklog[]): Pick<BacklogFigures, 'fill' | 'thrown_away'> {
  let [free, held, lost, all] = [0, 0, 0, 0]
  for (const run of runs) {
    const { tally, until } = run
    const lane = laneOf(run)
    lost += lane.lost
    for (let second = 1; second <= until; second++) {
      const ofJobs = lane.perSecond.inflight.at(second)
      all += ofJobs
      if (lane.perSecond.queued.at(second) <= 0) continue
      const others = tally.perSecond.inflight.at(second) - ofJobs
      free += Math.max(0, tally.perSecond.capacity.at(second) - others)
      held += ofJobs
    }
  }
  return {
    fill: free > 0 && Number.isFinite(free) ? Math.max(0, held - lost) / free : null,
    thrown_away: all > 0 ? lost / all : null,
  }
}

function besideOf(runs: readonly WithBacklog[]): BacklogFigures['beside'] {
  const own = new Set(runs.map(({ backlog }) => jobsOf(backlog.lane)))
  const names = new Set(runs.flatMap(({ tally }) => [...tally.lanes.keys()]))
  const beside = new Run(runs)
  const alone = new Run(runs.flatMap(({ without }) => without ?? []))
  return Object.fromEntries(
    [...names]
      .filter((name) => !own.has(name))
      .map((name) => [name, { with: waitsOf(beside, name), without: waitsOf(alone, name) }]),
  )
}

const waitsOf = (run: Run, lane: string): Waits => ({
  wait_p50_s: run.wait(lane, 0.5),
  wait_p95_s: run.wait(lane, 0.95),
  e2e_p50_s: run.e2e([lane], 0.5),
  e2e_p95_s: run.e2e([lane], 0.95),
})

/** How much longer answers take beside a backlog, of what they take without; null: nobody knows. */
export function rise(figures: BacklogFigures | null, lane: string): number | null {
  const { with: beside, without } = figures?.beside[lane] ?? {}
  if (beside === undefined || without === undefined) return null
  const [one, other] = [beside.e2e_p95_s, without.e2e_p95_s]
  return one === null || other === null || other === 0 ? null : one / other - 1
}

/** Null: no process died. */
export function restartFigures({ all }: Run): RestartFigures | null {
  const deaths = all.flatMap((run) =>
    run.facts.deaths.map((death) => ({
      at_s: death.at,
      for_s: death.forS,
      ...{ lost: death.lost, turned_away: death.turnedAway, cut: death.cut },
      thrown_away_s: death.thrownAway,
      recovered_s: recoveredAfter(run, death.at),
    })),
  )
  if (deaths.length === 0) return null
  const later = all.flatMap((run) => laterOf(run) ?? [])
  return { deaths, later_s: later.length === 0 ? null : Math.max(...later) }
}

function laterOf({ backlog, unbroken, ...run }: PartRun): Seconds | null {
  if (backlog === null || unbroken === null) return null
  const [one, other] = [
    { ...run, unbroken, backlog },
    { ...unbroken, backlog },
  ]
  if (leftOf(one) > 0 || leftOf(other) > 0) return null
  return lastedOf(one) - lastedOf(other)
}

/** What was in use is the mean of so long before. */
const BEFORE: Seconds = 10
const AGAIN = 0.9

/** From a death until nearly as many slots are in use again; null: not by the end. */
export function recoveredAfter({ tally, until }: PartRun, at: Seconds): Seconds | null {
  const { inflight } = tally.perSecond
  const from = Math.floor(at)
  const mark = AGAIN * inflight.mean(Math.max(1, from - BEFORE), from)
  for (let second = from + 1; second <= until; second++)
    if (inflight.at(second) >= mark && second > at) return second - at
  return null
}
