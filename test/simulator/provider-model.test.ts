/** What the simulated provider of virtual time answers, and when: capacity, quota, faults. */
import { describe, expect, test } from 'vitest'
import {
  ProviderModel,
  type Fault,
  type Plan,
  type ProviderSettings,
} from '../../services/simulator/provider-model.ts'
import { requestOf, type ArrivalSketch } from '../support/simulated.ts'

const LATER = 2_000

const model = (of: Partial<ProviderSettings> = {}, seed = 1): ProviderModel =>
  new ProviderModel({ capacity: () => Infinity, ...of }, seed)

const start = (provider: ProviderModel, now: number, of: ArrivalSketch = {}): Plan =>
  provider.start(requestOf(of), now)

/** Plans of `times` attempts, each of which is the `n`-th in flight while the capacity is `capacity`. */
function crowded(of: { n: number; capacity: number; times: number }): Plan[] {
  const provider = model({
    overload: 'soft',
    capacity: (at) => (at < 1 ? Infinity : of.capacity),
  })
  for (let i = 1; i < of.n; i++) start(provider, 0)
  return Array.from({ length: of.times }, () => {
    const plan = start(provider, LATER)
    expect(provider.inflight).toBe(of.n)
    provider.end(plan, LATER)
    return plan
  })
}
const refusedShare = (plans: readonly Plan[]): number =>
  plans.filter((plan) => plan.verdict.status === 529).length / plans.length

describe('capacity that is soft', () => {
  test.each([
    { n: 60, p: 0 },
    // 1.5 x (1 - 60 / 61)
    { n: 61, p: 0.0246 },
    { n: 80, p: 0.375 },
    { n: 120, p: 0.75 },
    // 1.5 x (1 - 60 / 180) is 1, and nothing is more than certain.
    { n: 180, p: 1 },
    { n: 600, p: 1 },
  ])('with $n in flight, the new one included, 60 slots refuse a share of $p', ({ n, p }) => {
    const share = refusedShare(crowded({ n, capacity: 60, times: 4_000 }))
    // Three standard deviations of 4,000 throws.
    const off = 3 * Math.sqrt((p * (1 - p)) / 4_000)
    expect(Math.abs(share - p)).toBeLessThanOrEqual(off + 1e-4)
  })

  test('no capacity refuses everybody, the lone caller too', () => {
    expect(refusedShare(crowded({ n: 1, capacity: 0, times: 100 }))).toBe(1)
  })

  test('a refusal for overload takes 0.3 to 0.8 s, evenly, and shows no byte before', () => {
    const plans = crowded({ n: 1, capacity: 0, times: 2_000 })
    const delays = plans.map((plan) => plan.endsInMs)
    expect(Math.min(...delays)).toBeGreaterThanOrEqual(300)
    expect(Math.max(...delays)).toBeLessThanOrEqual(800)
    const mean = delays.reduce((sum, ms) => sum + ms, 0) / delays.length
    expect(Math.abs(mean - 550)).toBeLessThan(15)
    expect(plans[0]).toMatchObject({
      firstByteInMs: null,
      verdict: { kind: 'overloaded', status: 529, retryAfterMs: null, mayHaveRun: false },
    })
  })
})

describe('capacity that is hard', () => {
  test('serves as many as there are slots, and refuses one more at once', () => {
    const provider = model({ capacity: () => 3 })
    const plans = Array.from({ length: 5 }, () => start(provider, 0))
    expect(plans.map((plan) => plan.verdict.status)).toEqual([200, 200, 200, 529, 529])
    expect(plans[4]!.endsInMs).toBeLessThan(10)
  })

  test('is not taken by what was refused, and is given back when an answer ends', () => {
    const provider = model({ capacity: () => 1 })
    const served = start(provider, 0)
    for (let i = 0; i < 100; i++) start(provider, 0)
    expect([provider.serving, provider.inflight]).toEqual([1, 101])
    provider.end(served, 1_000)
    expect(start(provider, 1_000).verdict.kind).toBe('ok')
  })

  test('is taken by a call that hangs', () => {
    const faults: Fault[] = [{ kind: 'hang', share: 1, from: 0, until: 1 }]
    const provider = model({ capacity: () => 1, faults })
    start(provider, 0)
    expect(start(provider, 1_000).verdict.status).toBe(529)
  })
})

describe('capacity that each model has for itself', () => {
  const two: Partial<ProviderSettings> = { capacity: () => 1, apart: true }

  test('one model does not take the slots of another', () => {
    const provider = model(two)
    const first = start(provider, 0, { model: 'a' })
    expect(start(provider, 0, { model: 'b' }).verdict.kind).toBe('ok')
    expect(start(provider, 0, { model: 'a' }).verdict.kind).toBe('overloaded')
    provider.end(first, 100)
    expect(start(provider, 100, { model: 'a' }).verdict.kind).toBe('ok')
    expect(provider.serving).toBe(2)
  })

  test('where it is shared, one does', () => {
    const provider = model({ ...two, apart: false })
    start(provider, 0, { model: 'a' })
    expect(start(provider, 0, { model: 'b' }).verdict.kind).toBe('overloaded')
  })
})

describe('whether it would take one more', () => {
  const like = requestOf({ inputTokens: 1_000 })

  test.each<[string, Partial<ProviderSettings>, boolean]>([
    ['a free slot', { capacity: () => 1 }, true],
    ['no slot', { capacity: () => 0 }, false],
    ['a fault', { faults: [{ kind: 'slow', share: 0.1, from: 0, until: 9 }] }, false],
    ['a fault that is over', { faults: [{ kind: 'hang', share: 1, from: 0, until: 4 }] }, true],
  ])('with %s', (_, settings, taken) => {
    expect(model(settings).wouldTake(like, 5_000)).toBe(taken)
  })

  test('and asking takes nothing', () => {
    const quota = { requests: { limit: () => 60, burst: 1 }, headers: false }
    const provider = model({ quota })
    for (let i = 0; i < 3; i++) expect(provider.wouldTake(like, 0)).toBe(true)
    start(provider, 0)
    expect(provider.wouldTake(like, 0)).toBe(false)
    expect(provider.attempts).toBe(1)
  })
})

describe('a prefix that calls share', () => {
  const marked = { name: 'a', tokens: 30_000 }
  const call = { marked, inputTokens: 30_500, ttftMs: 1_000, serviceMs: 4_000 }

  test('is told as written by the first and as read by the next', () => {
    const provider = model()
    const usage = (now: number) => start(provider, now, call).verdict.usage
    const own = { inputTokens: 500, outputTokens: 60 }
    expect(usage(0)).toEqual({ ...own, cacheCreationTokens: 30_000, cacheReadTokens: 0 })
    expect(usage(500)).toEqual({ ...own, cacheCreationTokens: 30_000, cacheReadTokens: 0 })
    expect(usage(1_000)).toEqual({ ...own, cacheCreationTokens: 0, cacheReadTokens: 30_000 })
  })

  test('counts against the input quota while it is written, and not when it is read', () => {
    const quota = { input: { limit: () => 60, burst: 31_500 }, headers: false }
    const provider = model({ quota })
    expect(start(provider, 0, call).verdict.kind).toBe('ok')
    expect(start(provider, 0, call).verdict.status).toBe(429)
    expect(provider.wouldTake(requestOf(call), 1_000)).toBe(true)
    expect(start(provider, 1_000, call).verdict.kind).toBe('ok')
  })

  test('is not in the cache where the call was ended before it answered, or refused', () => {
    const provider = model({ capacity: (at) => (at < 0.5 ? 1 : Infinity) })
    const first = start(provider, 0, call)
    expect(start(provider, 0, call).verdict.kind).toBe('overloaded')
    provider.end(first, 900)
    expect(start(provider, 1_000, call).verdict.usage?.cacheReadTokens).toBe(0)
  })
})

describe('capacity that slows', () => {
  const full = (serving: number): { provider: ProviderModel; next: Plan } => {
    const provider = model({ overload: 'slow', capacity: (at) => (at < 1 ? Infinity : 10) })
    for (let i = 0; i < serving; i++) start(provider, 0)
    return { provider, next: start(provider, LATER, { serviceMs: 1_000 }) }
  }

  test.each([
    { serving: 0, takes: 1_000 },
    { serving: 9, takes: 1_000 },
    { serving: 14, takes: 1_500 },
    { serving: 19, takes: 2_000 },
  ])('with $serving served by 10 slots, one more takes $takes ms', ({ serving, takes }) => {
    const { next } = full(serving)
    expect([next.verdict.status, next.endsInMs]).toEqual([200, takes])
  })

  test('refuses beyond twice its slots', () => {
    expect(full(20).next.verdict.status).toBe(529)
    expect(full(0).provider.serving).toBe(1)
  })

  test('without a slot refuses everybody', () => {
    const provider = model({ overload: 'slow', capacity: () => 0 })
    expect(start(provider, 0).verdict.status).toBe(529)
  })
})

describe('what is in flight', () => {
  test('is given back at the end, however it ended', () => {
    const faults: Fault[] = [{ kind: 'fault', share: 1, from: 1, until: 2 }]
    const provider = model({ capacity: (at) => (at < 1 ? Infinity : 0), faults })
    const plans = [0, 1_500, 2_500].map((now) => start(provider, now))
    expect(plans.map((plan) => plan.verdict.kind)).toEqual(['ok', 'fault', 'overloaded'])
    expect(provider.inflight).toBe(3)
    for (const plan of plans) provider.end(plan, 3_000)
    expect([provider.inflight, provider.attempts]).toEqual([0, 3])
  })

  test('an answer takes its service time, and shows its first byte early only when streamed', () => {
    const sketch = { serviceMs: 4_000, ttftMs: 300, inputTokens: 7, outputTokens: 9 }
    const usage = { inputTokens: 7, cacheCreationTokens: 0, cacheReadTokens: 0, outputTokens: 9 }
    expect(start(model(), 0, { ...sketch, stream: true })).toMatchObject({
      endsInMs: 4_000,
      firstByteInMs: 300,
      verdict: { kind: 'ok', status: 200, ttftMs: 300, usage, rate: null },
    })
    expect(start(model(), 0, { ...sketch, stream: false })).toMatchObject({
      endsInMs: 4_000,
      firstByteInMs: null,
      verdict: { kind: 'ok', ttftMs: null, usage },
    })
  })
})

const perMinute = (limit: number, burst: number) => ({ limit: () => limit, burst })

describe('quota of requests', () => {
  const quota = { requests: perMinute(60, 3), headers: false }

  test('serves its burst at once, and then one for each that is refilled', () => {
    const provider = model({ quota })
    const kinds = (times: readonly number[]) => times.map((at) => start(provider, at).verdict.kind)
    expect(kinds([0, 0, 0, 0])).toEqual(['ok', 'ok', 'ok', 'throttled'])
    expect(kinds([999, 1_000, 1_001, 2_000])).toEqual(['throttled', 'ok', 'throttled', 'ok'])
  })

  test('saves up no more than its burst', () => {
    const provider = model({ quota })
    const kinds = Array.from({ length: 4 }, () => start(provider, 3_600_000).verdict.kind)
    expect(kinds).toEqual(['ok', 'ok', 'ok', 'throttled'])
  })

  test('a 429 comes after 150 ms, took nothing, and names the whole seconds until it would fit', () => {
    const provider = model({ quota: { requests: perMinute(6, 1), headers: false } })
    start(provider, 0)
    // A tenth of a request a second: ten seconds for one.
    const plans = [0, 500, 1_000, 9_000, 9_999].map((now) => start(provider, now))
    expect(plans.map((plan) => plan.verdict.retryAfterMs)).toEqual([
      10_000, 10_000, 9_000, 1_000, 1_000,
    ])
    expect(plans[0]).toMatchObject({ endsInMs: 150, firstByteInMs: null })
    expect(plans[0]?.verdict).toMatchObject({ status: 429, rate: null, mayHaveRun: false })
    expect(start(provider, 10_000).verdict.kind).toBe('ok')
    expect(provider.answers429).toBe(5)
  })

  test('a limit may change with time, and retry-after speaks of the new one', () => {
    const limit = (at: number): number => (at < 300 ? 600 : 6)
    const provider = model({ quota: { requests: { limit, burst: 1 }, headers: false } })
    const told = (now: number) => start(provider, now).verdict.retryAfterMs
    expect([0, 10, 100].map(told)).toEqual([null, 1_000, null])
    // Since 300 s a tenth of a request has come; nine are missing at a tenth a second.
    expect([300_000, 301_000].map(told)).toEqual([null, 9_000])
  })

  test('a limit of Infinity lets everything through, and a cut begins with a full bucket', () => {
    const limit = (at: number): number => (at < 10 ? Infinity : 60)
    const provider = model({ quota: { requests: { limit, burst: 2 }, headers: false } })
    const many = (now: number) =>
      Array.from({ length: 5 }, () => start(provider, now).verdict.status)
    expect(many(0)).toEqual([200, 200, 200, 200, 200])
    expect(many(9_999)).toEqual([200, 200, 200, 200, 200])
    expect(start(provider, 9_999).verdict.rate).toBe(null)
    expect(many(12_000)).toEqual([200, 200, 429, 429, 429])
  })

  test('does not ask for capacity what quota refused', () => {
    const provider = model({ capacity: () => 0, quota: { ...quota, requests: perMinute(60, 1) } })
    const statuses = [0, 0].map((now) => start(provider, now).verdict.status)
    expect(statuses).toEqual([529, 429])
  })
})

describe('quota of tokens', () => {
  test('input is taken whole at admission; what is larger than the burst goes on a full bucket', () => {
    const provider = model({ quota: { input: perMinute(6_000, 1_000), headers: false } })
    const told = (now: number, inputTokens: number) =>
      start(provider, now, { inputTokens }).verdict.retryAfterMs
    expect(told(0, 700)).toBe(null)
    // 300 are left, 100 a second come: 400 fit after one second, 5,000 when the bucket is full.
    expect(told(0, 400)).toBe(1_000)
    expect(told(0, 5_000)).toBe(7_000)
    expect(told(7_000, 5_000)).toBe(null)
    // The debt of 4,000 is paid before anything else goes.
    expect(told(46_000, 100)).toBe(2_000)
    expect(told(48_000, 100)).toBe(null)
  })

  test('output is drained at 60 tokens a second for each answer while it is written', () => {
    const provider = model({ quota: { output: perMinute(3_600, 600), headers: false } })
    const [first, second] = [start(provider, 0), start(provider, 0)]
    // 60 a second come and 120 go: 600 last for ten seconds.
    const third = start(provider, 9_900)
    expect(third.verdict.kind).toBe('ok')
    provider.end(third, 9_900)
    expect(start(provider, 10_000).verdict).toMatchObject({ status: 429, retryAfterMs: 1_000 })
    provider.end(first, 10_000)
    provider.end(second, 10_000)
    expect(start(provider, 10_100).verdict.kind).toBe('ok')
  })

  test('an answer that was refused for overload writes nothing', () => {
    const capacity = (at: number): number => (at < 1 ? 0 : 100)
    const quota = { output: perMinute(60_000, 60_000), headers: true }
    const provider = model({ capacity, quota })
    for (let i = 0; i < 100; i++) {
      const plan = start(provider, 0)
      expect(plan.verdict.status).toBe(529)
      provider.end(plan, 500)
    }
    const { rate } = start(provider, 10_000).verdict
    expect(rate?.outputTokens).toEqual({ limit: 60_000, remaining: 60_000 })
  })

  test('the retry-after is that of the dimension that takes longest', () => {
    const quota = { requests: perMinute(6, 1), input: perMinute(60, 100), headers: false }
    const provider = model({ quota })
    start(provider, 0, { inputTokens: 100 })
    expect(start(provider, 0, { inputTokens: 30 }).verdict.retryAfterMs).toBe(30_000)
    expect(start(provider, 0, { inputTokens: 3 }).verdict.retryAfterMs).toBe(10_000)
  })
})

describe('headers', () => {
  const quota = {
    requests: perMinute(1_000, 50),
    input: perMinute(400_000, 400_000),
    output: perMinute(90_000, 90_000),
    headers: true,
  }

  test('tell the account as of admission, this request taken off, tokens rounded to thousands', () => {
    const provider = model({ quota })
    const plan = start(provider, 0, { inputTokens: 1_400 })
    start(provider, 0, { inputTokens: 300_000 })
    expect(plan.verdict.rate).toEqual({
      requests: { limit: 1_000, remaining: 49 },
      inputTokens: { limit: 400_000, remaining: 399_000 },
      outputTokens: { limit: 90_000, remaining: 90_000 },
    })
  })

  test('stand on a 429 too, and never go below zero', () => {
    const provider = model({ quota: { ...quota, input: perMinute(60_000, 10_000) } })
    start(provider, 0, { inputTokens: 25_000 })
    const { rate, retryAfterMs } = start(provider, 0, { inputTokens: 1_000 }).verdict
    // A debt of 15,000, and 1,000 for itself, at 1,000 a second.
    expect(retryAfterMs).toBe(16_000)
    expect(rate?.inputTokens).toEqual({ limit: 60_000, remaining: 0 })
  })

  test('name no dimension that is not limited, and are absent where the provider tells none', () => {
    const partly = model({ quota: { requests: perMinute(1_000, 50), headers: true } })
    const nothing = { limit: null, remaining: null }
    expect(start(partly, 0).verdict.rate).toMatchObject({
      inputTokens: nothing,
      outputTokens: nothing,
    })
    expect(start(model({ quota: { ...quota, headers: false } }), 0).verdict.rate).toBe(null)
  })
})

describe('faults', () => {
  const always = (kind: Fault['kind']): Fault => ({ kind, share: 1, from: 0, until: Infinity })
  const DAY = 86_400_000

  test.each([
    ['overloaded', 400, null, { kind: 'overloaded', status: 529, mayHaveRun: false }],
    ['fault', 400, null, { kind: 'fault', status: 500, mayHaveRun: true }],
    ['hang', DAY, null, { kind: 'hang', status: null, mayHaveRun: true }],
    ['broken', 2_000, 300, { kind: 'cut', status: 200, mayHaveRun: true }],
    ['unexplained', 150, null, { kind: 'unexplained', status: 429, namesConcurrency: true }],
    ['ramp_limited', 150, null, { kind: 'ramp_limited', status: 429, retryAfterMs: 5_000 }],
    ['rejected', 150, null, { kind: 'rejected', status: 400, mayHaveRun: false }],
    ['reset', 5, null, { kind: 'fault', status: null, cause: 'reset', mayHaveRun: false }],
    ['throttled', 150, null, { kind: 'throttled', status: 429, retryAfterMs: 5_000 }],
    ['unauthorised', 150, null, { kind: 'rejected', status: 401 }],
    ['spent', 150, null, { kind: 'key_stop', status: 402, spendLimit: true }],
    ['slow', 16_000, 1_200, { kind: 'ok', status: 200, ttftMs: 1_200 }],
  ] as const)('%s: ends after %i ms, first byte %s', (kind, endsInMs, firstByteInMs, verdict) => {
    const provider = model({ faults: [always(kind)] })
    const plan = start(provider, 0, { serviceMs: 4_000, ttftMs: 300, stream: true })
    expect(plan).toMatchObject({ endsInMs, firstByteInMs, verdict })
    expect(provider.inflight).toBe(1)
  })

  test('says what it is told to say', () => {
    const told = (of: Partial<Fault> & Pick<Fault, 'kind'>): Plan =>
      start(model({ faults: [{ ...always(of.kind), ...of }] }), 0, { serviceMs: 1_000 })
    expect(told({ kind: 'throttled', retryAfterMs: 90_000 }).verdict.retryAfterMs).toBe(90_000)
    expect(told({ kind: 'slow', factor: 20 }).endsInMs).toBe(20_000)
    expect(told({ kind: 'unexplained', plain: true }).verdict.namesConcurrency).toBe(false)
  })

  test('a slow answer takes nothing of the quota, and gives nothing back to it', () => {
    const quota = { output: perMinute(60, 600), headers: true }
    const slow = { ...always('slow'), until: 1 }
    const provider = model({ quota, faults: [slow] })
    provider.end(start(provider, 0, { serviceMs: 1_000 }), 4_000)
    // One answer is written from here on, and uses up in 10 s what there is.
    start(provider, 4_000)
    expect(start(provider, 15_000).verdict.kind).toBe('throttled')
  })

  test('an answer that is not streamed breaks before anything was passed on', () => {
    const plan = start(model({ faults: [always('broken')] }), 0, { serviceMs: 4_000 })
    expect(plan).toMatchObject({
      endsInMs: 2_000,
      firstByteInMs: null,
      verdict: { kind: 'broken' },
    })
  })

  test('counts 429 and 529 of whatever cause', () => {
    const faults: Fault[] = [
      { ...always('unexplained'), until: 1 },
      { ...always('ramp_limited'), from: 1, until: 2 },
      { ...always('overloaded'), from: 2 },
    ]
    const provider = model({ faults })
    for (const now of [0, 1_000, 2_000]) start(provider, now)
    expect([provider.answers429, provider.answers529]).toEqual([2, 1])
  })

  test('lasts from its first instant to before its last, for its model alone', () => {
    const provider = model({ faults: [{ ...always('fault'), from: 10, until: 20, model: 'a' }] })
    const kind = (now: number, name: string) => start(provider, now, { model: name }).verdict.kind
    expect([9_999, 10_000, 19_999, 20_000].map((now) => kind(now, 'a'))).toEqual([
      'ok',
      'fault',
      'fault',
      'ok',
    ])
    expect(kind(15_000, 'b')).toBe('ok')
  })

  test('strikes its share of the attempts', () => {
    const provider = model({ faults: [{ ...always('fault'), share: 0.03 }] })
    let struck = 0
    for (let i = 0; i < 10_000; i++) if (start(provider, i).verdict.kind === 'fault') struck++
    // 300, three standard deviations of 17.
    expect(Math.abs(struck - 300)).toBeLessThanOrEqual(51)
  })

  test('is thrown with dice of its own: it moves no throw for overload', () => {
    const seen = (faults: Fault[]) => {
      // In the first second everything is served or struck; then each, alone in flight, is refused with 0.75.
      const capacity = (at: number): number => (at < 1 ? Infinity : 0.5)
      const provider = model({ overload: 'soft', capacity, faults }, 7)
      const one = (now: number) => {
        const plan = start(provider, now)
        provider.end(plan, now)
        return plan.verdict.kind
      }
      for (let i = 0; i < 20; i++) one(0)
      return Array.from({ length: 100 }, () => one(LATER))
    }
    expect(seen([{ ...always('fault'), share: 0.5, until: 1 }])).toEqual(seen([]))
  })
})
