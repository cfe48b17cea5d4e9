/** A job that kills whoever calls for it ends too. */
import { describe, expect, test } from 'vitest'
import { HEADER } from '#contracts/messages'
import { JobWorld } from '../../support/job-world.ts'

test('after five owners that died in its call it has a result, and is kept as dead', async () => {
  const world = new JobWorld({
    seed: 1,
    act({ id }) {
      if (id === 'poison') for (const one of world.living) one.kill()
      return { firstByteMs: 100, end: { kind: 'ok', status: 200, body: Buffer.from(id) } }
    },
  })
  const first = await world.start()
  const stored = first.submit({ tenant: 'acme', id: 'poison' })
  await world.pass(50)
  await stored
  for (let lives = 0; world.published.length < 1 && lives < 20; lives++) {
    if (world.living.length === 0) await world.start()
    await world.pass(30_000)
  }
  const [last] = world.living
  void last?.submit({ tenant: 'acme', id: 'good' })
  await world.pass(5_000)
  const outcomes = new Map(
    world.published.map(({ id, headers }) => [
      id,
      headers.find(([name]) => name === HEADER.outcome)?.[1],
    ]),
  )
  expect(outcomes.get('good')).toBe('completed')
  expect(outcomes.get('poison')).toBe('failed')
  expect(world.instances).toHaveLength(6)
  expect(world.store.dead).toMatchObject([{ reason: 'claims_exhausted', job: { id: 'poison' } }])
  expect([world.store.jobs, world.store.claims]).toEqual([0, 0])
})

describe('an owner that died in a call whose tools may have acted', () => {
  const body = Buffer.from(
    JSON.stringify({
      ...{ model: 'm', max_tokens: 10, messages: [{ role: 'user', content: 'x' }] },
      tools: [{ type: 'web_search_20250305', name: 'web_search' }],
    }),
  )
  /** Kills the one that makes the first call; how often it was called, and what came of the job. */
  async function dies(file: object): Promise<{ calls: number; outcome: string | undefined }> {
    let calls = 0
    const world = new JobWorld({
      seed: 1,
      file,
      act({ id }) {
        calls += 1
        if (calls === 1) for (const one of world.living) one.kill()
        return { firstByteMs: 100, end: { kind: 'ok', status: 200, body: Buffer.from(id) } }
      },
    })
    const first = await world.start()
    const stored = first.submit({ tenant: 'acme', id: 'searches', body })
    await world.pass(50)
    await stored
    await world.start()
    await world.pass(60_000)
    const [result] = world.published
    return { calls, outcome: result?.headers.find(([name]) => name === HEADER.outcome)?.[1] }
  }

  test('the job ends, and is kept for an operator', async () => {
    expect(await dies({})).toEqual({ calls: 1, outcome: 'failed' })
  })

  test('where the operator allows it, the call is made again', async () => {
    const file = { llm_gateway: { retry: { acting: true } } }
    expect(await dies(file)).toEqual({ calls: 2, outcome: 'completed' })
  })
})
