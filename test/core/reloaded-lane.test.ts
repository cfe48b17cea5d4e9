/** A lane that becomes preemptible, or ceases to be, while its attempts run. */
import { expect, test } from 'vitest'
import { configOf, CoreWorld } from '../support/core-world.ts'

test.each([
  ['becomes', false],
  ['ceases to be', true],
])('what was in flight when it %s preemptible is given back as it was taken', (_how, before) => {
  const lanes = (preemptible: boolean) => ({ lanes: { extra: { preemptible } } })
  const world = new CoreWorld(lanes(before))
  for (let i = 0; i < 10; i++) world.submit({ lane: 'extra', tenant: `t${i}` })
  world.input({ type: 'config', config: configOf(lanes(!before)) })
  for (const key of world.running()) world.end(key, 'ok')
  for (let second = 0; second < 60; second++) {
    world.advance(1_000)
    world.tick()
  }
  // Nobody needs anything any more, so that batch may have every slot.
  const [route] = world.state.routes.values()
  expect([world.state.firm.inflight, world.state.firm.free, route?.firm.free]).toEqual([0, 0, 0])
})
