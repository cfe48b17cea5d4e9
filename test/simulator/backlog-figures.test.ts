/** What is said of a backlog: counted from a tally that is made by hand, and in words. */
import { describe, expect, test } from 'vitest'
import { backlogFigures, restartFigures, rise } from '../../services/simulator/backlog-figures.ts'
import { wordsOf } from '../../services/simulator/backlog-words.ts'
import { Run, type PartRun } from '../../services/simulator/figures.ts'
import type { Backlog, BacklogFigures } from '../../services/simulator/job.ts'
import { noFacts, type JobFacts, type PolicyFacts } from '../../services/simulator/policy.ts'
import { ProviderModel, verdictOf } from '../../services/simulator/provider-model.ts'
import type { SimRequest } from '../../services/simulator/sim-request.ts'
import { Tally } from '../../services/simulator/tally.ts'
import { requestOf, type ArrivalSketch } from '../support/simulated.ts'

const BACKLOG: Backlog = { jobs: 4, tenants: 1, lane: 'batch', deadlineS: null, overS: 0 }
const JOBS: JobFacts = {
  ...{ asked: 4, stored: 4, refused: 0, ended: 4, kept: 0, expired: 0, failed: 0 },
  ...{ takenOver: 0, returned: 0, beyondOne: 0, told: 0, lastEndAt: 8 },
}
const UNTIL = 10

/** Ten seconds with 10 slots, of which callers have `others` in each second, jobs 4; jobs wait until `waitUntil`. */
function partOf(
  of: { others?: number; waitUntil?: number; capacity?: number; part?: Partial<PartRun> } = {},
): PartRun {
  const { others = 2, waitUntil = 5, capacity = 10, part } = of
  const tally = new Tally(UNTIL)
  const provider = new ProviderModel({ capacity: () => capacity }, 1)
  const started = (sketch: ArrivalSketch, durable: boolean): SimRequest => {
    const request = requestOf({ lane: durable ? 'batch' : 'interactive', ...sketch, durable })
    tally.arrived(request)
    tally.started(request, 0)
    return request
  }
  const jobs = Array.from({ length: 4 }, () => started({}, true))
  const callers = Array.from({ length: others }, () => started({}, false))
  for (let at = 1; at <= UNTIL; at++) {
    const queued = (lane: string): number => (lane === 'batch jobs' && at <= waitUntil ? 3 : 0)
    tally.sample({ at, limit: 10, capacity, queued, provider })
  }
  for (const one of [...jobs, ...callers]) {
    tally.ended(one, verdictOf('ok', 200), 0, UNTIL * 1_000)
    tally.settled(one, 'completed', null, UNTIL * 1_000)
  }
  return {
    ...{ part: 0, name: 'all', until: UNTIL, tally, tenantsLeft: 0, overAt: UNTIL },
    goodput: { served: 0, possible: 0 },
    facts: factsOf({}),
    lowestLimit: () => 0,
    ...{ backlog: BACKLOG, without: null, unbroken: null },
    ...part,
  }
}

const factsOf = (jobs: Partial<JobFacts>, of: Partial<PolicyFacts> = {}): PolicyFacts => ({
  ...noFacts(),
  jobs: { ...JOBS, ...jobs },
  ...of,
})
const figures = (part: PartRun): BacklogFigures => backlogFigures(new Run([part]))!

describe('the figures of a backlog', () => {
  test('fill is what jobs had of what nobody else had, while jobs waited', () => {
    expect(figures(partOf()).fill).toBe(4 / 8)
    expect(figures(partOf({ others: 6 })).fill).toBe(1)
    expect(figures(partOf({ capacity: Infinity })).fill).toBe(null)
    expect(figures(partOf({ waitUntil: 0 })).fill).toBe(null)
  })

  test('what was thrown away filled nothing', () => {
    const part = partOf()
    const lane = part.tally.lane('batch jobs')
    lane.lost = 10
    expect(figures(part)).toMatchObject({ fill: (5 * 4 - 10) / (5 * 8), thrown_away: 10 / 40 })
  })

  test('a backlog is done when its last job has ended, and its pace is that of all its time', () => {
    expect(figures(partOf())).toMatchObject({
      ...{ done_s: 8, expected_s: null, jobs_per_s: 0.5, left: 0, completed: 4 },
    })
  })

  test('one that is not done goes on at the pace that it had while there was traffic', () => {
    const facts = factsOf({ ended: 4, stored: 9, kept: 5 })
    const part = partOf({ part: { facts, backlog: { ...BACKLOG, jobs: 9 } } })
    expect(figures(part)).toMatchObject({
      ...{ done_s: null, left: 5, jobs_per_s: 0.4, expected_s: 10 + 5 / 0.4 },
    })
  })

  test('a job that is nowhere is not left: it is lost, which is a broken law', () => {
    const part = partOf({ part: { facts: factsOf({ stored: 4, ended: 3, kept: 0 }) } })
    expect(figures(part).left).toBe(0)
  })

  test('expired and failed ones are no answers', () => {
    const part = partOf({ part: { facts: factsOf({ expired: 1, failed: 2 }) } })
    expect(figures(part)).toMatchObject({ completed: 1, expired: 1, failed: 2 })
  })

  test('others are compared with themselves in the run without it', () => {
    const without = partOf({ part: { backlog: null } })
    without.tally.lane('interactive').e2e.push(40)
    const { beside } = figures(partOf({ part: { without } }))
    expect(Object.keys(beside)).toEqual(['interactive'])
    expect(beside['interactive']).toMatchObject({
      with: { e2e_p50_s: 10, e2e_p95_s: 10, wait_p95_s: 0 },
      without: { e2e_p50_s: 10, e2e_p95_s: 40 },
    })
    expect(rise(figures(partOf({ part: { without } })), 'interactive')).toBe(-0.75)
    expect(rise(figures(partOf()), 'interactive')).toBe(null)
    expect(rise(figures(partOf({ part: { without } })), 'premium')).toBe(null)
  })

  test('without one there are none', () => {
    expect(backlogFigures(new Run([partOf({ part: { backlog: null } })]))).toBe(null)
    expect(restartFigures(new Run([partOf()]))).toBe(null)
  })
})

const DEATH = { at: 4.5, forS: 2, lost: 3, turnedAway: 1, cut: 2, thrownAway: 12 }

describe('the figures of a death', () => {
  test('slots are in use again from the first second that has nine tenths of them', () => {
    const part = partOf({ part: { facts: factsOf({}, { deaths: [DEATH] }) } })
    const { inflight } = part.tally.perSecond
    for (const [at, n] of [[5, 0], [6, 0], [7, 5], [8, 6]] as const) inflight.set(at * 1_000, n) // prettier-ignore
    expect(restartFigures(new Run([part]))!.deaths[0]).toEqual({
      ...{ at_s: 4.5, for_s: 2, lost: 3, turned_away: 1, cut: 2, thrown_away_s: 12 },
      recovered_s: 3.5,
    })
    for (let at = 5; at <= UNTIL; at++) inflight.set(at * 1_000, 1)
    expect(restartFigures(new Run([part]))!.deaths[0]!.recovered_s).toBe(null)
  })

  test('a backlog is later by what it is, and by nothing that is known where it was not done', () => {
    const unbroken = partOf({ part: { facts: factsOf({ lastEndAt: 6.5 }) } })
    const dead = (jobs: Partial<JobFacts>): PartRun =>
      partOf({ part: { unbroken, facts: factsOf(jobs, { deaths: [DEATH] }) } })
    expect(restartFigures(new Run([dead({})]))!.later_s).toBe(1.5)
    expect(restartFigures(new Run([dead({ ended: 3, kept: 1 })]))!.later_s).toBe(null)
  })
})

describe('in words', () => {
  const done = figures(partOf({ part: { without: partOf({ part: { backlog: null } }) } }))
  const words = (of: Partial<BacklogFigures>): string =>
    wordsOf({ backlog: { ...done, ...of }, restarts: null }).join('\n')

  test('when it is done, how fast, what of the room it used, and who paid for it', () => {
    expect(words({})).toBe(
      [
        'the backlog (4 jobs of 1 tenant in batch) is done after 8 s: 0.5 jobs per second',
        'while jobs waited, they used 50 % of the slots that nobody else used',
        'interactive, to the end of an answer: P50 10 s beside it, 10 s without; P95 10 s beside it, 10 s without (0 % longer); of that waiting, P95 0 s beside it, 0 s without',
        '4 jobs were answered, 0 expired; each that ended has one result; 0 calls were made beyond one for each job',
      ].join('\n'),
    )
  })

  test('times are told as people tell them', () => {
    expect(words({ done_s: 119 })).toContain('after 119 s:')
    expect(words({ done_s: 150 })).toContain('after 150 s (3 min)')
    expect(words({ done_s: 7_199 })).toContain('after 7199 s (2 h 0 min)')
    expect(words({ done_s: 180_000 })).toContain('after 180000 s (2 d 2 h)')
  })

  test('what is not done says how long it would take', () => {
    expect(words({ done_s: null, left: 7, expected_s: 9_000 })).toContain(
      'is not done when the traffic ends: 7 jobs are left; at 0.5 jobs per second it would be done after about 9000 s (2 h 30 min), beside the same traffic',
    )
    expect(words({ done_s: null, left: 7, expected_s: null })).toContain(
      '7 jobs are left; none has',
    )
  })

  test('what went wrong is told where it did', () => {
    expect(words({ fill: null })).not.toContain('while jobs waited')
    expect(words({ thrown_away: 0.051 })).toContain('5.1 % of their slot time was thrown away')
    expect(words({ failed: 3, refused: 2, beyond_one: 1 })).toContain(
      '0 expired, 3 failed, 2 were refused and never stored; each that ended has one result; 1 call was made beyond one',
    )
  })

  test('a death, and what it cost', () => {
    const death = {
      ...{ at_s: 600, for_s: 5, lost: 57, turned_away: 55, cut: 6, thrown_away_s: 142.04 },
      recovered_s: 12,
    }
    const said = (later: number | null) =>
      wordsOf({ backlog: null, restarts: { deaths: [death], later_s: later } })
    expect(said(56.5)).toEqual([
      'the process died at 600 s for 5 s: 57 calls of callers lost their answer, 55 came while nobody was there, 142 slot-seconds were thrown away, after 12 s nine tenths of the slots were in use again',
      'without these deaths the backlog is done 56.5 s earlier',
    ])
    expect(said(-2)[1]).toBe('without these deaths the backlog is done 2 s later')
    expect(said(null).length).toBe(1)
    const beside = wordsOf({ backlog: done, restarts: { deaths: [death], later_s: null } })
    expect(beside.at(-1)).toContain('6 calls of jobs are made again')
  })
})
