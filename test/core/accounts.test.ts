/** A tenant's own limits and budgets (control-laws §21). */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Grant } from '#core/model/account'
import { ACCOUNT_BURST } from '#core/model/account'
import { CoreWorld, verdictOf } from '../support/core-world.ts'

const usage = (inputTokens: number, outputTokens: number, more = {}) => ({
  ...{ inputTokens, outputTokens, cacheCreationTokens: 0, cacheReadTokens: 0 },
  ...more,
})

const limited = (limits: unknown, more = {}) =>
  new CoreWorld({ tenants: { acme: { limits } }, ...more })

const reasonOf = (world: CoreWorld, id: string): string | undefined =>
  world.outcomes.get(`acme/${id}`)?.[0] ??
  world.effects.flatMap((e) =>
    e.type === 'refused' && e.key === `acme/${id}` ? [e.refused.reason] : [],
  )[0]

const wordsOf = (world: CoreWorld): string =>
  world.effects
    .flatMap((e) => {
      if (e.type === 'refused') return [e.refused.message]
      return e.type === 'settled' && e.ending.kind === 'refused' ? [e.ending.message] : []
    })
    .at(-1) ?? ''

describe('rates of a tenant', () => {
  test('one at its edge waits for the window, and nobody waits for it', () => {
    const world = limited({ rpm: 60 })
    for (let i = 0; i < 20; i++) world.submit({ tenant: 'acme', id: `a${i}` })
    for (let i = 0; i < 5; i++) world.submit({ tenant: 'other', id: `o${i}` })
    const begun = world.started()
    expect(begun.filter((key) => key.startsWith('acme/'))).toHaveLength(10)
    expect(begun.filter((key) => key.startsWith('other/'))).toHaveLength(5)
    world.advance(999)
    expect(world.started()).toHaveLength(15)
    world.advance(1)
    expect(world.started()).toHaveLength(16)
    world.advance(9_000)
    expect(world.started()).toHaveLength(25)
  })

  test('refuse: it is said which limit, how much is left, and when it comes back', () => {
    const world = limited({ itpm: 1_000, edge: 'refuse' })
    world.submit({ tenant: 'acme', id: 'one', bytes: 3_500 })
    world.submit({ tenant: 'acme', id: 'two', bytes: 3_500 })
    expect(reasonOf(world, 'two')).toBe('TENANT_LIMIT_FIRM')
    expect(wordsOf(world)).toMatch(
      /^tenant acme has used its input tokens per minute: 0 of 1000 left, \d+ needed; enough will have come in \d+ s$/,
    )
    world.advance(120_000)
    world.submit({ tenant: 'acme', id: 'three', bytes: 3_500 })
    expect(world.started()).toContain('acme/three')
  })

  test('degrade: the refusal stands on the ladder', () => {
    const world = limited({ rpm: 6, edge: 'degrade' })
    for (let i = 0; i < 2; i++) world.submit({ tenant: 'acme', id: `a${i}` })
    expect(reasonOf(world, 'a1')).toBe('TENANT_LIMIT')
  })

  test('queue: one that would wait beyond its deadline is told at once', () => {
    const world = limited({ rpm: 6 })
    world.submit({ tenant: 'acme', id: 'first' })
    world.submit({ tenant: 'acme', id: 'patient', deadlineMs: 60_000 })
    world.submit({ tenant: 'acme', id: 'hasty', deadlineMs: 12_000 })
    // The patient one has the next window, and the hasty one the one after it.
    expect(reasonOf(world, 'hasty')).toBe('TENANT_LIMIT_FIRM')
    expect(reasonOf(world, 'patient')).toBeUndefined()
  })

  test('tries after the first are no request of the tenant, but their tokens are', () => {
    const world = limited({ rpm: 60, otpm: 100_000 })
    world.submit({ tenant: 'acme', id: 'a' })
    const account = world.state.accounts.get('acme')!
    const level = account.requests.level
    const tokens = account.outputTokens.level
    world.end('acme/a', 'overloaded')
    // A refused attempt used none.
    expect(account.outputTokens.level).toBeGreaterThan(tokens)
    world.advance(20_000)
    expect(world.started()).toHaveLength(2)
    expect(account.requests.levelAt(world.now)).toBe(Math.min(account.requests.burst, level + 20))
  })

  test('what was taken is put right both ways; preempted work is paid by nobody', () => {
    const world = limited({ otpm: 60_000 })
    const { outputTokens } =
      (world.submit({ tenant: 'acme', id: 'a' }), world.state.accounts.get('acme')!)
    world.end('acme/a', verdictOf('ok', { usage: usage(10, 5_000) }))
    expect(outputTokens.level).toBe(outputTokens.burst - 5_000)
    world.submit({ tenant: 'acme', id: 'b', lane: 'batch' })
    const request = world.state.requests.get('acme/b')!
    if (request.place.in !== 'slot') throw new Error('it runs')
    request.place.attempt.ending = 'preempt'
    world.end('acme/b', verdictOf('ended', { usage: usage(10, 900), mayHaveRun: true }))
    world.advance(0)
    const taken = request.place.in === 'slot' ? request.place.attempt.paid!.outputTokens : 0
    expect(outputTokens.level).toBe(outputTokens.burst - 5_000 - taken)
  })

  test('a changed configuration: other numbers, and none', () => {
    const world = limited({ rpm: 6 })
    for (let i = 0; i < 5; i++) world.submit({ tenant: 'acme', id: `a${i}` })
    expect(world.started()).toHaveLength(1)
    world.input({
      type: 'config',
      config: {
        ...world.state.config,
        tenants: { ...world.state.config.tenants, named: new Map() },
      },
    })
    expect(world.started()).toHaveLength(5)
    expect(world.state.accounts.size).toBe(0)
  })

  test('past limits.accounts_max tenants without a name of their own share an account', () => {
    const world = new CoreWorld({
      limits: { accounts_max: 2 },
      tenants: { default: { limits: { rpm: 6 } } },
    })
    for (const tenant of ['a', 'b', 'c', 'd']) world.submit({ tenant })
    expect(world.started().map((key) => key[0])).toEqual(['a', 'b', 'c'])
    expect([...world.state.accounts.keys()]).toEqual(['a', 'b', '*'])
    world.advance(10_000)
    expect(world.started().map((key) => key[0])).toEqual(['a', 'b', 'c', 'd'])
  })

  test('one who is gone is forgotten when it has all that it may save up, not before', () => {
    const world = new CoreWorld({ tenants: { default: { limits: { rpm: 6 } } } })
    world.submit({ tenant: 'a', id: 'one' })
    world.end('a/one')
    world.advance(5_000)
    for (let i = 0; i < 2; i++) world.tick()
    expect(world.state.accounts.size).toBe(1)
    world.advance(5_000)
    for (let i = 0; i < 2; i++) world.tick()
    expect(world.state.accounts.size).toBe(0)
  })

  test('over any window a tenant starts at most its rate and its burst', () => {
    fc.assert(
      fc.property(
        fc.record({
          rpm: fc.integer({ min: 6, max: 600 }),
          gaps: fc.array(fc.integer({ min: 0, max: 2_000 }), { minLength: 20, maxLength: 120 }),
        }),
        ({ rpm, gaps }) => {
          const world = limited({ rpm })
          const starts: number[] = []
          let seen = 0
          for (const [i, gap] of gaps.entries()) {
            world.advance(gap)
            world.submit({ tenant: 'acme', id: `a${i}` })
            for (const key of world.started().slice(seen)) {
              seen++
              starts.push(world.now)
              world.end(key)
            }
          }
          const burst = Math.max(ACCOUNT_BURST.least, (rpm / 60) * ACCOUNT_BURST.seconds)
          for (const [i, from] of starts.entries())
            for (const [j, to] of starts.entries())
              if (j >= i)
                expect(j - i + 1).toBeLessThanOrEqual(burst + (rpm / 60_000) * (to - from) + 1)
        },
      ),
    )
  })
})

const day = (left: Partial<Grant> = {}): Grant => ({
  ...{ window: '2026-11-30', granted: 1_000, endsAt: 3_600_000, exhausted: false, overall: 5_000 },
  whole: 6_000,
  ...left,
})
const budget = (of: unknown, more = {}) => limited({ budget: { day: of } }, more)
const wanted = (world: CoreWorld) =>
  world.effects.flatMap((e) => (e.type === 'allowance-wanted' ? [e.short] : []))
const grant = (world: CoreWorld, of: Grant | null, unit: 'tokens' | 'usd' = 'tokens') =>
  world.input({ type: 'allowance', account: 'acme', span: 'day', unit, grant: of })

describe('budgets of a tenant', () => {
  test('nothing starts before something is granted, and others do', () => {
    const world = budget({ tokens: 100_000 })
    world.submit({ tenant: 'acme', id: 'a' })
    world.submit({ tenant: 'other', id: 'o' })
    expect(world.started()).toEqual(['other/o'])
    expect(wanted(world)).toHaveLength(1)
    grant(world, day())
    expect(world.started()).toEqual(['other/o', 'acme/a'])
  })

  test('a store that does not answer is asked again, and nothing starts meanwhile', () => {
    const world = budget({ tokens: 100_000 })
    world.submit({ tenant: 'acme', id: 'a' })
    grant(world, null)
    world.advance(1_000)
    expect(wanted(world)).toHaveLength(2)
    expect(world.started()).toEqual([])
    grant(world, day())
    expect(world.started()).toEqual(['acme/a'])
  })

  test('exhausted: refused with what is left and when it begins anew', () => {
    const world = budget({ tokens: 2_000 })
    world.submit({ tenant: 'acme', id: 'a' })
    grant(world, day({ granted: 12, exhausted: true, overall: 0 }))
    expect(reasonOf(world, 'a')).toBe('BUDGET_FIRM')
    expect(wordsOf(world)).toMatch(
      /^tenant acme has used the budget of the day: 12 tokens of 2000 tokens left, \d+ tokens needed; it begins anew in 60 min$/,
    )
    expect(world.started()).toEqual([])
    world.submit({ tenant: 'acme', id: 'b' })
    expect(reasonOf(world, 'b')).toBe('BUDGET_FIRM')
    // What was used beyond it is not said to be left.
    world.state.accounts.get('acme')!.allowances[0]!.left = -700
    world.submit({ tenant: 'acme', id: 'c' })
    expect(wordsOf(world)).toMatch(/of the day: 0 tokens of 2000 tokens left,/)
  })

  test('queue: what may wait until the window ends does, and starts from the new one', () => {
    const world = budget({ tokens: 2_000, edge: 'queue' })
    world.submit({ tenant: 'acme', id: 'a', lane: 'batch' })
    grant(world, day({ granted: 0, exhausted: true, overall: 0 }))
    expect(reasonOf(world, 'a')).toBeUndefined()
    world.advance(3_600_000)
    expect(wanted(world)).toHaveLength(2)
    grant(world, day({ window: '2026-12-01', endsAt: 90_000_000 }))
    expect(world.started()).toEqual(['acme/a'])
  })

  test('the answer settles what was taken, and nothing of a window that has ended', () => {
    const world = budget({ tokens: 100_000 })
    world.submit({ tenant: 'acme', id: 'a' })
    grant(world, day({ granted: 5_000 }))
    const [allowance] = world.state.accounts.get('acme')!.allowances
    world.end('acme/a', verdictOf('ok', { usage: usage(100, 200, { cacheReadTokens: 50 }) }))
    expect(allowance!.left).toBe(5_000 - 350)
    world.submit({ tenant: 'acme', id: 'b' })
    world.advance(3_600_000)
    world.submit({ tenant: 'acme', id: 'c' })
    grant(world, day({ window: '2026-12-01', granted: 3_000, endsAt: 90_000_000 }))
    const before = allowance!.left
    world.end('acme/b', verdictOf('ok', { usage: usage(100, 9_000) }))
    expect(allowance!.left).toBe(before)
  })

  test('money: by the price of the model; none is known, none is spent', () => {
    const prices = { 'claude-a': { input: 2, output: 10 } }
    const world = budget({ usd: 1 }, { prices })
    world.submit({ tenant: 'acme', id: 'a', model: 'claude-a-1' })
    grant(world, day({ granted: 900_000 }), 'usd')
    world.end(
      'acme/a',
      verdictOf('ok', {
        usage: usage(100, 10, { cacheCreationTokens: 100, cacheReadTokens: 1_000 }),
      }),
    )
    const [allowance] = world.state.accounts.get('acme')!.allowances
    expect(allowance!.left).toBeCloseTo(900_000 - (200 + 100 + 250 + 200), 6)
    world.submit({ tenant: 'acme', id: 'b', model: 'unknown' })
    expect(reasonOf(world, 'b')).toBe('BUDGET_FIRM')
    expect(wordsOf(world)).toContain('no price is known of unknown')
  })
})

describe('who waits for its own limit', () => {
  test('is nobody’s backlog: others are let in as if it were not there', () => {
    const world = new CoreWorld({ tenants: { slow: { limits: { rpm: 6 } } } })
    for (let i = 0; i < 12; i++) world.submit({ tenant: 'slow', id: `s${i}`, deadlineMs: 290_000 })
    const endAll = () => {
      for (const key of world.running()) world.end(key, verdictOf('ok', { usage: usage(10, 20) }))
    }
    for (let second = 0; second < 60; second++) {
      // Answers teach how long they take; then nothing comes for a while.
      const calls = second < 20 ? 1 : second < 50 ? 0 : 3
      for (let i = 0; i < calls; i++)
        world.submit({ tenant: 'free', id: `f${second}-${i}`, deadlineMs: 3_000 })
      world.advance(300)
      endAll()
      world.advance(700)
      world.tick()
    }
    const refused = world.effects.filter((e) => e.type === 'refused')
    expect(refused.map((e) => e.refused.message)).toEqual([])
    expect(world.started().filter((key) => key.startsWith('free/'))).toHaveLength(50)
    expect(world.started().filter((key) => key.startsWith('slow/')).length).toBeLessThan(9)
  })
})
