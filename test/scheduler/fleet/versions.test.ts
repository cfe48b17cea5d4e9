/** Members of different versions, one release apart, share a record; two releases apart the older one stands back. */
import { expect, test } from 'vitest'
import { seededDice } from '#core/estimators/dice'
import type { Share } from '#core/model/share'
import { Membership } from '#scheduler/fleet/membership'
import { newRecord, RECORD_VERSION } from '#scheduler/fleet/record'
import type { RouteDemand } from '#scheduler/fleet/route-parts'
import { memoryFleetStore } from '#scheduler/memory/fleet-store'
import { manualClock } from '../../support/manual-clock.ts'

const WHOLE = 60

async function join(
  store: ReturnType<typeof memoryFleetStore>,
  routes: ReadonlyMap<string, RouteDemand> = new Map(),
) {
  const shares: Share[] = []
  const troubles: string[] = []
  const clock = manualClock()
  const member = new Membership({
    ...{ store, clock, dice: seededDice(1), name: 'older', incarnation: 'o', version: '0.1.0' },
    demand: () => ({
      ...{ inflight: 0, queued: WHOLE, whole: WHOLE, capacity: WHOLE },
      ...{ config: 'c', limits: new Map(), routes },
    }),
    onShare: (given) => shares.push(given),
    onLimit: () => {},
    anybody: () => Promise.resolve(true),
    news: (news) => {
      if (news.kind === 'trouble') troubles.push(news.reason)
    },
  })
  await member.open()
  return { member, clock, troubles, slots: () => shares.at(-1)?.slots ?? 0 }
}

/** It shares the whole only, and would not know that more is wanted of a route. */
test('a member of the version before this one is asked for no route', async () => {
  const store = memoryFleetStore()
  const before = { ...newer, limits: { x: { epoch: 0, limit: 30 } } }
  const record = { ...newRecord('r', true), members: { before } }
  await store.write(JSON.stringify(record), 0)
  const routes = new Map([['x', { inflight: 10, live: 40 }]])
  const { member, clock } = await join(store, routes)
  clock.advance(600)
  await Promise.resolve()
  const kept = JSON.parse((await store.read())!.text) as { members: { older: object } }
  expect(kept.members.older).toMatchObject({ routes: {} })
  member.close()
})

const newer = {
  ...{ incarnation: 'n', seq: 4, lease: 10_000, held: 20, want: 20, inflight: 3, whole: WHOLE },
  ...{ config: 'c', version: '0.2.0', leaving: false, limits: {}, process: 'p' },
  colour: 'a word of the next version',
}

test('what the next version adds to a record is kept as it was read', async () => {
  const store = memoryFleetStore()
  const record = { ...newRecord('r', true), motto: 'of the record', members: { newer } }
  await store.write(JSON.stringify(record), 0)
  const { member, slots } = await join(store)
  expect(slots()).toBe(WHOLE - newer.held)
  const kept = JSON.parse((await store.read())?.text ?? '{}') as typeof record
  expect(kept).toMatchObject({ motto: 'of the record', members: { newer } })
  expect(Object.keys(kept.members)).toEqual(['newer', 'older'])
  member.close()
})

test('a record that it cannot divide by is told and left as it is, and it takes nothing', async () => {
  const store = memoryFleetStore()
  const text = JSON.stringify({
    ...newRecord('r', true),
    v: RECORD_VERSION + 1,
    members: { newer },
  })
  await store.write(text, 0)
  const { member, clock, troubles, slots } = await join(store)
  clock.advance(60_000)
  await Promise.resolve()
  expect(slots()).toBe(0)
  expect((await store.read())?.text).toBe(text)
  expect(troubles).toEqual([
    `the record of the fleet is of version ${RECORD_VERSION + 1}; this instance reads ${RECORD_VERSION}`,
  ])
  member.close()
})
