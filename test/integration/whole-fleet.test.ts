/** What a member tells of the whole fleet, held against what each member says of itself. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Snapshot } from '#contracts/snapshot'
import { wholeFleet, type WholeFleet } from '#contracts/whole-fleet'
import { openGuardedHouse } from '../support/guarded-house.ts'
import { headgate } from '../support/program.ts'
import { MODEL, openTornFleet, type TornFleet } from '../support/torn-fleet.ts'

const PATIENCE = { timeout: 30_000, interval: 100 }
const ROUTE = `default-${MODEL}`

let fleet: TornFleet
beforeAll(async () => {
  fleet = await openTornFleet()
}, 60_000)
afterAll(() => fleet.close(), 60_000)

const told = async (url: string): Promise<{ whole: WholeFleet; text: string }> => {
  const text = await (await fetch(`${url}/api/fleet`)).text()
  return { whole: wholeFleet.parse(JSON.parse(text)), text }
}

/** What stands still while the breaker is open, of a member as it says it itself. */
const causeOf = (of: Snapshot) => ({
  batch: of.lanes.find(({ name }) => name === 'batch')?.queued,
  breaker: of.routes[0]?.breaker,
  limit: of.routes[0]?.limit,
})
const shownOf = (whole: WholeFleet, member: string) => {
  const batch = whole.lanes.find(({ name }) => name === 'batch')
  const route = whole.routes
    .find(({ id }) => id === ROUTE)
    ?.parts.find((one) => one.member === member)
  return {
    batch: batch?.parts.find((one) => one.member === member)?.queued,
    breaker: route?.breaker,
    limit: route?.limit,
  }
}

test('one member shows what waits at the other, and its open breaker', async () => {
  fleet.ask({ tenant: 'acme', lane: 'batch', calls: 80 })
  await expect
    .poll(async () => causeOf(await fleet.cut.snapshot()), PATIENCE)
    .toMatchObject({ breaker: 'open' })
  for (const teller of [fleet.whole, fleet.cut])
    await expect
      .poll(async () => {
        const before = causeOf(await fleet.cut.snapshot())
        const { whole } = await told(teller.url)
        const after = causeOf(await fleet.cut.snapshot())
        const shown = JSON.stringify(shownOf(whole, 'cut'))
        const waits = (before.batch ?? 0) > 0 && before.breaker === 'open'
        return waits && [before, after].some((one) => JSON.stringify(one) === shown)
      }, PATIENCE)
      .toBe(true)
})

test('sums are those of the parts, and no prompt or key is in them', async () => {
  // A portion that one gave up is on its way to the other for a moment.
  await expect
    .poll(async () => (await told(fleet.whole.url)).whole.sums, PATIENCE)
    .toMatchObject({ heard: 2, usable: 16 })
  const { whole, text } = await told(fleet.whole.url)
  expect(whole.members.map(({ member, current }) => [member, current])).toEqual([
    ['whole', true],
    ['cut', true],
  ])
  for (const one of [...whole.lanes, ...whole.routes]) {
    expect(one.parts).toHaveLength(2)
    expect(one.queued).toBe(one.parts.reduce((sum, part) => sum + part.queued, 0))
    expect(one.inflight).toBe(one.parts.reduce((sum, part) => sum + part.inflight, 0))
  }
  expect(whole.sums.heard).toBe(2)
  expect(whole.tenants.map(({ tenant }) => tenant)).toEqual(['acme'])
  expect(text).not.toMatch(/planted|sk-torn/)
})

test('headgate top says the same', async () => {
  const run = headgate(['top', '--once', '--nats', fleet.natsUrl], { COLUMNS: '300' })
  expect(await run.exit).toBe(0)
  const said = run.output()
  expect(said).toMatch(/FLEET {2}2 members divide 16 slots/)
  expect(said).toMatch(/default-claude-sonnet-4-5: breaker (OPEN|half open) on cut/)
  expect(said).toMatch(/lane batch: \d+ wait \((whole|cut) \d+/)
})

test('who is killed is said not to be heard, since when, and is in no sum', async () => {
  await expect.poll(async () => (await told(fleet.whole.url)).whole.sums.heard, PATIENCE).toBe(2)
  fleet.cut.program.child.kill('SIGKILL')
  await fleet.cut.program.exit
  const died = Date.now()
  await expect
    .poll(async () => {
      const { whole } = await told(fleet.whole.url)
      return whole.members.find(({ instance }) => instance === fleet.cut.instance)?.current
    }, PATIENCE)
    .toBe(false)
  const { whole } = await told(fleet.whole.url)
  const gone = whole.members.find(({ instance }) => instance === fleet.cut.instance)
  expect(gone?.last?.queued).toBeGreaterThan(0)
  expect(gone?.last?.at).toBeLessThanOrEqual(died)
  expect(gone?.last?.at).toBeGreaterThan(died - 5_000)
  expect(whole.sums.heard).toBe(1)
  expect(whole.routes.flatMap(({ parts }) => parts.map(({ member }) => member))).toEqual(['whole'])
})

test('members hear each other where NATS lets nobody hear more than it must', async () => {
  const house = await openGuardedHouse({ tenants: ['a'], fleet: true })
  try {
    const other = await house.another()
    const heard = async (): Promise<number> => (await told(other.httpUrl ?? '')).whole.sums.heard
    await expect.poll(heard, PATIENCE).toBe(2)
  } finally {
    await house.close()
  }
})
