/** Tries are spread over the time that a call has: a passing fault is retried at once, an outage is outlasted. */
import { describe, expect, test } from 'vitest'
import { LoopWorld } from '../support/loop-world.ts'
import type { Act } from '../support/scripted-provider.ts'

const good: Act = { firstByteMs: 100, events: ['{}'], endMs: 200, end: { kind: 'ok', status: 200 } }
const fails = (kind: 'overloaded' | 'fault', status: number): Act => ({
  firstByteMs: 5,
  end: { kind, status, errorType: kind === 'fault' ? 'api_error' : 'overloaded_error' },
})
const throttles = (retryAfterMs: number | null): Act => ({
  firstByteMs: 5,
  end: {
    kind: retryAfterMs === null ? 'unexplained' : 'throttled',
    status: 429,
    errorType: 'rate_limit_error',
    retryAfterMs,
  },
})
const SEEDS = Array.from({ length: 20 }, (_, i) => i + 1)

/** A route that fails until `untilMs`. */
const world = (seed: number, untilMs: number, act: Act, file: object = {}): LoopWorld => {
  const made: LoopWorld = new LoopWorld({
    seed,
    file,
    script: () => (made.clock.now() < untilMs ? act : good),
  })
  return made
}
const answered = (of: LoopWorld, id: string) => of.answers.get(id)?.[0]

describe('an outage of nine seconds', () => {
  test.each([
    ['529', fails('overloaded', 529)],
    ['500', fails('fault', 500)],
  ])(
    'of %s is outlasted by a call with five minutes, in the tries of its lane',
    async (_n, act) => {
      for (const seed of SEEDS) {
        const one = world(seed, 9_000, act)
        const id = one.request({ deadlineMs: 300_000 })
        await one.pass(20_000)
        expect(answered(one, id)).toMatchObject({ how: 'end', accounting: { attempts: 3 } })
      }
    },
  )

  test.each([
    ['429 that says when', throttles(1_000), 3],
    // Asked for once more only, since nobody knows what it is about.
    ['429 that says nothing', throttles(null), 2],
  ])('of %s is outlasted too', async (_n, act, attempts) => {
    for (const seed of SEEDS) {
      const one = world(seed, 9_000, act)
      const id = one.request({ deadlineMs: 300_000 })
      await one.pass(20_000)
      expect(answered(one, id)).toMatchObject({ how: 'end', accounting: { attempts } })
    }
  })

  test.each([
    ['529', fails('overloaded', 529)],
    ['500', fails('fault', 500)],
    ['429 that says when', throttles(1_000)],
  ])('of %s is outlasted by all of a crowd within a minute', async (_n, act) => {
    for (const seed of SEEDS.slice(0, 5)) {
      const one = world(seed, 9_000, act)
      const ids: string[] = []
      for (let i = 0; i < 40; i++) {
        ids.push(one.request({ tenant: `t${i % 4}`, deadlineMs: 300_000 }))
        await one.pass(20)
      }
      await one.pass(60_000)
      expect(ids.map((id) => answered(one, id)?.how)).toEqual(ids.map(() => 'end'))
    }
  })

  test('is not outlasted by a call with eight: its last try comes in time, not after', async () => {
    for (const seed of SEEDS) {
      const one = world(seed, 9_000, fails('overloaded', 529))
      const id = one.request({ deadlineMs: 8_000 })
      await one.pass(9_000)
      const { refusal, accounting } = answered(one, id)!
      expect(refusal?.code).toBe('retries_exhausted')
      expect(accounting.totalMs).toBeGreaterThan(2_500)
      expect(accounting.totalMs).toBeLessThan(8_000)
    }
  })
})

test('a single fault is retried within the first ceiling of the back-off', async () => {
  for (const seed of SEEDS) {
    const one = world(seed, 20, fails('overloaded', 529))
    const id = one.request({ deadlineMs: 300_000 })
    await one.pass(1_000)
    expect(answered(one, id)?.accounting.totalMs).toBeLessThan(250 + 400)
  }
})

test('a caller may ask for more tries than its lane has, and for fewer', async () => {
  const one = world(1, Infinity, fails('fault', 500))
  const more = one.request({ deadlineMs: 300_000, maxAttempts: 5 })
  const fewer = one.request({ deadlineMs: 300_000, maxAttempts: 1 })
  await one.pass(60_000)
  expect(answered(one, more)?.accounting.attempts).toBe(5)
  expect(answered(one, fewer)?.accounting.attempts).toBe(1)
})

test('where the retry budget is used up a call with time waits for it, and gives up in time', async () => {
  const file = { llm_gateway: { retry: { budget_start: 0, budget_per_minute: 10 } } }
  const one = world(1, 100, fails('overloaded', 529), file)
  const patient = one.request({ deadlineMs: 60_000 })
  const short = one.request({ deadlineMs: 2_000 })
  await one.pass(20_000)
  expect(answered(one, short)?.refusal?.message).toContain('retry budget')
  expect(answered(one, patient)).toMatchObject({ how: 'end', accounting: { attempts: 2 } })
})

test('a refusal by an open breaker says whose doing it is', async () => {
  const file = { llm_gateway: { retry: { budget_start: 100, budget_max: 100 } } }
  const one = world(1, Infinity, fails('overloaded', 529), file)
  for (let i = 0; i < 12; i++) one.request({ tenant: `t${i}`, deadlineMs: 30_000 })
  await one.pass(4_000)
  const gate = [...one.loop.state.routes.values()][0]!.gate.state
  expect(gate).toBe('open')
  const id = one.request({ deadlineMs: 2_000 })
  await one.pass(3_000)
  const { refusal } = answered(one, id)!
  expect(refusal?.message).toContain('529 overloaded_error')
})
