/** The picture of `headgate top`, as text. */
import { describe, expect, test } from 'vitest'
import { HeadgateError } from '#client'
import { ceType } from '#contracts/events'
import type { Snapshot } from '#contracts/snapshot'
import { stillFleet, stillJobs, stillMember } from '../support/fed.ts'
import { snapshotFrom } from '../../services/cli/snapshot-from.ts'
import { askingMembers } from '../../services/cli/top-members.ts'
import { topMemory, type TopMemory } from '../../services/cli/top-memory.ts'
import { pageOf, waitingPage } from '../../services/cli/top-page.ts'
import { bar, clock, duration, middle, shown, spark } from '../../services/cli/top-text.ts'

const NOW = Date.parse('2026-01-01T00:10:00Z')
const INSTANCE = '3f9a2b1c4d5e'

const bucket = (level: number, burst = 10_000) => ({
  limit_per_minute: 40_000,
  rate_per_minute: 38_000,
  level,
  burst,
})

/** Every text as long as it gets. */
const route: Snapshot['routes'][number] = {
  id: 'default-claude-haiku-4-5-20251001',
  model: 'claude-haiku-4-5-20251001',
  upstream: 'default',
  limit: 120,
  limit_state: 'recovering',
  breaker: 'half_open',
  breaker_cap: 12,
  inflight: 120,
  queued: 20_000,
  paused_ms: 59_999,
  blocked_ms: 899_999,
  blocked: { status: 402, reason: 'spend_limit', since: 0 },
  silent_ms: null,
  overdue: null,
  inflight_by_lane: {},
  quota: 'family',
  buckets: { requests: bucket(4, 5), input_tokens: bucket(9_000), output_tokens: bucket(-9_940) },
  reserve: 20,
  peak: 120,
}

const lane: Snapshot['lanes'][number] = {
  name: 'premium',
  weight: 10,
  preemptible: false,
  paused: false,
  guarantee: 12,
  cap: 128,
  inflight: 64,
  queued: 20_000,
  oldest_ms: 7_400,
}

const snapshot = (of: Partial<Snapshot> = {}): Snapshot => ({
  instance: INSTANCE,
  version: '0.1.0',
  at: '2026-01-01T00:00:00Z',
  uptime_ms: 12_345_000,
  draining: false,
  emergency: false,
  config_refused: false,
  bus: { kind: 'nats', connected: true },
  global: { limit: 128, inflight: 120, queued: 20_000, backoff: 100, level: 3 },
  lanes: [lane, { ...lane, name: 'batch', paused: true, oldest_ms: null }],
  routes: [route, { ...route, id: 'default-claude-opus-4-5', breaker: 'open' }],
  tenants: [{ tenant: 'acme', inflight: 60, queued: 4 }],
  requests_by_state: {},
  waiting: [],
  conditions: [],
  jobs: null,
  fleet: null,
  budgets: [],
  doors: { nats: { ready: true, reasons: [] } },
  guardrails: [
    { name: 'ratio_429', value: 0.034, bound: 0.02, met: false },
    { name: 'p95_e2e_ms', value: 4_100, bound: 8_000, met: true },
    { name: 'retry_amplification', value: null, bound: 1.3, met: true },
  ],
  held: { requests: 0, slots: 0, probes: 0, timers: 0, replies: 0 },
  ...of,
})

const drawn = (of: Partial<Parameters<typeof pageOf>[0]> = {}): string[] =>
  pageOf({
    snapshot: snapshot(),
    memory: topMemory(),
    now: NOW,
    columns: 79,
    rows: 100,
    paint: (_tone, text) => text,
    live: true,
    ...of,
  })

const event = (name: 'breaker' | 'limit', data: object, instance = INSTANCE) => ({
  type: ceType(name),
  time: '2026-01-01T00:09:05Z',
  source: `/headgate/${instance}`,
  text: () => JSON.stringify(data),
})

/** A minute in which the queue grew, the limit fell and the breaker opened. */
function bad(): TopMemory {
  const memory = topMemory()
  for (let second = 0; second < 60; second++)
    memory.note(
      snapshot({ lanes: [{ ...lane, inflight: second, queued: second * 10 }] }),
      NOW - 60_000 + second * 1_000,
    )
  const moved = { route: route.id, state: 'held', inflight: 9, reason: 'throttle_share' }
  memory.hear(event('limit', { ...moved, from: 120, limit: 90 }))
  memory.hear(event('limit', { ...moved, from: 90, limit: 64 }))
  const opened = { route: route.id, from: 'closed', state: 'open', open_ms: 5_000 }
  memory.hear(event('breaker', { ...opened, reason: 'failure_rate' }))
  return memory
}

const lineOf = (lines: readonly string[], words: string | RegExp): string =>
  lines.find((line) => (typeof words === 'string' ? line.includes(words) : words.test(line))) ?? ''

describe.each([79, 119])('headgate top, %i columns drawn', (columns) => {
  const lines = drawn({ columns, memory: bad() })
  const page = lines.join('\n')

  test('no line is longer than that', () => {
    expect(lines.filter((line) => line.length > columns)).toEqual([])
  })

  test('says in words what is wrong', () => {
    for (const words of ['GUARDRAILS MISSED: 429 ratio', 'level 3: arrivals are shed'])
      expect(page).toContain(words)
    expect(page).toMatch(/emergency off\s+not draining/)
    const worse = drawn({ columns, snapshot: snapshot({ emergency: true, draining: true }) })
    expect(worse.join('\n')).toContain('EMERGENCY BLOCK ON')
    expect(worse.join('\n')).toContain('DRAINING')
  })

  test('draws each guardrail with its value, its bound and what holds', () => {
    expect(lineOf(lines, /^429 ratio/)).toMatch(/█+ +3\.4% of 2% +MISSED for 60 s or more/)
    expect(lineOf(lines, /^P95 end to end/)).toMatch(/█+░+ +4\.1 s of 8 s +met/)
    expect(lineOf(lines, /^retries/)).toMatch(/░+ +- of x 1\.3 +no sample/)
  })

  test('draws each route, the one in most trouble first', () => {
    const [first, second] = [lineOf(lines, 'opus-4-5 '), lineOf(lines, /20251001 +█/)]
    expect(first).toMatch(/█+ 120 of 120 +recovering OPEN +20,000 +otpm -99%/)
    expect(second).toMatch(/half open/)
    expect(lines.indexOf(first)).toBeLessThan(lines.indexOf(second))
    expect(page).toMatch(/blocked for 15 min more, paused for 60 s more, breaker permits 12/)
  })

  test('draws each lane, with what it did lately', () => {
    const premium = lineOf(lines, /^premium/)
    expect(premium).toMatch(/^premium +64 of 128 +▁?[▂▃▄▅]+ +(12 +)?20,000 +▁?[▂▃▄▅▆▇]*█+ +7\.4 s/)
    expect(lineOf(lines, /^batch/)).toMatch(/- PAUSED$/)
  })

  test('lists tenants, and transitions with their reasons', () => {
    expect(lineOf(lines, /^acme/)).toMatch(/^acme +60 █+░+ +4$/)
    expect(page).toMatch(/breaker +\S+ +closed -> OPEN +failure rate/)
    expect(page).toMatch(/limit x2 +\S+ +120 -> 64 +throttle share/)
  })
})

describe('headgate top', () => {
  test('says what holds, since when it does, and what can be done', () => {
    const condition = (name: string, about: string | null, s: number) => ({
      condition: name as Snapshot['conditions'][number]['condition'],
      about,
      since: NOW - s * 1_000,
    })
    const seen = snapshot({
      doors: { nats: { ready: false, reasons: [] }, http: { ready: true, reasons: [] } },
      routes: [{ ...route, blocked: { status: 401, reason: 'key_refused', since: 0 } }],
      conditions: [
        condition('nats_lost', null, 30),
        condition('blocked', 'default', 75),
        condition('no_answer', route.id, 12),
        condition('lane_paused', 'batch', 75),
        condition('guardrail', 'ratio_429', 65),
        condition('waiting', 'premium/tenant_cap', 9),
      ],
      waiting: [
        {
          ...{ lane: 'premium', route: route.id, reason: 'tenant_cap', count: 180 },
          ...{ oldest_ms: 7_400, tenant: 'acme', bound: 12, until_ms: null },
        },
      ],
    })
    const page = drawn({ snapshot: seen, columns: 119 }).join('\n')
    expect(page).toMatch(
      /NATS IS AWAY \(callers of the HTTP door are served\) for 30 s: see whether/,
    )
    expect(page).toMatch(/UPSTREAM default REFUSES THE KEY \(401\) for 75 s: put a key/)
    expect(page).toMatch(/NO ANSWER from default-claude-haiku-4-5-20251001 for 12 s/)
    expect(page).toMatch(/lane batch paused for 75 s: resume it/)
    // What to do is not cut off: the line goes on beneath.
    expect(page).toMatch(/REFUSES THE KEY.*\n {2}.*tests at once/)
    expect(page).toMatch(/MISSED for 65 s(?! or more)/)
    expect(page).toMatch(
      /180 wait: its tenant has as many calls in flight as it may \(12\) \[tenant acme\]/,
    )
    for (const columns of [20, 79]) {
      const lines = drawn({ snapshot: seen, columns, rows: 24 })
      expect(lines.filter((line) => line.length > columns)).toEqual([])
    }
  })

  describe('durable jobs', () => {
    const HOUR = 3_600_000
    const held = stillJobs({
      stored: 1_240,
      oldest_ms: 7 * HOUR,
      states: { delayed: 10, stored: 1_216, waiting: 4, calling: 7, settling: 0, elsewhere: 3 },
      lanes: [
        { lane: 'premium', stored: 0, oldest_ms: null, expected_ms: HOUR },
        { lane: 'interactive', stored: 6, oldest_ms: 2_000, expected_ms: HOUR },
        { lane: 'batch', stored: 1_234, oldest_ms: 7 * HOUR, expected_ms: 6 * HOUR },
      ],
      counts: { ...stillJobs().counts, taken_over: 3, returned: 2, ambiguous: 1 },
      dead: { kept: 5, last_at: 0 },
    })
    const page = (jobs: Snapshot['jobs'], more = {}): string =>
      drawn({ snapshot: snapshot({ jobs }), columns: 119, ...more }).join('\n')

    test('are told by where they stand, by lane, and by what went wrong', () => {
      const said = page({
        ...held,
        store: { ...held.store, bytes: 2_000_000, bytes_max: 8_000_000 },
      })
      expect(said).toMatch(
        /^JOBS {2}1,240 not ended {2}oldest 7 h {2}untaken 1,216 {2}waiting 4 {2}calling 7 {2}elsewhere 3 {2}delayed 10$/m,
      )
      expect(said).toMatch(/^batch 1,234, oldest 7 h OVER 6 h {2}interactive 6, oldest 2 s$/m)
      expect(said).toMatch(
        /^taken over 3 {2}returned 2 {2}may have run twice 1 {2}dead letters 5 {2}store 2 of 8 MB$/m,
      )
    })

    test('that nobody keeps are not spoken of', () => {
      expect(page(null)).not.toMatch(/JOBS/)
      expect(page(stillJobs())).toMatch(/^JOBS {2}0 not ended$/m)
    })

    test('of a store that is away or full say so', () => {
      const { store } = held
      const conditions = (['jobs_store_lost', 'jobs_store_full', 'jobs_dead'] as const).map(
        (condition) => ({ condition, about: null, since: NOW - 30_000 }),
      )
      const old = { condition: 'jobs_old' as const, about: 'batch', since: NOW - 30_000 }
      const jobs = { ...held, store: { ...store, reachable: false, full: true } }
      const said = drawn({
        snapshot: snapshot({ jobs, conditions: [...conditions, old] }),
        columns: 119,
      }).join('\n')
      expect(said).toMatch(/STORE AWAY {2}STORE FULL/)
      expect(said).toMatch(/THE STORE OF DURABLE JOBS DOES NOT ANSWER for 30 s: see whether/)
      expect(said).toMatch(/THE STORE OF DURABLE JOBS IS FULL for 30 s: give it room/)
      expect(said).toMatch(/dead letters grow \(5 kept\) for 30 s: see the reasons/)
      expect(said).toMatch(/oldest job of batch is 7 h old for 30 s: see what holds/)
    })

    test.each([16, 40, 79])('fit into %i columns, and in few rows are one line', (columns) => {
      const lines = drawn({ snapshot: snapshot({ jobs: held }), columns, rows: 12 })
      expect(lines.length).toBeLessThanOrEqual(12)
      expect(lines.filter((line) => line.length > columns)).toEqual([])
      expect(page(held, { rows: 12 })).not.toContain('may have run twice')
    })
  })

  test('budgets at an end are one line', () => {
    const conditions = ['acme/day', 'globex/month'].map((about) => ({
      ...{ condition: 'budget_end' as const, about, since: NOW - 90_000 },
    }))
    const low = { condition: 'budget_low' as const, about: 'x/day', since: NOW - 90_000 }
    const said = drawn({ snapshot: snapshot({ conditions: [...conditions, low] }), columns: 119 })
    const budgets = said.filter((line) => line.includes('budget of'))
    expect(budgets).toHaveLength(2)
    expect(budgets[0]).toMatch(
      /^ *budget of acme\/day and 1 more used up for 90 s: nothing if that/,
    )
    expect(budgets[1]).toMatch(/budget of x\/day nearly used up for 90 s: tell its owner/)
  })

  test('a fleet out of step is told with what is kept, and for whom', () => {
    const two = { member: 'two', standing: 'safe', share: 3, heard_ms: 90_000 } as const
    const fleet = stillFleet({
      ...{ lapsed: true, usable: 6, name_taken: 'one' },
      members: [stillMember({ own: true }), stillMember({ ...two, config_differs: true })],
    })
    const since = NOW - 90_000
    const conditions = [
      { condition: 'fleet_lapsed', about: null, since },
      { condition: 'fleet_silent', about: 'two', since },
      { condition: 'fleet_config_differs', about: 'two', since },
      { condition: 'fleet_superseded', about: null, since },
    ] as const
    const said = drawn({
      snapshot: snapshot({ fleet, conditions: [...conditions] }),
      columns: 119,
    }).join('\n')
    expect(said).toMatch(/THE LEASE OF THIS INSTANCE HAS RUN OUT \(it may use 6 slots\) for 90 s/)
    expect(said).toMatch(/member two is not heard \(3 slots are kept for it\) for 90 s/)
    expect(said).toMatch(/configuration of two differs for 90 s: bring the same file/)
    expect(said).toMatch(/another process has the name one for 90 s: give each/)
  })

  test('a fleet is told whole: who waits where, whose breaker is open, who is not heard since when', async () => {
    let now = 0
    const fleet = stillFleet({
      ...{ whole: 20, usable: 10 },
      members: [
        stillMember({ own: true, instance: INSTANCE }),
        stillMember({ member: 'two', instance: 'i-two', inflight: 1 }),
      ],
    })
    const own = snapshot({ fleet, lanes: [{ ...lane, queued: 3 }], routes: [] })
    const other: Snapshot = {
      ...snapshot({ fleet: { ...fleet, member: 'two' }, routes: [{ ...route, breaker: 'open' }] }),
      ...{ instance: 'i-two', lanes: [{ ...lane, queued: 40 }] },
      global: { limit: 20, inflight: 5, queued: 40, backoff: 0, level: 0 },
    }
    const asked: object[] = []
    const answers: (Snapshot | null)[] = [other]
    const ask = askingMembers({
      clock: { now: () => now, wall: () => NOW + now },
      within: (_, promise) => promise,
      headgate: {
        async admin(_, body = {}) {
          asked.push(body)
          const answer = answers.shift() ?? null
          if (answer === null) throw new HeadgateError({ code: 'unreachable', message: 'nobody' })
          return answer
        },
      },
    })
    const said = async () =>
      drawn({ snapshot: own, whole: await ask(own), columns: 300 }).join('\n')
    const both = await said()
    expect(asked).toEqual([{ instance: 'i-two' }])
    expect(both).toContain('two 5 of 10, 40 wait')
    expect(both).toContain('together: 125 in flight, 20,040 wait')
    expect(both).toContain('lane premium: 43 wait (two 40, one 3)')
    expect(both).toMatch(/haiku-4-5-20251001: breaker OPEN on two/)
    now = 5_000
    const one = await said()
    expect(one).toContain(`two 1 of 10, NOT HEARD since ${clock(NOW)} (then 40 wait)`)
    expect(one).toContain('the 1 that answer: 120 in flight')
    expect(one).not.toContain('OPEN on two')
    const left = { ...own, fleet: stillFleet({ members: fleet.members.slice(0, 1) }) }
    const after = drawn({ snapshot: left, whole: await ask(left), columns: 300 }).join('\n')
    expect(after).toContain(`1 member has 10 slots`)
    expect(after).toContain(`two: no member now, NOT HEARD since ${clock(NOW)}`)
    // Another one is followed, since the first says nothing any more.
    now = 9_000
    const next = { ...other, fleet: stillFleet({ members: fleet.members.slice(1) }) }
    const followed = drawn({ snapshot: next, whole: await ask(next), columns: 300 }).join('\n')
    expect(followed).toContain(`one: no member now, NOT HEARD since ${clock(NOW + 5_000)}`)
  })

  test('a snapshot of another version is told as that, not as a list of what is wrong in it', () => {
    expect(snapshotFrom(snapshot())).toEqual(snapshot())
    const { conditions: _, ...older } = snapshot({ version: '0.0.9' })
    expect(() => snapshotFrom(older)).toThrow(
      /^the instance that answered is version 0\.0\.9, and this headgate is .*\(at conditions\); use/,
    )
    for (const odd of [null, 7, 'text', [], {}])
      expect(() => snapshotFrom(odd)).toThrow(/no Headgate we know/)
  })

  test('a name too long keeps its beginning and its end', () => {
    expect(middle('default-claude-haiku-4-5-20251001', 20)).toBe('default…4-5-20251001')
    expect(middle('default-claude-haiku-4-5-20251001', 20)).toHaveLength(20)
    expect([middle('short', 20), middle('ab', 1), middle('abcdef', 2)]).toEqual([
      'short',
      '…',
      '…f',
    ])
  })

  test.each([12, 23, 40])('keeps within %i lines, and the worst in sight', (rows) => {
    const routes = Array.from({ length: 50 }, (_, at) => ({
      ...route,
      id: `default-model-${at}`,
      breaker: at === 49 ? 'open' : 'closed',
      paused_ms: 0,
      blocked_ms: 0,
      blocked: null,
      silent_ms: null,
      overdue: null,
      breaker_cap: null,
    }))
    const lines = drawn({ rows, memory: bad(), snapshot: snapshot({ routes }) })
    expect(lines.length).toBeLessThanOrEqual(rows)
    expect(lineOf(lines, 'model-49')).toContain('OPEN')
    expect(lines.join('\n')).toMatch(/and \d\d routes more/)
  })

  test.each([1, 20, 39, 59, 70])(
    'a terminal of %i columns is a small one, and no line too long',
    (columns) => {
      const lines = drawn({ columns, memory: bad(), rows: 30 })
      expect(lines.filter((line) => line.length > Math.max(16, columns))).toEqual([])
      if (columns > 50) expect(lines.join('\n')).toMatch(/120 of 120 +OPEN +20,000/)
    },
  )

  test('says of each route what is scarcest, and nothing where no limit is known', () => {
    const said = (buckets: typeof route.buckets): string =>
      lineOf(drawn({ snapshot: snapshot({ routes: [{ ...route, buckets }] }) }), /20251001 +█/)
    expect(said({ ...route.buckets, output_tokens: null })).toContain('rpm 80%')
    expect(said({ ...route.buckets, requests: null, output_tokens: null })).toContain('itpm 90%')
    const none = { requests: null, input_tokens: null, output_tokens: null }
    expect(said(none)).not.toMatch(/rpm|tpm|%/)
  })

  test('says that the scheduler is gone, beside the last that was seen and before it', () => {
    const trouble = 'NO ANSWER FROM THE SCHEDULER for 7 s (nobody took the request); asking again'
    expect(drawn({ trouble, columns: 119 })[1]).toContain(trouble)
    const waiting = waitingPage({ trouble, columns: 79, paint: (_tone, text) => text })
    expect(waiting.join('\n')).toMatch(/NO ANSWER FROM THE SCHEDULER for 7 s/)
    expect(waiting.filter((line) => line.length > 79)).toEqual([])
  })

  test('hostile names neither speak to the terminal nor move the columns', () => {
    const evil = [
      '\u001b]0;owned\u0007\u001b[2J\u001b[31mred',
      'two\nlines\r\tand\u0008\u007f\u009b31m',
      '宽宽宽宽',
      'z\u0301\u0302\u0303\u0304\u200d\u200b',
      '\u202egnp.exe\u2066',
      '👩‍👩‍👧‍👦\ud800',
      'x'.repeat(5_000),
    ]
    const tenants = evil.map((tenant) => ({ tenant, inflight: 7, queued: 3 }))
    const lanes = evil.map((name) => ({ ...lane, name }))
    const routes = evil.map((id) => ({ ...route, id, limit_state: id, breaker: id }))
    const guardrails = evil.map((name) => ({ name, value: 1, bound: 2, met: false }))
    const of = { tenants, lanes, routes, guardrails, instance: evil[0] ?? '' }
    for (const columns of [79, 119]) {
      const lines = drawn({ columns, snapshot: snapshot(of), rows: 500 })
      expect(lines.join('\n')).not.toMatch(/[^\n\x20-\x7e…█░▁▂▃▄▅▆▇]/)
      expect(lines.filter((line) => line.length > columns)).toEqual([])
      const ends = lines.filter((line) => /^\S.* 7 █+░* +3$/.test(line)).map((line) => line.length)
      expect(ends).toHaveLength(evil.length)
      expect(new Set(ends).size).toBe(1)
    }
    expect(shown('a\u001b[2Jb')).toBe('a?[2Jb')
  })

  test('follows one instance: another is another picture, and its events are not ours', () => {
    const memory = bad()
    memory.hear(event('breaker', { route: 'r', from: 'closed', state: 'open' }, 'ffff'))
    expect(memory.moves()).toHaveLength(2)
    memory.note(snapshot({ instance: 'ffff' }), NOW)
    expect(memory.moves()[0]).toMatchObject({ what: 'instance', from: INSTANCE, to: 'ffff' })
    expect(memory.lane('premium').queued).toEqual([20_000])
  })

  test('a second without an answer is a gap, and an event that cannot be read is none', () => {
    const memory = topMemory()
    memory.note(snapshot(), NOW)
    memory.note(null, NOW + 1_000)
    expect(memory.lane('premium').queued).toEqual([20_000, null])
    for (const text of ['', '{', 'null', '{"route":7}'])
      memory.hear({ ...event('breaker', {}), text: () => text })
    expect(memory.moves()).toEqual([])
  })

  test('colour repeats what the words say: without it the text is the same', () => {
    const coloured = drawn({ memory: bad(), paint: (tone, text) => `<${tone}>${text}</>` })
    expect(coloured.join('\n').replace(/<\w+>|<\/>/g, '')).toBe(drawn({ memory: bad() }).join('\n'))
  })

  test('bars, sparklines and durations', () => {
    expect([bar(0, 4), bar(0.001, 4), bar(1, 4), bar(7, 4), bar(NaN, 4)]).toEqual([
      '░░░░',
      '█░░░',
      '████',
      '████',
      '░░░░',
    ])
    expect(spark([0, 1, null, 5, 10], 6, 10)).toBe(' ▁▂ ▅█')
    expect([840, 2_400, 48_000, 180_000, 7_500_000].map(duration)).toEqual([
      '840 ms',
      '2.4 s',
      '48 s',
      '3 min',
      '2 h 5 min',
    ])
  })
})
