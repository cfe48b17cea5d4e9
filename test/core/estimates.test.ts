/** A request is estimated anew when it is its turn: an answer in the same instant may have taught something. */
import { test } from 'vitest'
import { CoreWorld, verdictOf } from '../support/core-world.ts'

test('what an answer teaches counts for those who came in the same millisecond', () => {
  const world = new CoreWorld({
    llm_gateway: { max_inflight_global: 8 },
    routes: [
      { model: 'm0', quota: 'q', itpm: 4_000 },
      { model: 'm1', quota: 'q' },
    ],
  })
  const end = (which: number, left: number): void => {
    const running = world.running()
    const key = running[which % running.length]
    if (key === undefined) return
    const told = { limit: 300, remaining: left }
    const tokens = { limit: 60_000, remaining: left * 1_000 }
    world.end(
      key,
      verdictOf('ok', {
        rate: { requests: told, inputTokens: tokens, outputTokens: tokens },
        usage: {
          ...{ inputTokens: 10 * left, outputTokens: 20 * left },
          ...{ cacheCreationTokens: 0, cacheReadTokens: left },
        },
      }),
    )
  }
  const sub = (tenant: number, model: number, id?: number): void =>
    void world.submit({
      ...{ tenant: `t${tenant}`, lane: 'premium', model: `m${model}` },
      ...(id === undefined ? {} : { id: `i${id}`, stream: false, deadlineMs: null }),
    })
  const burst = (model: number): void => {
    for (let i = 0; i < 2; i++) sub(0, model)
  }
  // Each step checks every law (I5: nothing that could start is left).
  sub(0, 0, 0)
  end(0, 13)
  for (const model of [0, 0, 0]) burst(model)
  end(0, 7)
  for (const model of [1, 1]) burst(model)
  sub(0, 0, 0)
  world.advance(843)
  end(1_014_331_557, 20)
  sub(0, 1, 1)
  end(0, 11)
  sub(1, 1, 0)
  end(67_514_948, 11)
  const [key] = world.running()
  if (key !== undefined) world.input({ type: 'progress', key, what: 'first-byte' })
})
