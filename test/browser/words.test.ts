/** What the page says, without a browser: numbers, answers, findings, and how the pool divides. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Frame } from '#contracts/dashboard'
import { runbook, RUNBOOK_KINDS } from '#contracts/runbook'
import {
  retriesControlled,
  waitInflating,
  whose429,
} from '../../services/dashboard/page/answers.ts'
import { calm, findings } from '../../services/dashboard/page/findings.ts'
import { allot } from '../../services/dashboard/page/slot-pool.ts'
import { waitTrend } from '../../services/dashboard/page/wait-trend.ts'
import {
  duration,
  elapsed,
  number,
  percent,
  shortened,
} from '../../services/dashboard/page/words.ts'
import { runbookPage } from '../../services/dashboard/runbook-page.ts'
import { stillFleet, stillJobs, stillMember } from '../support/fed.ts'
import { frameOf, helloOf, routeOf } from '../support/fake-dashboard.ts'
import { filesOf, read } from '../support/tree.ts'

describe('numbers', () => {
  test.each([
    [0, '0'],
    [0.4567, '0.46'],
    [7.25, '7.25'],
    [48.26, '48.3'],
    [1_250, '1,250'],
    [18_400, '18.4 k'],
    [2_500_000, '2.5 M'],
    [null, '–'],
  ])('%s is said as %s', (value, said) => expect(number(value)).toBe(said))

  test.each([
    [0, '0 ms'],
    [840, '840 ms'],
    [2_440, '2.4 s'],
    [48_200, '48 s'],
    [180_000, '3 min'],
    [7_500_000, '2 h 5 min'],
    [273_600_000, '3 d 4 h'],
    [-1_500, '-1.5 s'],
    [null, '–'],
  ])('%s ms is %s', (ms, said) => expect(duration(ms)).toBe(said))

  test('time that runs is told by the second', () => {
    expect([elapsed(-5), elapsed(48_900), elapsed(60_000), elapsed(185_000)]).toEqual([
      '0 s',
      '48 s',
      '1 min',
      '3 min 5 s',
    ])
    expect([percent(0), percent(0.0123), percent(0.92)]).toEqual(['0 %', '1.2 %', '92 %'])
  })

  test('a long name keeps its beginning and its end', () => {
    expect(shortened('a'.repeat(30) + 'z'.repeat(30), 11)).toBe('aaaaaa…zzzz')
    expect(shortened('short', 11)).toBe('short')
  })
})

describe('the three answers', () => {
  type Named = [name: string, part: number, concentrated?: boolean]
  const beside = ([name, part, concentrated = false]: Named) => ({
    ...{ name, part, of_calls: concentrated ? part / 3 : part },
    concentrated,
  })
  const of = (routes: Named[], tenants: Named[]): Frame =>
    frameOf({
      concentration_429: {
        count: 50,
        routes: routes.map(beside),
        tenants: tenants.map(beside),
      },
    })

  test('429s are in one model, in one tenant, in both, or spread', () => {
    const opus = 'anthropic-claude-opus-4-1'
    expect(whose429(of([[opus, 0.9, true]], [['a', 0.6]])).text).toMatch(
      /^Yes, in one model: claude-opus/,
    )
    expect(whose429(of([[opus, 0.5]], [['a', 0.8, true]])).text).toMatch(
      /^Yes, in one tenant: tenant a/,
    )
    expect(whose429(of([[opus, 0.9, true]], [['a', 0.8, true]])).text).toMatch(/^Yes, in both/)
    expect(whose429(of([[opus, 0.9]], [['a', 0.8]])).text).toMatch(/^No: about 50 spread/)
  })

  const waits = (p95: number): Frame['lanes'] =>
    frameOf().lanes.map((lane) => ({ ...lane, wait_p95_ms: lane.name === 'batch' ? p95 : 10 }))
  const queued = (count: number): Frame['global'] => ({ ...frameOf().global, queued: count })

  test('a wait that grew to many times what it was is inflating, and one that a person never notices is not', () => {
    const trend = waitTrend()
    for (let at = 0; at < 600; at++) trend.note(frameOf({ lanes: waits(400) }))
    const answer = (p95: number): string => {
      const frame = frameOf({ lanes: waits(p95), global: queued(1) })
      return waitInflating(frame, trend.lanes(frame)).text
    }
    expect(answer(4_000)).toBe('Yes: batch waits 4 s (P95, 10 times as before).')
    expect(answer(500)).toMatch(/^No: at most 500 ms/)
    expect(answer(90)).toMatch(/^No, it falls: batch 90 ms/)
    // What the last minutes saw is no trouble once nobody waits.
    const over = frameOf({ lanes: waits(4_000), global: queued(0) })
    expect(waitInflating(over, trend.lanes(over)).text).toMatch(/^It did, and nobody waits now: /)
  })

  test('a queue in which nothing moves inflates, although no start tells of it', () => {
    const lanes = frameOf().lanes.map((lane) => ({ ...lane, oldest_ms: 9_000, queued: 5 }))
    const frame = frameOf({ lanes, global: queued(15) })
    expect(waitInflating(frame, waitTrend().lanes(frame)).text).toMatch(
      /^Yes: in premium, interactive and batch somebody has waited 9 s/,
    )
  })

  test('too few samples over the budget are no verdict', () => {
    const guardrails = frameOf().guardrails.map((one) => ({ ...one, value: one.bound * 2 }))
    expect(retriesControlled(frameOf({ guardrails })).text).toMatch(/^Too early to say/)
  })
})

describe('what is wrong', () => {
  const said = (of: Partial<Frame>): string[] => {
    const frame = frameOf(of)
    return findings({ frame, now: frame.at, seenSince: () => frame.at }).map(({ what }) => what)
  }

  test('nothing, in a calm house', () => expect(said({})).toEqual([]))

  test('the worst stands first, and routes in one state are one matter', () => {
    const broken = (model: string) =>
      routeOf(model, { breaker_machine: { state: 'open', since: 0, counts: [] } })
    expect(
      said({ emergency: true, routes: [broken('a'), broken('b'), broken('c'), routeOf('d')] }),
    ).toEqual([
      'Too many failures, breaker open: a, b and 1 route more',
      'The emergency block is on',
    ])
  })

  test('each kind of trouble has a sentence with all its parts', () => {
    const frame = frameOf({
      draining: true,
      bus: { kind: 'nats', connected: false },
      global: { limit: 60, inflight: 60, queued: 9, backoff: 0, level: 3 },
      lanes: frameOf().lanes.map((lane) => ({
        ...lane,
        paused: lane.name === 'batch',
        oldest_ms: 9_000,
      })),
      routes: [
        routeOf('held', { limit_machine: { state: 'held', since: 0, counts: [] } }),
        routeOf('paused', { paused_ms: 900 }),
        routeOf('blocked', { blocked_ms: 900 }),
        routeOf('paced', {
          queued: 4,
          buckets: {
            requests: { limit_per_minute: 60, rate_per_minute: 50, level: 0, burst: 60 },
            input_tokens: null,
            output_tokens: null,
          },
        }),
      ],
      guardrails: frameOf().guardrails.map((one) => ({ ...one, met: false })),
      faults: [{ kind: 'hang', model: null, until_at: 0 }],
    })
    const found = findings({ frame, now: frame.at, seenSince: () => 0 })
    expect(found).toHaveLength(12)
    for (const one of found) expect([one.whom, one.doing]).not.toContain('')
  })

  test('every kind of finding has its paragraph in the operations page and at /runbook', () => {
    const page = read('docs/operations.md')
    const served = runbookPage()
    const kinds = filesOf(['services/dashboard/page'], /(findings|status)\.ts$/)
      .map(read)
      .join('')
    for (const kind of RUNBOOK_KINDS) {
      expect(page).toContain(`\n#### ${runbook[kind].title}\n`)
      expect(served).toContain(`id="${kind}"`)
      expect(runbook[kind].act).toMatch(/^[^A-Z].*[^.]$/)
    }
    // The compiler holds each finding to a kind; here each kind has a finding.
    for (const kind of RUNBOOK_KINDS) expect(kinds).toMatch(new RegExp(`\\b${kind}\\b`))
    for (const link of served.matchAll(/href="#([^"]+)"/g))
      expect(served).toContain(`id="${link[1]}"`)
  })

  describe('since when is the scheduler’s to say, not the page’s', () => {
    const began = frameOf().at - 75_000
    const seen = (of: Partial<Frame>) => {
      const frame = frameOf(of)
      const [first] = findings({ frame, now: frame.at, seenSince: () => frame.at })
      return first
    }
    const held = (
      condition: Frame['conditions'][number]['condition'],
      about: string | null = null,
    ) => ({
      conditions: [{ condition, about, since: began }],
    })
    const [lane] = frameOf().lanes
    const id = 'anthropic-a'
    test.each<[string, Partial<Frame>]>([
      ['nats_lost', { ...held('nats_lost'), bus: { kind: 'nats', connected: false } }],
      ['draining', { ...held('draining'), draining: true }],
      ['overloaded', { ...held('overloaded'), global: { ...frameOf().global, level: 1 } }],
      ['emergency', { ...held('emergency'), emergency: true }],
      ['config_refused', held('config_refused')],
      ['jobs_store_lost', { ...held('jobs_store_lost'), jobs: stillJobs() }],
      ['jobs_store_full', { ...held('jobs_store_full'), jobs: stillJobs() }],
      ['jobs_dead', { ...held('jobs_dead'), jobs: stillJobs() }],
      ['jobs_old', { ...held('jobs_old', 'batch'), jobs: stillJobs() }],
      ['budget_low', held('budget_low', 'acme/day')],
      ['budget_end', held('budget_end', 'acme/month')],
      ['fleet_lapsed', { ...held('fleet_lapsed'), fleet: stillFleet({ lapsed: true }) }],
      ['fleet_silent', { ...held('fleet_silent', 'two'), fleet: stillFleet() }],
      ['fleet_config_differs', { ...held('fleet_config_differs', 'two'), fleet: stillFleet() }],
      ['fleet_superseded', { ...held('fleet_superseded'), fleet: stillFleet() }],
      ['lane_paused', { ...held('lane_paused', 'premium'), lanes: [{ ...lane!, paused: true }] }],
      [
        'account_stopped',
        { ...held('blocked', 'anthropic'), routes: [routeOf('a', { blocked_ms: 9 })] },
      ],
      [
        'breaker',
        {
          ...held('breaker', id),
          routes: [
            routeOf('a', {
              breaker_machine: { state: 'halfOpen', since: frameOf().at, counts: [] },
            }),
          ],
        },
      ],
      ['no_answer', { ...held('no_answer', id), routes: [routeOf('a', { silent_ms: 4_000 })] }],
      [
        'quota_used_up',
        { ...held('quota_pause', 'q'), routes: [routeOf('a', { paused_ms: 900 })] },
      ],
    ])('%s', (kind, of) => expect(seen(of)).toMatchObject({ kind, since: began }))
  })

  test('budgets at an end are one matter, those near it another, the fullest named', () => {
    const ends_at = 0
    const acme = { tenant: 'acme', span: 'day', unit: 'usd', whole: 20, left: 0, ends_at } as const
    const tokens = { ...acme, unit: 'tokens', whole: 1_000, left: 150 } as const
    const told = (budgets: Frame['budgets'], conditions: [string, 'budget_end' | 'budget_low'][]) =>
      said({
        budgets,
        conditions: conditions.map(([about, condition]) => ({ condition, about, since: 0 })),
      })
    expect(
      told(
        [acme, { ...acme, tenant: '*' }, tokens],
        [
          ['acme/day', 'budget_end'],
          ['*/day', 'budget_end'],
          ['x/month', 'budget_end'],
          ['acme/day', 'budget_low'],
        ],
      ),
    ).toEqual([
      'Budgets are used up: acme (day, $20.00), tenants without a name (day, $20.00) and 1 more',
      'A budget is nearly used up: acme (day, 150 tokens of 1,000 tokens left)',
    ])
  })

  test('a fleet says what is kept for whom, and what this instance may do without a lease', () => {
    const told = (fleet: Frame['fleet'], condition: 'fleet_lapsed' | 'fleet_silent') => {
      const frame = frameOf({ fleet, conditions: [{ condition, about: 'two', since: 0 }] })
      return findings({ frame, now: frame.at, seenSince: () => 0 })[0]!
    }
    const member = { member: 'two', standing: 'silent', share: 4, heard_ms: 21_000 } as const
    const silent = told(stillFleet({ members: [stillMember(member)] }), 'fleet_silent')
    expect(silent.what).toBe('Member two is not heard for 21 s')
    expect(silent.whom).toBe('everybody: 4 of 10 slots are kept for it')
    const cut = { lapsed: true, usable: 3, trouble: 'no answer' }
    expect(told(stillFleet(cut), 'fleet_lapsed')).toMatchObject({
      what: 'The lease of this instance has run out: no answer',
      doing: expect.stringMatching(/^at most 3 calls at once/),
    })
    expect(told(stillFleet({ ...cut, usable: 0 }), 'fleet_lapsed').doing).toMatch(
      /^starting nothing/,
    )
  })

  test('a hang is told as silence, with its seconds, and the open breaker is part of it', () => {
    const frame = frameOf({
      routes: [
        routeOf('slow', {
          silent_ms: null,
          breaker_machine: { state: 'open', since: 0, counts: [] },
          failing: { cause: 'silent', part: 1, since: 0 },
        }),
      ],
      guardrails: frameOf().guardrails.map((one) => ({ ...one, met: false })),
    })
    frame.conditions = [
      { condition: 'no_answer', about: 'anthropic-slow', since: frame.at - 12_300 },
    ]
    const found = findings({ frame, now: frame.at, seenSince: () => 0 })
    expect(found.map(({ kind }) => kind).slice(0, 2)).toEqual(['no_answer', 'ratio_429'])
    expect(found[0]).toMatchObject({ what: 'No answer from slow for 12 s', level: 'bad' })
    expect(found[0]!.doing).toContain('breaker open')
  })

  test('an upstream that refuses the key is not called a spending limit', () => {
    const said = (
      reason: 'key_refused' | 'spend_limit' | 'stopped',
      status: number,
      ms: number,
    ) => {
      const frame = frameOf({
        routes: [routeOf('a', { blocked_ms: ms, blocked: { status, reason, since: 5 } })],
      })
      const [first] = findings({ frame, now: frame.at, seenSince: () => 0 })
      return first
    }
    const key = said('key_refused', 401, 12_000)
    expect(key).toMatchObject({
      what: 'Upstream anthropic refuses the key (401)',
      kind: 'key_refused',
      since: 5,
    })
    expect(key!.doing).toContain('blocked for 12 s more, then one call tests it')
    expect(said('key_refused', 401, 0)!.doing).toContain('the next call tests it')
    expect(said('spend_limit', 400, 60_000)).toMatchObject({ kind: 'spend_limit' })
    expect(said('stopped', 402, 60_000)!.what).toBe(
      'Upstream anthropic has stopped the account (402)',
    )
  })

  test('a lost NATS is everybody’s only where no HTTP door serves', () => {
    const whom = (doors: Frame['doors']): string => {
      const frame = frameOf({ bus: { kind: 'nats', connected: false }, doors })
      return findings({ frame, now: frame.at, seenSince: () => 0 })[0]!.whom
    }
    const nats = { ready: false, reasons: ['NATS is not connected'] }
    expect(whom({ nats })).toMatch(/^everybody/)
    expect(whom({ nats, http: { ready: true, reasons: [] } })).toBe(
      'programs that publish: none is heard, no answer reaches them; callers of the HTTP door are served as before',
    )
    expect(whom({ nats, http: { ready: false, reasons: ['draining'] } })).toContain(
      'not served either (draining)',
    )
  })

  test('a lowered limit is told only while somebody waits for it', () => {
    const routes = [
      routeOf('a', { limit: 75, limit_machine: { state: 'recovering', since: 0, counts: [] } }),
    ]
    expect(said({ routes })).toEqual([])
    expect(said({ routes, waiting: [waits('global', { bound: 40 })] })).toEqual([])
    expect(said({ routes, waiting: [waits('route_limit', { bound: 75 })] })).toEqual([
      'Congestion, limit lowered: a',
    ])
  })

  test('a long queue says which bound holds most of it, and what can be done about that one', () => {
    const lanes = frameOf().lanes.map((lane) => ({ ...lane, queued: 100, oldest_ms: 20_000 }))
    const frame = frameOf({
      lanes: lanes.slice(0, 2),
      waiting: [
        waits('turn', { count: 24 }),
        waits('tenant_cap', { count: 176, bound: 12, tenant: 'acme' }),
      ],
    })
    const [first] = findings({ frame, now: frame.at, seenSince: () => 0, hello: helloOf() })
    expect(first!.what).toBe(
      'Queues are long in premium and interactive: its tenant has as many calls in flight as it may (tenant acme, 12)',
    )
    expect(first!.doing).toContain('176 by tenant cap and 24 by turn')
    expect(first!.act).toMatch(/^raise tenants\.<name>\.max_inflight/)
  })

  test.each([
    ['529', 'The upstream is overloaded (529), breaker open: a'],
    ['connection', 'No connection to the upstream, breaker open: a'],
    ['500', 'The upstream fails (500), breaker open: a'],
  ])('an open breaker says what opened it: %s', (cause, what) => {
    const breaker_machine = { state: 'open', since: 0, counts: [] }
    expect(
      said({ routes: [routeOf('a', { breaker_machine, failing: { cause, part: 1, since: 0 } })] }),
    ).toEqual([what])
  })

  test('failures are told before a breaker opens', () => {
    expect(
      said({ routes: [routeOf('a', { failing: { cause: '529', part: 0.63, since: 0 } })] }),
    ).toEqual(['The upstream is overloaded (529): a, 63 % of attempts fail'])
  })

  test('refusals and timeouts are not called answers', () => {
    const rates = { ...frameOf().rates, settled: 30, completed: 4, refused: 6, failed: 20 }
    expect(calm(frameOf({ rates }))).toContain('4 answered in the last second')
    expect(calm(frameOf({ rates: { ...rates, completed: 0 } }))).not.toContain('answered')
  })
})

const waits = (
  reason: Frame['waiting'][number]['reason'],
  of: Partial<Frame['waiting'][number]> = {},
): Frame['waiting'][number] => ({
  ...{ lane: 'interactive', route: 'anthropic-a', reason, count: 5, oldest_ms: 2_000 },
  ...{ tenant: null, bound: null, until_ms: null },
  ...of,
})

test('the squares of the pool are its slots: none is drawn twice, none is missing', () => {
  const lane = fc.record({ guarantee: fc.nat(20), inflight: fc.nat(20) })
  fc.assert(
    fc.property(fc.array(lane, { minLength: 1, maxLength: 5 }), fc.nat(60), (lanes, spare) => {
      const [calm] = frameOf().lanes
      const inflight = lanes.reduce((sum, one) => sum + one.inflight, 0)
      const limit = inflight + spare
      const pool = allot({
        global: { limit, inflight, queued: 0, backoff: 0, level: 0 },
        lanes: lanes.map((one, at) => ({ ...calm!, ...one, name: `lane-${at}` })),
      })
      const used = pool.lanes.reduce((sum, one) => sum + one.own + one.borrowed, 0)
      const kept = pool.lanes.reduce((sum, one) => sum + one.kept, 0)
      expect(used).toBe(inflight)
      expect(used + kept + pool.headroom).toBe(limit)
      for (const one of pool.lanes) expect(one.own + one.kept + one.lent).toBe(one.guarantee)
    }),
  )
})
