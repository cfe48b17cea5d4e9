/** Calls whose tools run at the provider (control-laws §11): nobody makes them twice but their caller. */
import { expect, test } from 'vitest'
import { CoreWorld, verdictOf } from '../support/core-world.ts'

const broken = verdictOf('hang', { status: null, mayHaveRun: true })
const ended = (world: CoreWorld) => world.outcomes.get('a/one')?.[0]
const retried = (world: CoreWorld) => world.effects.some(({ type }) => type === 'backoff')

test.each([
  [true, false, 'MAY_HAVE_ACTED'],
  [true, true, undefined],
  [false, false, undefined],
])(
  'may act %s, knob %s: after an attempt that may have run it ends %s',
  (mayAct, acting, reason) => {
    const world = new CoreWorld({ llm_gateway: { retry: { acting } } })
    world.submit({ id: 'one', mayAct })
    world.end('a/one', broken)
    expect(ended(world)).toBe(reason)
    expect(retried(world)).toBe(reason === undefined)
  },
)

test('what never ran is tried again all the same', () => {
  const world = new CoreWorld()
  world.submit({ id: 'one', mayAct: true })
  world.end('a/one', 'overloaded')
  expect(retried(world)).toBe(true)
})

test.each([
  [true, false, 0],
  [true, true, 1],
  [false, false, 1],
])('may act %s, knob %s: preempted %i times', (mayAct, acting, preempted) => {
  const world = new CoreWorld({
    llm_gateway: { max_inflight_global: 1, retry: { acting } },
    preemption: { check_ms: 100 },
    lanes: { batch: { minimum_share: 0 } },
  })
  world.submit({ id: 'one', lane: 'batch', mayAct })
  world.submit({ id: 'two', tenant: 'b' })
  world.advance(1_000)
  const aborted = world.effects.filter((e) => e.type === 'abort-attempt' && e.why === 'preempt')
  expect(aborted).toHaveLength(preempted)
})
