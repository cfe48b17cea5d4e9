/** Limits and budgets of a tenant on real parts: several instances, one store, the provider's own ledger. */
import { APIError } from '@anthropic-ai/sdk'
import { afterEach, describe, expect, test } from 'vitest'
import { snapshot } from '#contracts/snapshot'
import { HeadgateError } from '#client'
import { openDoor, params, type Door } from '../support/door.ts'
import { body, endOf, openHouse, type House } from '../support/house.ts'
import { headgate } from '../support/program.ts'

let house: House | null = null
let door: Door | null = null
afterEach(async () => {
  await house?.close()
  await door?.close()
  house = null
  door = null
})

const TOKENS = 6_000
/** Of one call, as the simulated provider counts it, and as it is expected before anything is known. */
const USED_MOST = 100
const EXPECTED_MOST = 400
/** What is expected after some answers is what they used, within a few tokens. */
const BEYOND_MOST = 10
const budget = (most: number, more = '') =>
  `tenants: { acme: { limits: { budget: { day: { tokens: ${most} }, time_zone: UTC } } } }\n${more}`

async function countOf(ask: (i: number) => Promise<string>, calls: number) {
  const ends = await Promise.all(Array.from({ length: calls }, (_, i) => ask(i)))
  const count = (how: string): number => ends.filter((end) => end === how).length
  return { completed: count('completed'), refused: count('budget_exhausted'), all: ends.length }
}

const usedAt = ({ provider }: House): number =>
  provider.ledger().entries.reduce((sum, { billed }) => sum + billed.input + billed.output, 0)

describe('a budget of tokens', () => {
  test('over two instances nobody is over it, and all of it can be used', async () => {
    house = await openHouse({ yaml: budget(TOKENS), budgets: true })
    const { client, another } = house
    await another()
    let completed = 0
    for (let round = 0; round < 12; round++) {
      const ends = await countOf((i) => endOf(client.request(body(), { id: `r${round}-${i}` })), 20)
      completed += ends.completed
      expect(ends.completed + ends.refused).toBe(ends.all)
    }
    const used = usedAt(house)
    expect(completed).toBeGreaterThan(0)
    // What the calls in flight when it ended used beyond what was expected of them.
    expect(used).toBeLessThanOrEqual(TOKENS + 20 * BEYOND_MOST)
    // What the two may have in hand, and one call's need.
    expect(used).toBeGreaterThan(TOKENS - 3 * EXPECTED_MOST)
  })

  test('what was used is known after a restart', async () => {
    house = await openHouse({ yaml: budget(1_000), budgets: true })
    const { client, scheduler, another } = house
    let ended = ''
    for (let i = 0; i < 1_000 / USED_MOST + 100 && ended !== 'budget_exhausted'; i++)
      ended = await endOf(client.request(body(), { id: `r${i}` }))
    expect(ended).toBe('budget_exhausted')
    const used = usedAt(house)
    const next = await another()
    await scheduler.stop()
    const before = usedAt(house)
    for (let i = 0; i < 20; i++) await endOf(client.request(body(), { id: `again${i}` }))
    expect(usedAt(house)).toBeLessThanOrEqual(1_000 + BEYOND_MOST)
    expect(usedAt(house) - before).toBeLessThanOrEqual(1_000 + BEYOND_MOST - used)
    expect(next.loop.state.inflight).toBe(0)
  })

  test('its owner hears of the mark and of the end, once each over all instances', async () => {
    house = await openHouse({ yaml: budget(2_000), budgets: true })
    const { client, scheduler, another } = house
    const all = [scheduler, await another()]
    for (let i = 0; i < 100; i++) await endOf(client.request(body(), { id: `r${i}` }))
    const told = all.flatMap((one) =>
      one.recording
        .recent()
        .flatMap(({ event }) => (event.name === 'budget' ? [event.data.what] : [])),
    )
    expect(told.toSorted()).toEqual(['end', 'mark'])
  })
})

describe('at the door', () => {
  test('a budget that is used up is a 402 that says so, and the SDK does not try again', async () => {
    door = await openDoor({
      yaml: `tenants: { default: { limits: { budget: { day: { tokens: 10 } } } } }\n`,
    })
    const sdk = door.sdk({ maxRetries: 3 })
    const error = await sdk.messages.create(params()).then(
      () => null,
      (reason: unknown) => reason,
    )
    if (!(error instanceof APIError)) throw new Error('expected an error of the API')
    expect(error.status).toBe(402)
    expect(error.error).toMatchObject({
      type: 'error',
      error: { type: 'billing_error', message: expect.stringContaining('the budget of the day: ') },
      headgate: { code: 'budget_exhausted' },
    })
    expect(error.headers?.get('x-should-retry')).toBe('false')
    expect(door.provider.ledger().entries).toEqual([])
  })

  test('a rate that is used up is a 429 with the time to wait', async () => {
    door = await openDoor({ yaml: `tenants: { default: { limits: { rpm: 1, edge: refuse } } }\n` })
    const sdk = door.sdk()
    await sdk.messages.create(params())
    const error = await sdk.messages.create(params()).then(
      () => null,
      (reason: unknown) => reason,
    )
    if (!(error instanceof APIError)) throw new Error('expected an error of the API')
    expect(error.status).toBe(429)
    expect(error.error).toMatchObject({ headgate: { code: 'tenant_limit' } })
    expect(Number(error.headers?.get('retry-after'))).toBeGreaterThan(50)
  })
})

test('degrade: who allows another model is served by it while the first is beyond the purse', async () => {
  house = await openHouse({
    yaml:
      'prices: { claude-dear: { input: 1000, output: 1000 }, claude-cheap: { input: 0, output: 0.01 } }\n' +
      'routes: [{ model: claude-dear, fallback: [claude-cheap] }, { model: claude-cheap }]\n' +
      'tenants: { acme: { limits: { budget: { day: { usd: 0.01, edge: degrade } } } } }\n',
    budgets: true,
  })
  const { client } = house
  const dear = body({ model: 'claude-dear' })
  const answer = await client.request(dear, { degrade: ['fallback'] })
  expect(answer.accounting).toMatchObject({ servedBy: 'fallback', model: 'claude-cheap' })
  const error = await client.request(dear).catch((reason: unknown) => reason)
  if (!(error instanceof HeadgateError)) throw new Error('expected a refusal')
  expect(error.code).toBe('budget_exhausted')
  expect(error.message).toMatch(/USD of 0\.010000 USD left/)
})

test('an operator gives more by the command, and who had nothing left is served', async () => {
  house = await openHouse({ yaml: budget(10), budgets: true, http: true })
  const { client, nats, scheduler } = house
  expect(await endOf(client.request(body()))).toBe('budget_exhausted')
  const held = () =>
    snapshot
      .parse(scheduler.operator.snapshot())
      .conditions.map(({ condition, about }) => [condition, about])
  expect(held()).toEqual([['budget_end', 'acme/day']])
  const env = { NATS_URL: nats.url }
  const gave = headgate(['budgets', 'add', 'acme', '5000', '--unit', 'tokens', '--json'], env)
  expect(await gave.exit).toBe(0)
  expect(JSON.parse(gave.output())).toMatchObject({ budgets: [{ added: 5_000, left: 5_000 }] })
  await expect.poll(() => endOf(client.request(body())), { timeout: 20_000 }).toBe('completed')
  expect(held()).toEqual([])
  const list = headgate(['budgets'], env)
  expect(await list.exit).toBe(0)
  expect(list.output()).toMatch(/^acme +tokens by day +\S+ +5,010 +\d+/m)
  const told = headgate(['budgets', '--json'], env)
  expect(await told.exit).toBe(0)
  const seen = await fetch(`${scheduler.httpUrl}/api/budgets`)
  expect(await seen.json()).toEqual(JSON.parse(told.output()))
})
