/** What a tenant waits for its own limit is its own: no guardrail, and no number that a fleet is scaled by, counts it. */
import { expect, test } from 'vitest'
import { guardrails } from '../../services/scheduler/observability/guardrails.ts'
import { LoopWorld } from '../support/loop-world.ts'

const WAITED_MS = 10_000

test('is told beside the wait, and left out of the guardrail and the P95', async () => {
  const world = new LoopWorld({
    file: { tenants: { slow: { limits: { rpm: 6 } } } },
    script: () => ({ firstByteMs: 10, endMs: 20, end: { kind: 'ok', status: 200 } }),
  })
  world.request({ tenant: 'slow', id: 'first' })
  world.request({ tenant: 'slow', id: 'second' })
  world.request({ tenant: 'other', id: 'free' })
  await world.pass(WAITED_MS + 1_000)
  const told = world.events.flatMap((event) =>
    event.name === 'request.dispatched'
      ? [[event.data.id, event.data.queue_ms, event.data.own_wait_ms]]
      : [],
  )
  expect(told).toEqual([
    ['first', 0, undefined],
    ['free', 0, undefined],
    ['second', WAITED_MS, WAITED_MS],
  ])
  const { file, lanes } = world.loop.state.config
  const monitor = guardrails({ settings: { ...file.guardrails, min_samples: 1 }, lanes })
  for (const event of world.events) monitor.note(event, 0)
  const p95 = monitor.readings(0).find(({ name }) => name === 'p95_e2e_ms')
  expect(p95?.value).toBeLessThan(100)
  expect(monitor.queueWaitP95(0).get('interactive')).toBeLessThan(100)
  expect(world.bugs).toEqual([])
})
