/** Calls that share a cached prefix wait for the first of them (control-laws §22). */
import { describe, expect, test } from 'vitest'
import type { NewRequest } from '#core/model/inputs'
import { ASIDE_MOST, SPARE, WARM } from '#core/laws/prefixes'
import { whyWaits, waitingBy } from '#core/laws/waiting'
import { CoreWorld, configOf, verdictOf } from '../support/core-world.ts'

const WAIT = 5_000
const worldOf = (more: object = {}, scheduling: object = {}): CoreWorld =>
  new CoreWorld({ scheduling: { prefix_wait_ms: WAIT, ...scheduling }, ...more })

/** Calls of tenant `a` that share prefix `p`, each a millisecond after the one before. */
function siblings(world: CoreWorld, ids: readonly string[], more: Partial<NewRequest> = {}): void {
  for (const id of ids) {
    world.submit({ id, prefix: 'p', ...more })
    world.now += 1
  }
}

const begins = (world: CoreWorld, id: string): void =>
  void world.input({ type: 'progress', key: `a/${id}`, what: 'forwarded' })
const placeOf = (world: CoreWorld, id: string): string | undefined =>
  world.state.requests.get(`a/${id}`)?.place.in
const startsOf = (world: CoreWorld): string[] => world.started().map((key) => key.slice(2))

describe('who stands aside', () => {
  test('siblings, until the first of them begins to answer; then they start in their order', () => {
    const world = worldOf()
    siblings(world, ['one', 'two', 'three', 'four'])
    expect(startsOf(world)).toEqual(['one'])
    expect(['two', 'three', 'four'].map((id) => placeOf(world, id))).toEqual(
      Array.from({ length: 3 }, () => 'aside'),
    )
    world.advance(1_500)
    begins(world, 'one')
    expect(startsOf(world)).toEqual(['one', 'two', 'three', 'four'])
  })

  test.each([
    ['of another prefix', { prefix: 'q' }],
    ['without a prefix', { prefix: null }],
    ['of another model', { model: 'n' }],
    ['of another tenant', { tenant: 'b' }],
  ])('nobody %s', (_, more) => {
    const world = worldOf()
    siblings(world, ['one'])
    siblings(world, ['two'], more)
    expect(world.started()).toHaveLength(2)
  })

  test('in any lane: the cache does not know lanes', () => {
    const world = worldOf()
    siblings(world, ['one'], { lane: 'batch' })
    siblings(world, ['two'], { lane: 'premium' })
    expect(placeOf(world, 'two')).toBe('aside')
  })

  test('nobody where it is not configured', () => {
    const world = worldOf({}, { prefix_wait_ms: 0 })
    siblings(world, ['one', 'two'])
    expect(startsOf(world)).toEqual(['one', 'two'])
    expect(world.state.prefixes.size).toBe(0)
  })

  test('other calls of the same tenant go on, those that came later too', () => {
    const world = worldOf()
    siblings(world, ['one', 'two', 'three'])
    siblings(world, ['else'], { prefix: null })
    siblings(world, ['other'], { prefix: 'q' })
    expect(startsOf(world)).toEqual(['one', 'else', 'other'])
  })

  test('for one prefix not more than a step can bear: the next ones start', () => {
    const many = ASIDE_MOST + 2
    const world = worldOf({ lanes: { interactive: { queue_max: 2 * many, cap: 60 } } })
    siblings(
      world,
      Array.from({ length: 1 + many }, (_, i) => `n${i}`),
    )
    expect(world.state.aside).toBe(ASIDE_MOST)
    expect(startsOf(world)).toHaveLength(3)
  })
})

describe('how long', () => {
  test('at most the knob, from when it stood aside', () => {
    const world = worldOf()
    siblings(world, ['one', 'two'])
    world.now = 3_000
    siblings(world, ['three'])
    world.advance(WAIT - 3_001 + 1 - 1)
    expect(startsOf(world)).toEqual(['one'])
    world.advance(1)
    expect(startsOf(world)).toEqual(['one', 'two'])
    // Two calls write it now: whoever comes waits for them.
    expect(placeOf(world, 'three')).toBe('aside')
    world.advance(2_999)
    expect(startsOf(world)).toEqual(['one', 'two', 'three'])
  })

  test('in all: one that waited for a call that failed has what is left', () => {
    const world = worldOf()
    siblings(world, ['one', 'two', 'three'])
    world.advance(2_000)
    world.end('a/one', 'rejected')
    expect(startsOf(world)).toEqual(['one', 'two'])
    expect(placeOf(world, 'three')).toBe('aside')
    world.advance(WAIT - 2_002)
    expect(startsOf(world)).toEqual(['one', 'two'])
    world.advance(1)
    expect(startsOf(world)).toEqual(['one', 'two', 'three'])
  })

  test('not longer than its deadline leaves it more than the service it is expected to need', () => {
    const world = worldOf({}, { prefix_wait_ms: 60_000 })
    siblings(world, ['one'])
    const { duration } = world.state.requests.get('a/one')!.expected
    const need = SPARE * 1_000 * duration
    siblings(world, ['two'], { deadlineMs: need + 700 })
    siblings(world, ['late'], { deadlineMs: need - 1 })
    expect(startsOf(world)).toEqual(['one', 'late'])
    world.advance(697)
    expect(placeOf(world, 'two')).toBe('aside')
    world.advance(1)
    expect(startsOf(world)).toEqual(['one', 'late', 'two'])
  })

  test('that service is what answers took, where they take longer than was expected of them', () => {
    const world = worldOf({}, { prefix_wait_ms: 60_000 })
    for (let i = 0; i < 40; i++) {
      siblings(world, [`t${i}`], { prefix: null })
      world.advance(1_000 * (i % 4 === 0 ? 8 : 1))
      world.end(`a/t${i}`, verdictOf('ok', { usage: usage(100), ttftMs: 200 }))
    }
    siblings(world, ['one'])
    const { state } = world
    const { asked } = state.requests.get('a/one')!
    const estimate = state.costs.estimate(asked, state.config)
    const service = state.costs.service({ model: 'm' }, estimate, world.now)
    expect(service).toBeGreaterThan(1.2 * estimate.duration)
    world.submit({ id: 'two', prefix: 'p', deadlineMs: 30_000 })
    const { place, deadline } = state.requests.get('a/two')!
    expect(place).toMatchObject({ in: 'aside', until: deadline - SPARE * 1_000 * service })
  })

  test('a deadline that passes while its slot is not free is its end, once', () => {
    const world = worldOf()
    siblings(world, ['one'])
    siblings(world, ['two'], { deadlineMs: 30_000 })
    world.setLimit('default-m', 1)
    world.advance(40_000)
    expect(world.outcomes.get('a/two')).toHaveLength(1)
    world.end('a/one')
  })
})

describe('when it ends', () => {
  test.each(['overloaded', 'rejected', 'fault', 'ended'] as const)(
    'the first fails before it answers (%s): the next one leads, and the others wait for it',
    (kind) => {
      const world = worldOf()
      siblings(world, ['one', 'two', 'three'])
      if (kind === 'ended') world.input({ type: 'cancel', key: 'a/one' })
      world.end('a/one', kind)
      expect(startsOf(world)).toEqual(['one', 'two'])
      expect(placeOf(world, 'three')).toBe('aside')
      begins(world, 'two')
      expect(startsOf(world)).toEqual(['one', 'two', 'three'])
    },
  )

  test('a first byte may be an error’s: nothing is warm by it', () => {
    const world = worldOf()
    siblings(world, ['one', 'two', 'three'])
    world.input({ type: 'progress', key: 'a/one', what: 'first-byte' })
    expect(startsOf(world)).toEqual(['one'])
    world.end('a/one', 'overloaded')
    expect(startsOf(world)).toEqual(['one', 'two'])
    expect(placeOf(world, 'three')).toBe('aside')
  })

  test('one of two that write it fails: the others wait for the second', () => {
    const world = worldOf()
    siblings(world, ['one', 'two'])
    world.advance(WAIT)
    siblings(world, ['three'])
    expect(startsOf(world)).toEqual(['one', 'two'])
    world.end('a/one', 'rejected')
    expect(placeOf(world, 'three')).toBe('aside')
    world.end('a/two', 'rejected')
    expect(startsOf(world)).toEqual(['one', 'two', 'three'])
  })

  test('an answer that is not streamed is one', () => {
    const world = worldOf()
    siblings(world, ['one', 'two', 'three'])
    world.end('a/one')
    expect(startsOf(world)).toEqual(['one', 'two', 'three'])
  })

  test('warm for five minutes since one last began to answer; then one goes first again', () => {
    const world = worldOf()
    siblings(world, ['one'])
    begins(world, 'one')
    world.end('a/one')
    world.advance(200_000)
    siblings(world, ['two', 'three'])
    expect(startsOf(world)).toEqual(['one', 'two', 'three'])
    begins(world, 'two')
    begins(world, 'three')
    const since = world.now
    world.advance(100_000)
    for (const id of ['two', 'three']) world.end(`a/${id}`)
    world.advance(WARM - 100_000 - 2)
    siblings(world, ['four', 'five'])
    expect(world.now).toBe(since + WARM)
    expect(startsOf(world).slice(3)).toEqual(['four', 'five'])
    siblings(world, ['six'])
    expect(placeOf(world, 'six')).toBe('aside')
  })
})

test('nobody waits for what the provider does not keep, as the last answer says', () => {
  const world = worldOf()
  const tokens = (cacheCreationTokens: number, cacheReadTokens: number) =>
    verdictOf('ok', { usage: { ...usage(20), cacheCreationTokens, cacheReadTokens } })
  for (const [i, { say, waits }] of [
    { say: tokens(0, 0), waits: false },
    { say: verdictOf('ok'), waits: false },
    { say: tokens(900, 0), waits: true },
    { say: verdictOf('rejected', { usage: usage(0) }), waits: true },
    { say: tokens(0, 0), waits: false },
    { say: tokens(0, 900), waits: true },
  ].entries()) {
    siblings(world, [`first${i}`])
    world.end(`a/first${i}`, say)
    world.advance(WARM)
    siblings(world, [`second${i}`, `third${i}`])
    expect([i, placeOf(world, `third${i}`)]).toEqual([i, waits ? 'aside' : 'slot'])
    for (const id of ['second', 'third']) world.end(`a/${id}${i}`)
    world.advance(WARM)
  }
})

describe('back at the head', () => {
  test('in the old order, whatever came meanwhile and whoever comes back first', () => {
    const world = worldOf()
    siblings(world, ['one', 'two'])
    world.advance(1_000)
    siblings(world, ['three', 'four'])
    world.setLimit('default-m', 1)
    siblings(world, ['else'], { prefix: null })
    // Each by its own timer, while no slot is free.
    world.advance(10_000)
    expect(world.state.aside).toBe(0)
    world.setLimit('default-m', 20)
    expect(startsOf(world)).toEqual(['one', 'two', 'three', 'four', 'else'])
  })

  test('in the order in which they first stood aside, whatever they have waited for since', () => {
    const world = worldOf({}, { prefix_wait_ms: 20_000 })
    siblings(world, ['p1', 'p2', 'p3'])
    siblings(world, ['q1', 'q2'], { prefix: 'q' })
    world.end('a/p1', 'rejected')
    expect(startsOf(world)).toEqual(['p1', 'q1', 'p2'])
    expect([placeOf(world, 'p3'), placeOf(world, 'q2')]).toEqual(['aside', 'aside'])
    world.setLimit('default-m', 1)
    begins(world, 'q1')
    begins(world, 'p2')
    world.setLimit('default-m', 20)
    expect(startsOf(world).slice(3)).toEqual(['p3', 'q2'])
  })

  test('each in its own lane', () => {
    const world = worldOf()
    siblings(world, ['one', 'two'])
    siblings(world, ['three'], { lane: 'batch' })
    siblings(world, ['four'])
    world.setLimit('default-m', 1)
    begins(world, 'one')
    const queued = [...world.state.requests.values()].filter(({ place }) => place.in === 'queue')
    expect(queued.map(({ key, lane, flow }) => [key, lane.config.name, flow.queued])).toEqual([
      ['a/two', 'interactive', 2],
      ['a/three', 'batch', 1],
      ['a/four', 'interactive', 2],
    ])
    world.setLimit('default-m', 20)
    expect(startsOf(world)).toEqual(['one', 'three', 'two', 'four'])
  })

  test('its visit begins anew: it may ask a batch attempt to yield as one that has just come', () => {
    const world = worldOf({}, { prefix_wait_ms: 60_000 })
    siblings(world, ['one'])
    siblings(world, ['busy'], { prefix: null })
    world.setLimit('default-m', 2)
    siblings(world, ['two'])
    world.advance(2_000)
    expect(world.state.requests.get('a/two')!.checked).toBe(true)
    world.end('a/busy')
    expect(placeOf(world, 'two')).toBe('aside')
    world.setLimit('default-m', 1)
    world.advance(3_000)
    begins(world, 'one')
    expect(placeOf(world, 'two')).toBe('queue')
    expect(world.effects.at(-1)).toMatchObject({
      ...{ type: 'wake-at', request: { key: 'a/two' } },
      at: world.now + world.state.config.file.preemption.check_ms,
    })
  })

  test('a leader that is tried again may be a sibling', () => {
    const world = worldOf()
    siblings(world, ['one', 'two'])
    world.end('a/one', 'overloaded')
    world.advance(1_000)
    expect(startsOf(world)).toEqual(['one', 'two'])
    expect(placeOf(world, 'one')).toBe('aside')
    begins(world, 'two')
    expect(startsOf(world)).toEqual(['one', 'two', 'one'])
  })

  test('a changed configuration: who stands aside is looked at anew', () => {
    const world = worldOf()
    siblings(world, ['one', 'two'])
    world.input({ type: 'config', config: configOf({ scheduling: { prefix_wait_ms: 9_000 } }) })
    expect(placeOf(world, 'two')).toBe('aside')
    world.advance(8_997)
    expect(placeOf(world, 'two')).toBe('aside')
    world.input({ type: 'config', config: configOf({}) })
    expect(startsOf(world)).toEqual(['one', 'two'])
  })
})

describe('whoever stands aside waits like others', () => {
  test('in every count, and says for what', () => {
    const world = worldOf()
    siblings(world, ['one', 'two', 'three'])
    const { state } = world
    const two = state.requests.get('a/two')!
    expect([state.queued, two.lane.queued, two.tenant.queued, two.flow.queued]).toEqual([
      2, 2, 2, 2,
    ])
    expect(two.laneRoute.queue.queued).toBe(2)
    expect(two.laneRoute.queue.standing).toBe(0)
    expect(whyWaits(state, two, 1_001)).toMatchObject({ reason: 'prefix', untilMs: WAIT - 1_000 })
    expect(waitingBy(state, 1_001)).toEqual([
      {
        ...{ lane: 'interactive', route: 'default-m', reason: 'prefix', count: 2 },
        ...{ oldest_ms: 1_000, tenant: null, bound: null, until_ms: WAIT - 1_000 },
      },
    ])
  })

  test('a full queue is full of them too, and the newest of who holds most goes', () => {
    const world = worldOf({ lanes: { interactive: { queue_max: 3 } } }, { tenant_queue_share: 1 })
    siblings(world, ['one', 'two', 'three', 'four'])
    world.submit({ id: 'five', prefix: 'p' })
    expect(world.effects.at(-1)).toMatchObject({ type: 'refused', key: 'a/five' })
    world.submit({ tenant: 'b', id: 'other' })
    expect(world.outcomes.get('a/four')).toEqual(['QUEUE_FULL'])
    expect(world.started()).toEqual(['a/one', 'b/other'])
  })

  test('cancelled or drained it has one outcome, and nothing is left', () => {
    const world = worldOf()
    siblings(world, ['one', 'two', 'three'])
    world.input({ type: 'cancel', key: 'a/two' })
    expect(world.outcomes.get('a/two')).toEqual(['CANCELLED'])
    world.input({ type: 'drain' })
    expect(world.outcomes.get('a/three')).toEqual(['SHUTDOWN'])
    world.end('a/one')
    expect(world.state).toMatchObject({ aside: 0, queued: 0, inflight: 0 })
  })

  test('its wait is its queue time, and no sign that the provider gives less', () => {
    const world = worldOf()
    siblings(world, ['one', 'two'])
    world.advance(3_000)
    begins(world, 'one')
    const two = world.state.requests.get('a/two')!
    expect(two.queueMs).toBe(3_001)
    expect(two.asideMs).toBe(3_001)
    // Of these two first starts none counts as slow.
    expect(
      world.state.load.review({ capacity: 1, usual: 100, firmInflight: 100, now: world.now }),
    ).toBe(2)
  })

  test('while all who wait stand aside nobody is told of a wait, and the pace is not seen as slow', () => {
    const world = worldOf({}, { prefix_wait_ms: 60_000 })
    siblings(world, ['t0'], { prefix: null })
    world.setLimit('default-m', 1)
    siblings(
      world,
      Array.from({ length: 40 }, (_, i) => `t${i + 1}`),
      { prefix: null },
    )
    for (let i = 0; i < 41; i++) {
      world.advance(1_000)
      world.end(`a/t${i}`, verdictOf('ok', { usage: usage(500), ttftMs: 200 }))
      world.tick()
    }
    world.setLimit('default-m', 20)
    siblings(world, ['one', 'two', 'three'])
    const { pace, queue } = world.state.requests.get('a/two')!.laneRoute
    const before = pace.usable
    expect(before).toBeGreaterThan(0)
    for (let i = 0; i < 4; i++) {
      world.advance(1_000)
      world.tick()
    }
    expect([queue.queued, queue.standing]).toEqual([2, 0])
    expect(pace.usable).toBe(before)
    world.submit({ id: 'else', deadlineMs: 60_000 })
    expect(world.started().at(-1)).toBe('a/else')
    expect(world.state.requests.get('a/else')!.predictedMs).toBe(0)
  })

  test('nobody is turned away for them while the provider gives little: a slot is free', () => {
    const world = worldOf()
    siblings(world, ['one', 'two'])
    world.state.load.level = 3
    world.state.load.sheds = () => true
    siblings(world, ['else'], { prefix: null })
    expect(startsOf(world)).toEqual(['one', 'else'])
  })

  test('tokens that were kept for it are not, while it does not wait for them', () => {
    const world = worldOf({
      ...{ routes: [{ model: 'm', itpm: 60_000 }], lanes: { batch: { cap: 60 } } },
      llm_gateway: { max_inflight_global: 1_000, max_inflight_per_tenant: 1_000 },
    })
    const giant = { bytes: 70_000, deadlineMs: 600_000, prefix: 'p' }
    world.submit({ ...giant, id: 'first', prefix: null })
    world.submit({ ...giant, id: 'two' })
    world.submit({ ...giant, id: 'one', bytes: 350, lane: 'premium' })
    // Its tokens come while the other writes what it could read.
    expect(startsOf(world)).toEqual(['first', 'one'])
    world.advance(12_500)
    expect(placeOf(world, 'two')).toBe('aside')
    world.submit({ ...giant, tenant: 'b', id: 'else', lane: 'batch', bytes: 350, prefix: null })
    expect(world.started().at(-1)).toBe('b/else')
  })
})

const usage = (outputTokens: number) => ({
  ...{ inputTokens: 10, cacheCreationTokens: 0, cacheReadTokens: 0, outputTokens },
})
