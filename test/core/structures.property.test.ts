/** The small structures that everything stands on, against the plainest thing that could replace them. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { CostBook, RunningQuantile } from '#core/estimators/cost'
import { seededDice } from '#core/estimators/dice'
import { IndexedHeap } from '#core/estimators/indexed-heap'
import { Lately } from '#core/estimators/lately'
import { LinkedList, type Linked } from '#core/estimators/linked-list'
import { Timer, TimerHeap } from '#scheduler/loop/timer-heap'
import { configOf } from '../support/core-world.ts'

test('an indexed heap gives its items in order, however they are moved and removed', () => {
  const act = fc.record({
    do: fc.constantFrom('push', 'move', 'remove', 'pop'),
    which: fc.nat(),
    value: fc.integer({ min: 0, max: 50 }),
  })
  fc.assert(
    fc.property(fc.array(act, { maxLength: 200, size: 'max' }), (acts) => {
      const heap = new IndexedHeap<{ heapAt: number; value: number }>((a, b) => a.value < b.value)
      const items: { heapAt: number; value: number }[] = []
      for (const { do: what, which, value } of acts) {
        if (what === 'push' || items.length === 0) {
          const item = { heapAt: -1, value }
          items.push(item)
          heap.push(item)
        } else if (what === 'move') {
          const item = items[which % items.length]!
          item.value = value
          heap.moved(item)
        } else {
          const item = what === 'pop' ? heap.top()! : items[which % items.length]!
          heap.remove(item)
          items.splice(items.indexOf(item), 1)
          expect(item.heapAt).toBe(-1)
        }
        expect(heap.size).toBe(items.length)
        expect(heap.top()?.value).toBe(
          items.length === 0 ? undefined : Math.min(...items.map((one) => one.value)),
        )
        for (const item of items) expect(heap.values()[item.heapAt]).toBe(item)
      }
    }),
    { numRuns: 200, seed: 7 },
  )
})

test('timers fire in order of due time, and of setting where it is equal; cleared ones never do', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ due: fc.nat(20), clear: fc.boolean(), again: fc.option(fc.nat(20)) })),
      (rows) => {
        const heap = new TimerHeap()
        const fired: number[] = []
        const expected: { due: number; order: number; id: number }[] = []
        let order = 0
        rows.forEach(({ due, clear, again }, id) => {
          const timer = new Timer(() => fired.push(id))
          heap.set(timer, due)
          let last = { due, order: order++, id }
          if (again !== null) {
            heap.set(timer, again)
            last = { due: again, order: order++, id }
          }
          if (clear) heap.clear(timer)
          else expected.push(last)
        })
        for (let now = 0; now <= 20; now++) while (heap.fireNext(now));
        expected.sort((a, b) => a.due - b.due || a.order - b.order)
        expect(fired).toEqual(expected.map((one) => one.id))
        expect(heap.size).toBe(0)
      },
    ),
    { numRuns: 300, seed: 7 },
  )
})

test.each([0.5, 0.75, 0.85])('a running quantile settles near the true one (p = %d)', (p) => {
  const dice = seededDice(3)
  const quantile = new RunningQuantile(p)
  const values: number[] = []
  for (let i = 0; i < 20_000; i++) {
    // Lognormal by twelve uniforms: what durations look like.
    let z = -6
    for (let k = 0; k < 12; k++) z += dice.next()
    const value = Math.exp(z * 0.8)
    quantile.add(value)
    if (i > 2_000) values.push(value)
  }
  values.sort((a, b) => a - b)
  const truth = values[Math.floor(p * values.length)]!
  expect(quantile.value / truth).toBeGreaterThan(0.8)
  expect(quantile.value / truth).toBeLessThan(1.25)
})

test('estimates move from the prior to the model to the tenant as evidence comes', () => {
  const config = configOf({})
  const costs = new CostBook()
  const ask = (tenant: string) =>
    costs.estimate({ tenant, model: 'm', maxTokens: 1_000, bytes: 700 }, config)
  const teach = (tenant: string, outputTokens: number, times: number): void => {
    for (let i = 0; i < times; i++)
      costs.learn(
        { tenant, model: 'm', maxTokens: 1_000, bytes: 350 },
        {
          duration: 0.5 + outputTokens / 100,
          ttft: 0.5,
          outputTokens,
          inputTokens: 200,
          cachedShare: 0.25,
          estimated: 6,
        },
        config,
        1_000,
      )
  }
  expect(ask('a')).toEqual({
    duration: 6,
    inputTokens: 200,
    outputTokens: 300,
    evidence: false,
    own: false,
    priority: false,
  })
  expect(costs.service({ model: 'm' }, ask('a'), 1_000)).toBe(0)
  teach('b', 40, 19)
  expect(ask('a').evidence).toBe(false)
  teach('b', 40, 1)
  // A running quantile of equal samples wavers by 2 % around them.
  expect(ask('a').evidence).toBe(true)
  expect(Math.abs(ask('a').outputTokens - 40)).toBeLessThan(2)
  expect(ask('a').duration).toBeCloseTo(0.5 + 0.4, 1)
  // 350 characters were 200 tokens each time, where 100 are guessed; a quarter came from the cache.
  expect(ask('a').inputTokens).toBe(300)
  expect(
    costs.estimate({ tenant: 'a', model: 'other', maxTokens: 1_000, bytes: 700 }, config)
      .inputTokens,
  ).toBe(200)
  teach('a', 400, 20)
  expect(Math.abs(ask('a').outputTokens - 400)).toBeLessThan(20)
  expect(Math.abs(ask('b').outputTokens - 40)).toBeLessThan(2)
  expect(costs.service({ model: 'm' }, ask('a'), 1_000)).toBeGreaterThan(ask('a').duration)
  // Nothing was learned for half a minute: what was known refuses nobody any more.
  expect(costs.service({ model: 'm' }, ask('a'), 31_001)).toBe(0)
})

test('answers that come whole teach how long those of their size take, and nothing of others', () => {
  const config = configOf({})
  const costs = new CostBook()
  const asked = (maxTokens: number, tenant = 'a', stream = false) => ({
    ...{ tenant, model: 'm', maxTokens, bytes: 350, stream },
  })
  const whole = { ttft: null, inputTokens: null, cachedShare: null, estimated: 1 }
  const teach = (maxTokens: number, outputTokens: number, duration: number): void => {
    for (let i = 0; i < 40; i++)
      costs.learn(asked(maxTokens), { ...whole, outputTokens, duration }, config, 0)
  }
  // Yes or no, in 0.4 s: ten tokens a second, if all of it were writing.
  teach(4, 4, 0.4)
  expect(Math.abs(costs.estimate(asked(4), config).duration - 0.4)).toBeLessThan(0.04)
  expect(costs.estimate(asked(4), config)).toMatchObject({ evidence: true, own: true })
  expect(costs.estimate(asked(1_024), config).evidence).toBe(false)
  teach(1_024, 300, 5)
  expect(Math.abs(costs.estimate(asked(1_024), config).duration - 5)).toBeLessThan(0.4)
  expect(Math.abs(costs.estimate(asked(4), config).duration - 0.4)).toBeLessThan(0.04)
  // Nothing is called a hang that the slowest of them would take.
  expect(costs.longest(asked(1_024), config)).toBeGreaterThan(1_024 / 60)
  // A streamed one of this size takes its slot for as long.
  expect(costs.estimate(asked(1_024, 'a', true), config).duration).toBeGreaterThan(4.5)
  // What others took is not the tenant's own.
  expect(costs.estimate(asked(1_024, 'b'), config)).toHaveProperty('own', false)
})

test('what is learned of tenants is bounded', () => {
  const config = configOf({ scheduling: { learned_max: 10 } })
  const costs = new CostBook()
  const sample = {
    duration: 1,
    ttft: 0.5,
    outputTokens: 10,
    inputTokens: null,
    cachedShare: null,
    estimated: 6,
  }
  const learn = (tenant: string, times: number): void => {
    for (let i = 0; i < times; i++)
      costs.learn({ tenant, model: 'm', maxTokens: 8, bytes: 350 }, sample, config, 0)
  }
  learn('old', 30)
  for (let i = 0; i < 30; i++) learn(`t${i}`, 1)
  learn('t29', 1)
  const own = costs.estimate({ tenant: 'old', model: 'm', maxTokens: 512, bytes: 700 }, config)
  expect(own.outputTokens).toBe(300)
})

interface Link extends Linked<Link> {
  name: number
}

test('a linked list gives its items in the order in which they joined, whoever has left', () => {
  fc.assert(
    fc.property(fc.array(fc.nat({ max: 9 }), { maxLength: 60 }), (moves) => {
      const list = new LinkedList<Link>()
      const model: Link[] = []
      const items = Array.from({ length: 10 }, (_, name): Link => ({
        name,
        before: null,
        after: null,
      }))
      for (const which of moves) {
        const item = items[which]!
        if (model.includes(item)) {
          list.delete(item)
          model.splice(model.indexOf(item), 1)
          expect([item.before, item.after]).toEqual([null, null])
        } else {
          list.add(item)
          model.push(item)
        }
        expect([...list].map(({ name }) => name)).toEqual(model.map(({ name }) => name))
      }
    }),
  )
})

test('of many names those used lately are known, and never more than may be', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 2, max: 20 }),
      fc.array(fc.nat({ max: 30 }), { maxLength: 200, size: 'max' }),
      (most, uses) => {
        const known = new Lately<{ used: number }>()
        const lately: string[] = []
        for (const use of uses) {
          const name = `t${use}`
          const had = known.get(name)
          const one = known.use(name, most, () => ({ used: 0 }))
          if (had !== undefined) expect(one).toBe(had)
          one.used++
          expect(known.size).toBeLessThanOrEqual(most + 1)
          lately.splice(0, lately.length, ...lately.filter((other) => other !== name), name)
          // Half of what may be, by use, is never forgotten.
          for (const other of lately.slice(-Math.floor(most / 2)))
            expect(known.get(other)).toBeDefined()
        }
      },
    ),
  )
})
