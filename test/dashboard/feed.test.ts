/** The feed over a real loop: what a page sees is what the machines do. */
import { describe, expect, test } from 'vitest'
import { charts } from '#contracts/generated/charts'
import {
  frame as frameShape,
  hello as helloShape,
  history,
  life,
  requestsPage,
} from '#contracts/dashboard'
import type { Frame } from '#contracts/dashboard'
import { breakerMachine } from '#machines/breaker'
import { compile } from '#machines/compile'
import { limitMachine } from '#machines/concurrency-limit'
import { lifecycleMachine } from '#machines/request-lifecycle'
import { event } from '../scheduler/observability/events.ts'
import { JOB_MOVES_MAX } from '../../services/dashboard/tallies.ts'
import { fed, fedByLoop, stillJobs, stillRoute, stillSnapshot } from '../support/fed.ts'
import type { Act } from '../support/scripted-provider.ts'

const good: Act = { events: ['{}'], endMs: 200, end: { kind: 'ok', status: 200 } }
const storm: Act = { end: { kind: 'overloaded', status: 529, errorType: 'overloaded_error' } }

const edgesOf = (name: string) => charts.find((one) => one.name === name)!.edges
/** Moves into and out of each state, by the counts of a chart's edges. */
function flows(name: string, counts: readonly number[], of: string): { in: number; out: number } {
  const moves = edgesOf(name).map((edge, i) => ({ ...edge, count: counts[i] ?? 0 }))
  const sum = (fits: (edge: (typeof moves)[number]) => boolean): number =>
    moves.filter((edge) => edge.moves && fits(edge)).reduce((all, { count }) => all + count, 0)
  return { in: sum(({ to }) => to === of), out: sum(({ from }) => from === of) }
}

describe('charts', () => {
  test('have their edges in the order in which tables count them', () => {
    const machines = { breaker: breakerMachine, limit: limitMachine, lifecycle: lifecycleMachine }
    for (const chart of charts) {
      const machine = machines[chart.name]
      expect(chart.edges.map(({ id }) => id)).toEqual(compile(machine as never).edges)
      for (const { id } of [...chart.states, ...chart.edges])
        expect(chart.svg).toContain(`data-id="${id}"`)
      expect(chart.svg).not.toContain('<style')
    }
  })
})

describe('over a storm', () => {
  test('every frame shows the state the machines are in, and edges add up to it', async () => {
    let sick = false
    const { world, page, feed } = fedByLoop({ script: () => (sick ? storm : good) })
    const seen = new Set<string>()
    let made = 0
    const traffic = async (seconds: number): Promise<void> => {
      for (let s = 0; s < seconds; s++) {
        for (let i = 0; i < 10; i++) {
          world.request({ tenant: `t${made++ % 7}`, deadlineMs: 60_000 })
          await world.pass(100)
        }
        const [view] = world.loop.machines().values()
        const [route] = page.frames().at(-1)?.routes ?? []
        if (view === undefined || route === undefined) continue
        seen.add(view.breaker.state)
        check(route)
      }
    }
    const check = (route: Frame['routes'][number]): void => {
      const { state, counts, since } = route.breaker_machine
      for (const { name } of charts.find((one) => one.name === 'breaker')!.states) {
        const flow = flows('breaker', counts, name)
        const here = (name === 'closed' ? 1 : 0) + flow.in - flow.out
        expect(here, name).toBe(name === state ? 1 : 0)
      }
      expect(since).toBeGreaterThan(world.clock.wall() - world.clock.now() - 1)
      expect(since).toBeLessThanOrEqual(world.clock.wall())
    }
    await traffic(3)
    sick = true
    await traffic(10)
    sick = false
    await traffic(90)
    expect([...seen]).toEqual(expect.arrayContaining(['closed', 'open']))
    const frames = page.frames()
    for (const one of frames) frameShape.parse(one)
    const moved = frames.at(-1)!.transitions.filter(({ machine }) => machine === 'breaker')
    const told = moved.map(({ from, to, reason }) => `${from} ${to} ${reason}`)
    expect(told).toContain('closed open error_rate')
    expect(told).toContain('half_open ramp probes_succeeded')
    expect(told.at(-1)).toBe('ramp closed ramp_passed')
    const id = frames.at(-1)!.routes[0]!.id
    const kept = history.parse(JSON.parse(feed.history({ route: id }).body))
    expect(kept.t.length).toBe(kept.route!.band.length)
    expect([...new Set(kept.route!.band)]).toEqual(expect.arrayContaining([0, 3]))
    expect(Math.max(...kept.route!.http_529.map(Number))).toBeGreaterThan(0)
    expect(world.bugs).toEqual([])
  })

  test('requests per state and flow per edge are those of the loop', async () => {
    const { world, page, feed } = fedByLoop({
      file: { llm_gateway: { max_inflight_global: 1 } },
      script: () => ({ ...good, events: ['{}'], gapMs: 100, endMs: 5_000 }),
    })
    for (let i = 0; i < 5; i++) world.request({ tenant: 'a' })
    await world.pass(2_000)
    const now = page.frames().at(-1)!
    expect(now.lifecycle.states).toMatchObject(world.loop.requestsByState())
    expect(now.lifecycle.states).toMatchObject({ forwarding: 1, queued: 4 })
    const { counts } = now.lifecycle
    expect(flows('lifecycle', counts, 'running')).toEqual({ in: 1, out: 1 })
    expect(page.frames()[0]!.lifecycle.flow.reduce((a, b) => a + b)).toBe(2)
    expect(now.lifecycle.flow.reduce((a, b) => a + b)).toBe(0)

    const listed = requestsPage.parse(
      JSON.parse(feed.requests({ state: 'queued', limit: '3' }).body),
    )
    expect(listed.matching).toBe(4)
    expect(listed.rows.map(({ state }) => state)).toEqual(['queued', 'queued', 'queued'])
    expect(feed.requests({ state: 'asleep' }).status).toBe(400)
    const none = JSON.parse(feed.requests({ route: 'other' }).body)
    expect(none).toEqual({ matching: 0, rows: [] })
  })

  test('a request that was retried can be seen from queue to end', async () => {
    const { world, feed } = fedByLoop({ script: (index) => (index === 0 ? storm : good) })
    const id = world.request({ tenant: 'a' })
    await world.pass(60_000)
    const told = life.parse(JSON.parse(feed.request('a', id).body))
    expect(told.spans.map(({ kind }) => kind)).toEqual([
      'queued',
      'attempt',
      'backoff',
      'queued',
      'attempt',
      'streaming',
      'settled',
    ])
    expect(told.spans[1]).toMatchObject({ verdict: 'overloaded', status: 529, attempt: 1 })
    expect(told).toMatchObject({ state: 'settled', outcome: 'completed', cut: false })
    for (const one of told.spans) expect(one.to_ms).toBeGreaterThanOrEqual(one.from_ms)
    expect(feed.request('a', 'nobody').status).toBe(404)
  })
})

describe('hello and frames', () => {
  test('hello says what a page needs before its first frame', () => {
    const { page } = fed({ admin: 'token', faults: () => [] })
    const said = helloShape.parse(page.hello())
    expect(said).toMatchObject({ admin: 'token', simulated: true, instance: 'one' })
    expect(said.charts.map(({ name }) => name).sort()).toEqual(['breaker', 'lifecycle', 'limit'])
  })

  test('a page that joins late gets hello and the last frame at once', () => {
    const { feed, clock, page } = fed()
    clock.advance(3_000)
    feed.disconnect(page)
    const late = new (page.constructor as new () => typeof page)()
    feed.connect(late)
    expect(late.messages().map(({ name }) => name)).toEqual(['hello', 'frame'])
    expect(late.frames()[0]!.seq).toBe(3)
  })

  test('after the end no timer is left and pages are let go', () => {
    const { feed, clock, page } = fed()
    feed.close()
    expect(clock.pending()).toBe(0)
    expect(page.ended).toBe(true)
  })
})

describe('every event moves what it should', () => {
  const after = (...events: ReturnType<typeof event>[]): Frame => {
    const { feed, clock, page } = fed({
      snapshot: () =>
        stillSnapshot({
          lanes: [
            {
              name: 'interactive',
              weight: 1,
              preemptible: false,
              paused: false,
              guarantee: 1,
              cap: 1,
              inflight: 0,
              queued: 0,
              oldest_ms: null,
            },
          ],
        }),
    })
    for (const one of events) feed.record(one)
    clock.advance(1_000)
    return frameShape.parse(page.frames().at(-1))
  }
  const none = after()

  test('request.queued is accepted', () => {
    expect(after(event('request.queued')).rates).toEqual({ ...none.rates, accepted: 1 })
  })

  test('request.dispatched tells the wait of its lane, of a first start only', () => {
    const [lane] = after(event('request.dispatched', { queue_ms: 400 })).lanes
    expect(lane!.wait_p50_ms).toBeGreaterThan(350)
    expect(lane!.wait_p95_ms).toBeLessThan(450)
    expect(after(event('request.dispatched', { attempt: 2 })).lanes[0]!.wait_p50_ms).toBe(null)
  })

  test('request.retrying is a retry', () => {
    expect(after(event('request.retrying')).rates).toEqual({ ...none.rates, retries: 1 })
  })

  test('request.settled is settled, and refused if it was', () => {
    expect(after(event('request.settled')).rates).toEqual({
      ...none.rates,
      settled: 1,
      completed: 1,
    })
    for (const outcome of ['failed', 'expired'] as const)
      expect(after(event('request.settled', { outcome })).rates).toEqual({
        ...none.rates,
        settled: 1,
        failed: 1,
      })
    const refused = after(event('request.settled', { outcome: 'refused', code: 'queue_full' }))
    expect(refused.rates).toEqual({ ...none.rates, settled: 1, refused: 1 })
  })

  test('request.preempted is listed and counted', () => {
    const { rates, preemptions } = after(event('request.preempted'))
    expect(rates).toEqual({ ...none.rates, preempted: 1 })
    expect(preemptions).toMatchObject([{ seq: 1, tenant: 'acme', lane: 'batch', wasted_ms: 800 }])
  })

  test('attempt.ended counts its status, and whose the 429s are', () => {
    const ends = after(
      event('attempt.ended', { status: 429, tenant: 'greedy' }),
      event('attempt.ended', { status: 429, tenant: 'greedy' }),
      event('attempt.ended', { status: 429, tenant: 'modest' }),
      event('attempt.ended', { status: 529 }),
      event('attempt.ended'),
    )
    expect(ends.rates).toEqual({ ...none.rates, attempts: 5, http_429: 3, http_529: 1 })
    expect(ends.concentration_429.tenants).toEqual([
      { name: 'greedy', part: 0.667, of_calls: 0.4, concentrated: false },
      { name: 'modest', part: 0.333, of_calls: 0.2, concentrated: false },
    ])
    expect(ends.concentration_429.routes).toEqual([
      { name: 'default-claude-a', part: 1, of_calls: 1, concentrated: false },
    ])
  })

  test.each([
    ['429 for every call, whoever makes most of them', [90, 90], [10, 10], []],
    ['the only tenant there is', [50, 50], [0, 0], []],
    ['all of the 429s with seven tenths of the calls', [70, 40], [30, 0], ['busy']],
    ['a few calls and nearly all of the 429s', [900, 4], [100, 60], ['other']],
    ['a little above its part', [60, 36], [40, 18], []],
    ['two by chance', [60, 2], [40, 0], []],
  ])('429s are concentrated by rates, not by counts: %s', (_case, busy, other, expected) => {
    const calls = (tenant: string, [all = 0, refused = 0]: number[]) =>
      Array.from({ length: all }, (_, at) =>
        event('attempt.ended', { tenant, status: at < refused ? 429 : 200 }),
      )
    const { tenants } = after(...calls('busy', busy), ...calls('other', other)).concentration_429
    expect(tenants.filter((one) => one.concentrated).map(({ name }) => name)).toEqual(expected)
  })

  test('what attempts of a route fail with is named while they do, with when that began', () => {
    const { feed, clock, page } = fed({
      snapshot: () => stillSnapshot({ routes: [stillRoute('default-claude-a')] }),
    })
    const end = (count: number, of: Parameters<typeof event>[1]): void => {
      for (let at = 0; at < count; at++) feed.record(event('attempt.ended', of as never))
    }
    const now = () => page.frames().at(-1)!.routes[0]!.failing
    end(40, {})
    end(3, { verdict: 'overloaded', status: 529 })
    clock.advance(1_000)
    expect(now()).toBe(null)
    end(20, { verdict: 'overloaded', status: 529 })
    end(5, { verdict: 'hang', status: null })
    clock.advance(1_000)
    const since = clock.wall()
    expect(now()).toMatchObject({ cause: '529', since })
    end(2, { verdict: 'overloaded', status: 529 })
    clock.advance(2_000)
    expect(now()).toMatchObject({ since })
    end(200, {})
    clock.advance(1_000)
    expect(now()).toBe(null)
  })

  test('a key is refused by one 401', () => {
    const { feed, clock, page } = fed({
      snapshot: () => stillSnapshot({ routes: [stillRoute('default-claude-a')] }),
    })
    feed.record(event('attempt.ended', { verdict: 'rejected', status: 401 }))
    clock.advance(1_000)
    expect(page.frames().at(-1)!.routes[0]!.failing).toMatchObject({ cause: '401' })
    feed.record(event('attempt.ended', { verdict: 'rejected', status: 400 }))
    clock.advance(30_000)
    expect(page.frames().at(-1)!.routes[0]!.failing).toBe(null)
  })

  test('breaker and limit are transitions, with their reasons', () => {
    const { transitions } = after(
      event('breaker', { from: 'closed', state: 'open', reason: 'error_rate' }),
      event('limit', { from: 12, limit: 6, reason: 'upstream_overloaded' }),
    )
    expect(transitions).toMatchObject([
      { seq: 1, machine: 'breaker', from: 'closed', to: 'open', reason: 'error_rate' },
      { seq: 2, machine: 'limit', from: '12', to: '6', reason: 'upstream_overloaded' },
    ])
  })

  test('however often the limit moves, what the breaker did is remembered', () => {
    const { transitions } = after(
      event('breaker', { from: 'closed', state: 'open', reason: 'error_rate' }),
      ...Array.from({ length: 200 }, (_, at) =>
        event('limit', { from: at, limit: at + 1, reason: 'success' }),
      ),
    )
    expect(transitions[0]).toMatchObject({ seq: 1, machine: 'breaker', reason: 'error_rate' })
    expect(transitions.slice(1).map(({ seq }) => seq)).toEqual(
      Array.from({ length: 50 }, (_, at) => 152 + at),
    )
  })

  test('alarm is listed', () => {
    const { alarms } = after(event('alarm', { name: 'abort_unconfirmed' }))
    expect(alarms).toMatchObject([{ seq: 1, name: 'abort_unconfirmed' }])
  })

  test('guardrail is a breach with its culprits, until it is met again', () => {
    let met = true
    const { feed, clock, page } = fed({
      snapshot: () =>
        stillSnapshot({ guardrails: [{ name: 'ratio_429', value: 0.2, bound: 0.05, met }] }),
    })
    clock.advance(5_000)
    const before = page.frames().at(-1)!
    expect(before.guardrails[0]).toMatchObject({ met: true, since: page.hello().started_at })
    met = false
    for (let call = 0; call < 20; call++) {
      feed.record(event('attempt.ended', { status: 429, tenant: 'greedy' }))
      feed.record(event('attempt.ended', { status: 200, tenant: 'modest' }))
    }
    const at = clock.wall()
    feed.record({
      name: 'guardrail',
      at,
      data: { name: 'ratio_429', met: false, value: 0.2, bound: 0.05 },
    })
    clock.advance(3_000)
    const during = page.frames().at(-1)!
    expect(during.guardrails[0]).toMatchObject({ met: false, since: at })
    expect(during.breaches).toMatchObject([
      { name: 'ratio_429', from_at: at, until_at: null, tenant: 'greedy' },
    ])
    met = true
    clock.advance(2_000)
    const { breaches, guardrails } = page.frames().at(-1)!
    expect(breaches[0]!.until_at).toBe(guardrails[0]!.since)
    expect(breaches.length).toBe(1)
  })

  test('request.forwarding and request.dropped move no count', () => {
    expect(after(event('request.forwarding')).rates).toEqual(none.rates)
    expect(after(event('request.dropped')).rates).toEqual(none.rates)
  })
})

describe('durable jobs', () => {
  test('stand in a frame as in the snapshot, the busiest tenants only, and in the history by tenant', () => {
    const row = (tenant: string, lane: string, stored: number) => ({
      ...{ tenant, lane, stored, taken: 1, oldest_ms: null },
    })
    const many = Array.from({ length: 30 }, (_, i) => row(`t${i}`, 'batch', 0))
    const jobs = stillJobs({
      lanes: [{ lane: 'batch', stored: 40, oldest_ms: 9, expected_ms: 99 }],
      tenants: [row('acme', 'batch', 6), row('acme', 'premium', 2), ...many],
    })
    const { feed, clock, page } = fed({ snapshot: () => stillSnapshot({ jobs }) })
    clock.advance(1_000)
    const [frame] = page.frames()
    expect(frameShape.parse(frame).jobs).toEqual({ ...jobs, tenants: jobs.tenants.slice(0, 20) })
    const kept = history.parse(JSON.parse(feed.history({}).body)).jobs
    expect(kept.lanes).toEqual([{ name: 'batch', stored: [40], oldest_ms: [9] }])
    expect(kept.tenants).toHaveLength(19)
    expect(kept.tenants[0]).toEqual({ name: 'acme', stored: [10] })
  })

  test('that changed hands or were given up are told, a frequent kind never hiding a seldom one', () => {
    const { feed, clock, page } = fed()
    feed.record(event('job.taken_over'))
    feed.record(event('job.dead'))
    for (let i = 0; i < 50; i++) feed.record(event('job.returned', { id: `j${i}` }))
    for (const other of ['job.accepted', 'job.claimed', 'job.ended'] as const)
      feed.record(event(other))
    clock.advance(1_000)
    const moves = frameShape.parse(page.frames()[0]).job_moves
    expect(moves.slice(0, 2)).toMatchObject([
      { what: 'taken_over', id: 'j_1', detail: 'two', ambiguous: true },
      { what: 'dead', detail: 'claims_exhausted', ambiguous: false },
    ])
    expect(moves.filter(({ what }) => what === 'returned')).toHaveLength(JOB_MOVES_MAX)
    // A job's own events make no life of a request.
    expect(feed.request('acme', 'j_1').status).toBe(404)
  })
})
