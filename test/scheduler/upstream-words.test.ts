/** What an upstream says beside its answer is kept, and told. */
import { expect, test } from 'vitest'
import { LoopWorld } from '../support/loop-world.ts'
import type { Act } from '../support/scripted-provider.ts'

const USAGE = { inputTokens: 11, cacheCreationTokens: 0, cacheReadTokens: 0, outputTokens: 7 }
const begun: Act = {
  events: ['{}'],
  endMs: Infinity,
  end: { kind: 'ok', usage: USAGE, requestId: 'req_1' },
}

test('an upstream that says not again is not asked again', async () => {
  for (const kind of [
    'overloaded',
    'fault',
    'hang',
    'throttled',
    'unexplained',
    'conflict',
  ] as const) {
    const world = new LoopWorld({
      seed: 1,
      script: () => ({ end: { kind, status: 529, notAgain: true, toldRetryAfterMs: 7_000 } }),
    })
    const id = world.request({ deadlineMs: 300_000 })
    await world.pass(30_000)
    expect(world.answers.get(id)).toMatchObject([
      {
        refusal: {
          code: 'retries_exhausted',
          status: 529,
          retryAfterMs: expect.any(Number) as number,
        },
        accounting: { attempts: 1 },
      },
    ])
    expect(world.answers.get(id)?.[0]?.refusal?.retryAfterMs).toBeGreaterThanOrEqual(7_000)
  }
})

test('a conflict is retried, from the budget, and says nothing of limit or breaker', async () => {
  const world = new LoopWorld({
    seed: 1,
    script: (index) => ({
      end: { kind: index < 2 ? 'conflict' : 'ok', status: index < 2 ? 409 : 200 },
    }),
  })
  const id = world.request({ deadlineMs: 300_000 })
  await world.pass(30_000)
  expect(world.answers.get(id)).toMatchObject([{ refusal: null, accounting: { attempts: 3 } }])
})

test.each([1_500, 30_000, 124_633_000])(
  'a wait of %s ms that the upstream named is told uncut',
  async (ms) => {
    const end = {
      kind: 'throttled',
      status: 429,
      retryAfterMs: Math.min(ms, 300_000),
      toldRetryAfterMs: ms,
    } as const
    const world = new LoopWorld({ seed: 1, script: () => ({ end }) })
    const id = world.request({ maxAttempts: 1 })
    await world.pass(1_000)
    expect(world.answers.get(id)).toMatchObject([{ refusal: { status: 429, retryAfterMs: ms } }])
  },
)

test.each(['cancelled', 'expired'])(
  'what a %s call has used is told and recorded',
  async (outcome) => {
    const world = new LoopWorld({ seed: 1, script: () => begun })
    const id = world.request({ deadlineMs: 5_000 })
    await world.pass(1_000)
    if (outcome === 'cancelled') world.loop.cancel('a', id)
    await world.pass(5_000)
    const told = { inputTokens: 11, outputTokens: 7, upstreamRequestId: 'req_1' }
    expect(world.answers.get(id)).toMatchObject([{ accounting: { outcome, ...told } }])
    const settled = world.events.find(({ name }) => name === 'request.settled')
    expect(settled?.data).toMatchObject({ outcome, input_tokens: 11, output_tokens: 7 })
  },
)
