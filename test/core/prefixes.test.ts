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

const firstByte = (world: CoreWorld, id: string): void =>
  void world.input({ type: 'progress', key: `a/${id}`, what: 'first-byte' })
const placeOf = (world: CoreWorld, id: string): string | undefined =>
  world.state.requests.get(`a/${id}`)?.place.in
const startsOf = (world: CoreWorld): string[] => world.started().map((key) => key.slice(2))

describe('who stands aside', () => {
  test('siblings, until the first of them has its first byte; then they start in their order', () => {
    const world = worldOf()
    siblings(world, ['one', 'two', 'three', 'four'])
    expect(startsOf(world)).toEqual(['one'])
    expect(['two', 'three', 'four'].map((id) => placeOf(world, id))).toEqual(
      Array.from({ length: 3 }, () => 'aside'),
    )
    world.advance(1_500)
    firstByte(world, 'one')
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
    'the first fails before its first byte (%s): the next one leads, and the others wait for it',
    (kind) => {
      const world = worldOf()
      siblings(world, ['one', 'two', 'three'])
      if (kind === 'ended') world.input({ type: 'cancel', key: 'a/one' })
      world.end('a/one', kind)
      expect(startsOf(world)).toEqual(['one', 'two'])
      expect(placeOf(world, 'three')).toBe('aside')
      firstByte(world, 'two')
      expect(startsOf(world)).toEqual(['one', 'two', 'three'])
    },
  )

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

  test('an answer without a first byte of its own is one', () => {
    const world = worldOf()
    siblings(world, ['one', 'two', 'three'])
    world.end('a/one')
    expect(startsOf(world)).toEqual(['one', 'two', 'three'])
  })

  test('warm for five minutes from the last first byte; then one goes first again', () => {
    const world = worldOf()
    siblings(world, ['one'])
    firstByte(world, 'one')
    world.end('a/one')
    world.advance(200_000)
    siblings(world, ['two', 'three'])
    expect(startsOf(world)).toEqual(['one', 'two', 'three'])
    firstByte(world, 'two')
    for (const id of ['two', 'three']) world.end(`a/${id}`)
    const since = world.now
    world.advance(WARM - 2)
    siblings(world, ['four', 'five'])
    expect(world.now).toBe(since + WARM)
    expect(startsOf(world).slice(3)).toEqual(['four', 'five'])
    siblings(world, ['six'])
    expect(placeOf(world, 'six')).toBe('aside')
  })
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

  test('a leader that is tried again may be a sibling', () => {
    const world = worldOf()
    siblings(world, ['one', 'two'])
    world.end('a/one', 'overloaded')
    world.advance(1_000)
    expect(startsOf(world)).toEqual(['one', 'two'])
    expect(placeOf(world, 'one')).toBe('aside')
    firstByte(world, 'two')
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
    firstByte(world, 'one')
    const two = world.state.requests.get('a/two')!
    expect(two.queueMs).toBe(3_001)
    expect(two.asideMs).toBe(3_001)
    // Of these two first starts none counts as slow.
    expect(
      world.state.load.review({ capacity: 1, usual: 100, firmInflight: 100, now: world.now }),
    ).toBe(2)
  })

  test('while all who wait stand aside nobody is told of a wait, and the pace is not seen as slow', () => {
    const world = worldOf()
    for (let i = 0; i < 10; i++) {
      siblings(world, [`t${i}`], { prefix: null })
      world.advance(1_000)
      world.end(`a/t${i}`, verdictOf('ok', { usage: usage(500), ttftMs: 200 }))
      world.tick()
    }
    siblings(world, ['one', 'two', 'three'])
    for (let i = 0; i < 4; i++) {
      world.advance(1_000)
      world.tick()
    }
    expect(world.state.aside).toBe(2)
    world.submit({ id: 'else', deadlineMs: 6_000 })
    expect(world.started().at(-1)).toBe('a/else')
    expect(world.state.requests.get('a/else')!.predictedMs).toBe(0)
  })
})

const usage = (outputTokens: number) => ({
  ...{ inputTokens: 10, cacheCreationTokens: 0, cacheReadTokens: 0, outputTokens },
})
