/** What a member says of itself: whether it has a lease, what it may use, and whether its name is its own. */
import { expect, test } from 'vitest'
import { seededDice } from '#core/estimators/dice'
import { LEASE, safePart, SAFE_FOR } from '#core/laws/shares'
import type { FleetStore } from '#ports'
import { Membership } from '#scheduler/fleet/membership'
import { memoryFleetStore } from '#scheduler/memory/fleet-store'
import { manualClock, type ManualClock } from '../../support/manual-clock.ts'

const WHOLE = 60

function memberOn(store: FleetStore, clock: ManualClock, life: string): Membership {
  return new Membership({
    ...{ store, clock, dice: seededDice(1), name: 'one', incarnation: life, version: '0' },
    demand: () => ({
      ...{ inflight: 0, queued: WHOLE, whole: WHOLE, capacity: WHOLE },
      ...{ config: 'c', limits: new Map(), routes: new Map() },
    }),
    onShare: () => {},
    onLimit: () => {},
    anybody: () => Promise.resolve(false),
    news: () => {},
  })
}

const settle = async (): Promise<void> => {
  for (let turn = 0; turn < 50; turn++) await Promise.resolve()
}
const pass = async (clock: ManualClock, ms: number): Promise<void> => {
  for (let at = 0; at < ms; at += 500) {
    clock.advance(500)
    await settle()
  }
}

/** One that answers until it is said that it does not. */
function fickle(): FleetStore & { away: boolean } {
  const store = memoryFleetStore()
  const of = {
    ...store,
    away: false,
    read: () => (of.away ? Promise.reject(new Error('no answer')) : store.read()),
    write: (text: string, over: number) =>
      of.away ? Promise.reject(new Error('no answer')) : store.write(text, over),
  }
  return of
}

test('who cannot write has its safe part after the lease, then nothing, and all when it can again', async () => {
  const [store, clock] = [fickle(), manualClock()]
  const member = memberOn(store, clock, 'a')
  await member.open()
  expect(member.view).toMatchObject({ lapsed: false, usable: WHOLE, nameTaken: null })
  store.away = true
  await pass(clock, LEASE + 500)
  expect(member.view).toMatchObject({ lapsed: true, usable: safePart(WHOLE), reason: 'no answer' })
  await pass(clock, SAFE_FOR)
  expect(member.view).toMatchObject({ lapsed: true, usable: 0 })
  store.away = false
  await pass(clock, 2_000)
  expect(member.view).toMatchObject({ lapsed: false, usable: WHOLE, reason: null, lapses: 1 })
  member.close()
})

test('one that never had a lease says so once it could have had one', async () => {
  const [store, clock] = [fickle(), manualClock()]
  store.away = true
  const member = memberOn(store, clock, 'a')
  await member.open()
  expect(member.view).toMatchObject({ lapsed: false, usable: 0 })
  await pass(clock, LEASE)
  expect(member.view).toMatchObject({ lapsed: true, usable: 0 })
  member.close()
})

test('a name that another process has is told for as long as it has it', async () => {
  const [store, clock] = [memoryFleetStore(), manualClock()]
  const first = memberOn(store, clock, 'a')
  await first.open()
  const second = memberOn(store, clock, 'b')
  await second.open()
  await pass(clock, 5_000)
  expect(first.view).toMatchObject({ name: 'one-a', nameTaken: 'one' })
  expect(second.view).toMatchObject({ name: 'one', nameTaken: null })
  await second.leave()
  await pass(clock, 1_000)
  expect(first.view).toMatchObject({ name: 'one-a', nameTaken: null })
  first.close()
})
