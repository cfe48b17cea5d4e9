/** What people run instead of a scheduler does what docs/requirements.md says (R2, R3), and
 *  nothing beyond it. */
import { describe, expect, test } from 'vitest'
import { Baseline, SDK_ALONE, type Caller } from '../../services/simulator/baselines.ts'
import type { Attempt, Wire, WireEvents } from '../../services/simulator/policy.ts'
import { verdictOf, type Plan } from '../../services/simulator/provider-model.ts'
import { simulateScenario } from '../../services/simulator/simulate.ts'
import type { SimRequest } from '../../services/simulator/sim-request.ts'
import { VirtualClock } from '../../services/simulator/virtual-clock.ts'
import type { Verdict } from '#contracts/verdict'
import { requestOf, type ArrivalSketch } from '../support/simulated.ts'

interface Sent {
  tenant: string
  at: number
}

/** A baseline on a wire whose answers the test writes; the n-th attempt of each request by number. */
class Bench {
  readonly clock = new VirtualClock()
  readonly sent: Sent[] = []
  readonly outcomes: { tenant: string; how: string; code: string | null; at: number }[] = []
  readonly policy: Baseline
  inflight = 0
  most = 0
  readonly #answer: (attempt: number, request: SimRequest) => Verdict

  constructor(of: {
    slots?: number
    rank?: (request: SimRequest) => number
    seed?: number
    caller?: Caller
    answer: (attempt: number, request: SimRequest) => Verdict
  }) {
    this.#answer = of.answer
    const wire: Wire = { send: (request, on) => this.#send(request, on) }
    const { slots = Infinity, seed = 1, rank = () => 0 } = of
    const caller = of.caller === undefined ? {} : { caller: of.caller }
    this.policy = new Baseline({ clock: this.clock, wire, seed, slots, rank, ...caller })
  }

  submit(of: ArrivalSketch = {}): void {
    const request = requestOf(of, (one, how, code) =>
      this.outcomes.push({ tenant: one.tenant, how, code, at: this.clock.instant }),
    )
    this.policy.submit(request)
  }

  /** To the end of all that is to come, or to an instant. */
  run(until = 86_400_000): this {
    while (this.clock.next(until));
    return this
  }

  /** Waits between the attempts of a lone request, each of which took no time. */
  get waits(): number[] {
    return this.sent.slice(1).map(({ at }, i) => at - this.sent[i]!.at)
  }

  #send(request: SimRequest, on: WireEvents): Attempt {
    const verdict = this.#answer(++request.starts, request)
    this.sent.push({ tenant: request.tenant, at: this.clock.instant })
    this.most = Math.max(this.most, ++this.inflight)
    const end = (ending: Verdict): void => {
      this.inflight--
      on.ended(ending)
    }
    const plan: Plan = { endsInMs: request.work.serviceMs, firstByteInMs: null, verdict }
    const cancel =
      verdict.kind === 'hang' ? () => {} : this.clock.after(plan.endsInMs, () => end(verdict))
    const abort = (ending: Verdict): void => {
      cancel()
      end(ending)
    }
    return { plan, abort }
  }
}

const ok = verdictOf('ok', 200)
const overloaded = verdictOf('overloaded', 529)
const throttled = (retryAfterMs: number | null): Verdict => ({
  ...verdictOf('throttled', 429),
  retryAfterMs,
})

describe('retries', () => {
  test('there are five, and then the caller hears of it', () => {
    const bench = new Bench({ answer: () => overloaded })
    bench.submit({ serviceMs: 0 })
    bench.run()
    expect(bench.sent.length).toBe(6)
    expect(bench.outcomes).toMatchObject([{ how: 'failed', code: 'retries_exhausted' }])
    expect(bench.policy.live).toBe(0)
  })

  test('the fifth may still succeed', () => {
    const bench = new Bench({ answer: (attempt) => (attempt < 6 ? overloaded : ok) })
    bench.submit()
    bench.run()
    expect([bench.sent.length, bench.outcomes[0]?.how]).toEqual([6, 'completed'])
  })

  test('full jitter: evenly from nothing to 1, 2, 4, 8 and 16 s', () => {
    const rounds = Array.from({ length: 400 }, (_, seed) => {
      const bench = new Bench({ seed, answer: () => overloaded })
      bench.submit({ serviceMs: 0 })
      return bench.run().waits
    })
    for (const [retry, most] of [1_000, 2_000, 4_000, 8_000, 16_000].entries()) {
      const waits = rounds.map((round) => round[retry]!)
      expect(Math.max(...waits)).toBeLessThanOrEqual(most)
      const mean = waits.reduce((sum, one) => sum + one, 0) / waits.length
      // Three standard deviations of 400 even throws.
      expect(Math.abs(mean - most / 2)).toBeLessThan((3 * most) / Math.sqrt(12 * 400))
    }
  })

  test('a retry-after is waited for, with 500 ms on top', () => {
    const bench = new Bench({ answer: (attempt) => (attempt === 1 ? throttled(60_000) : ok) })
    bench.submit({ serviceMs: 0 })
    expect(bench.run().waits).toEqual([60_500])
  })

  test('a retry-after shorter than the own delay changes nothing but the 500 ms', () => {
    const waits = (verdict: Verdict): number[] => {
      const bench = new Bench({ answer: () => verdict })
      bench.submit({ serviceMs: 0 })
      return bench.run().waits
    }
    const own = waits(throttled(null))
    const told = waits(throttled(1))
    expect(own.length).toBe(5)
    expect(told.map((wait) => wait - 500)).toEqual(own)
  })

  test.each(['rejected', 'cut', 'key_stop'] as const)('%s is never tried again', (kind) => {
    const bench = new Bench({ answer: () => verdictOf(kind, 400) })
    bench.submit()
    bench.run()
    expect([bench.sent.length, bench.outcomes[0]?.how]).toEqual([1, 'failed'])
  })

  test('a call without a byte is given up after 60 s, and tried again', () => {
    const hang = verdictOf('hang', null)
    const bench = new Bench({ answer: (attempt) => (attempt === 1 ? hang : ok) })
    bench.submit()
    bench.run(59_999)
    expect(bench.inflight).toBe(1)
    bench.run()
    expect(bench.waits[0]).toBeGreaterThanOrEqual(60_000)
    expect(bench.waits[0]).toBeLessThanOrEqual(61_000)
    expect(bench.outcomes[0]?.how).toBe('completed')
  })

  test('no wait holds a slot', () => {
    const flaky = (attempt: number, { tenant }: SimRequest): Verdict =>
      tenant === 'a' && attempt === 1 ? throttled(10_000) : ok
    const bench = new Bench({ slots: 1, answer: flaky })
    bench.submit({ tenant: 'a' })
    bench.submit({ tenant: 'b' })
    bench.run()
    expect(bench.sent).toEqual([
      { tenant: 'a', at: 0 },
      { tenant: 'b', at: 1_000 },
      { tenant: 'a', at: 11_500 },
    ])
  })
})

describe('slots', () => {
  test('naive knows no limit', () => {
    const bench = new Bench({ answer: () => ok })
    for (let i = 0; i < 1_000; i++) bench.submit()
    expect(bench.most).toBe(1_000)
    expect(bench.policy.limit()).toBe(0)
  })

  test('a semaphore is never passed and never left unused', () => {
    const bench = new Bench({ slots: 64, answer: (attempt) => (attempt < 3 ? overloaded : ok) })
    for (let i = 0; i < 300; i++) bench.submit({ serviceMs: 100 + i })
    expect([bench.inflight, bench.policy.queued('interactive')]).toEqual([64, 236])
    bench.run()
    expect(bench.most).toBe(64)
    expect(bench.outcomes.length).toBe(300)
    expect([bench.inflight, bench.policy.queued('interactive')]).toEqual([0, 0])
    expect(bench.policy.atRest()).toEqual([])
  })

  test('fixed has 64 of them, under twice the load that fills them', async () => {
    const job = { label: 'fixed', policy: 'fixed', config: null } as const
    const what = { name: 'overload-200', part: 0.1, load: null, reserved: null, noise: null }
    const { series } = await simulateScenario(job, what, [1], { record: null, series: true })
    expect(Math.max(...series.inflight)).toBe(64)
    expect(new Set(series.limit.slice(1))).toEqual(new Set([64]))
  })
})

describe('priority', () => {
  const order = ['premium', 'interactive', 'batch']
  const rank = (request: SimRequest): number => order.indexOf(request.lane)

  test('serves by rank, and within a rank in order of arrival', () => {
    const bench = new Bench({ slots: 1, rank, answer: () => ok })
    const arrivals = [
      ['batch', 'b0'],
      ['batch', 'b1'],
      ['interactive', 'i0'],
      ['premium', 'p0'],
      ['interactive', 'i1'],
      ['premium', 'p1'],
    ] as const
    for (const [lane, tenant] of arrivals) bench.submit({ lane, tenant })
    expect(bench.policy.queued('interactive')).toBe(2)
    bench.run()
    // The first found the slot free; nothing is taken from it.
    expect(bench.sent.map((one) => one.tenant)).toEqual(['b0', 'p0', 'p1', 'i0', 'i1', 'b1'])
  })

  test('what failed goes back to the end of its rank', () => {
    const flaky = (attempt: number, { tenant }: SimRequest): Verdict =>
      tenant === 'p0' && attempt === 1 ? overloaded : ok
    const bench = new Bench({ slots: 1, rank, answer: flaky })
    bench.submit({ lane: 'premium', tenant: 'p0' })
    for (const tenant of ['p1', 'p2', 'p3', 'p4']) bench.submit({ lane: 'premium', tenant })
    bench.submit({ lane: 'batch', tenant: 'b0' })
    bench.run()
    const served = bench.sent.map((one) => one.tenant)
    // Back within a second, while the next is served: behind p4, before batch.
    expect(served).toEqual(['p0', 'p1', 'p2', 'p3', 'p4', 'p0', 'b0'])
  })

  test('keeps order over thousands that wait', () => {
    const bench = new Bench({ slots: 1, answer: () => ok })
    for (let i = 0; i < 3_000; i++) bench.submit({ tenant: `t${i}`, serviceMs: 1 })
    bench.run()
    expect(bench.sent.map((one) => one.tenant)).toEqual(
      Array.from({ length: 3_000 }, (_, i) => `t${i}`),
    )
  })
})

describe('ends', () => {
  test('everything ends exactly once, whatever comes back', () => {
    const kinds = ['ok', 'overloaded', 'throttled', 'fault', 'rejected', 'hang', 'broken'] as const
    const answer = (attempt: number, { index }: SimRequest): Verdict =>
      verdictOf(kinds[(attempt * 3 + index) % kinds.length]!, 500)
    const bench = new Bench({ slots: 7, answer })
    for (let i = 0; i < 200; i++) bench.submit({ tenant: `t${i}` })
    bench.run()
    expect(bench.outcomes.length).toBe(200)
    expect(new Set(bench.outcomes.map((one) => one.tenant)).size).toBe(200)
    expect([bench.policy.live, bench.inflight]).toEqual([0, 0])
  })

  test('a drain refuses what waits and what comes back, and lets what runs end', () => {
    const flaky = (_: number, { tenant }: SimRequest): Verdict => (tenant === 'b' ? overloaded : ok)
    const bench = new Bench({ slots: 2, answer: flaky })
    for (const tenant of ['a', 'b', 'c']) bench.submit({ tenant })
    bench.policy.drain()
    bench.submit({ tenant: 'd' })
    bench.run()
    const told = bench.outcomes.map(({ tenant, how, code }) => [tenant, how, code])
    expect(told).toEqual([
      ['c', 'refused', 'draining'],
      ['d', 'refused', 'draining'],
      ['a', 'completed', null],
      ['b', 'failed', 'draining'],
    ])
    expect([bench.policy.live, bench.policy.queued('interactive')]).toEqual([0, 0])
  })
})

describe('an SDK with its own retries', () => {
  const sdk = (of: Omit<ConstructorParameters<typeof Bench>[0], 'caller'>): Bench =>
    new Bench({ ...of, caller: SDK_ALONE })

  test('tries twice more, after 0.5 and 1 s less up to a quarter', () => {
    for (let seed = 0; seed < 50; seed++) {
      const bench = sdk({ seed, answer: () => overloaded })
      bench.submit({ serviceMs: 0 })
      const [first = 0, second = 0, ...more] = bench.run().waits
      expect(more).toEqual([])
      expect(first).toBeGreaterThanOrEqual(375)
      expect(first).toBeLessThanOrEqual(500)
      expect(second).toBeGreaterThanOrEqual(750)
      expect(second).toBeLessThanOrEqual(1_000)
    }
  })

  test('does what retry-after says, to the instant', () => {
    const bench = sdk({ answer: (attempt) => (attempt === 1 ? throttled(3_000) : ok) })
    bench.submit({ serviceMs: 0 })
    expect(bench.run().waits).toEqual([3_000])
  })

  test('gives up at the deadline: an attempt is closed, a wait and a place in line are left', () => {
    const bench = sdk({
      slots: 2,
      answer: (_, { tenant }) => (tenant === 'waits' ? throttled(60_000) : ok),
    })
    bench.submit({ tenant: 'runs', serviceMs: 9_000, deadlineMs: 8_000 })
    bench.submit({ tenant: 'waits', serviceMs: 0, deadlineMs: 8_000 })
    bench.submit({ tenant: 'in line', serviceMs: 0, deadlineMs: 5_000 })
    bench.run()
    expect(bench.outcomes).toMatchObject([
      { tenant: 'in line', how: 'refused', code: 'given_up', at: 5_000 },
      { tenant: 'runs', how: 'failed', code: 'given_up', at: 8_000 },
      { tenant: 'waits', how: 'failed', code: 'given_up', at: 8_000 },
    ])
    expect(bench.sent.length).toBe(2)
    expect([bench.inflight, bench.policy.live]).toEqual([0, 0])
    expect(bench.policy.atRest()).toEqual([])
  })

  test('keeps its place behind a queue while it waits to try again', () => {
    const bench = sdk({
      slots: 1,
      answer: (attempt, { tenant }) =>
        tenant === 'first' && attempt === 1 ? throttled(4_000) : ok,
    })
    bench.submit({ tenant: 'first', serviceMs: 0 })
    bench.submit({ tenant: 'second', serviceMs: 0 })
    bench.run()
    expect(bench.sent.map(({ tenant, at }) => [tenant, at])).toEqual([
      ['first', 0],
      ['first', 4_000],
      ['second', 4_000],
    ])
    expect(bench.policy.atRest()).toEqual([])
  })
})
