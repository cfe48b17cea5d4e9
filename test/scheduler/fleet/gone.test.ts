/** Whose process has ended gives its share back at once, where that can be seen; who only stands still does not. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect, test } from 'vitest'
import { seededDice } from '#core/estimators/dice'
import type { Share } from '#core/model/share'
import { isGone, processOf } from '#scheduler/compose/open-fleet'
import { Membership } from '#scheduler/fleet/membership'
import { newRecord } from '#scheduler/fleet/record'
import { memoryFleetStore } from '#scheduler/memory/fleet-store'
import { manualClock } from '../../support/manual-clock.ts'

test('a process that was killed is gone, one that was stopped is not', async () => {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'])
  await once(child, 'spawn')
  const of = processOf(child.pid!)
  expect(isGone(of)).toBe(false)
  child.kill('SIGSTOP')
  expect(isGone(of)).toBe(false)
  child.kill('SIGKILL')
  await once(child, 'exit')
  expect(isGone(of)).toBe(true)
})

test('of another host, and of what makes no sense, nobody knows', () => {
  for (const of of ['elsewhere|boot|pid:[1]|1|1', '', '|||', 'x', processOf(process.pid)])
    expect(isGone(of)).toBe(false)
})

test.each([
  [true, 60],
  [false, 0],
])('a newcomer finds one that holds all: its process has ended: %s', async (gone, slots) => {
  const store = memoryFleetStore()
  const line = {
    ...{ incarnation: 'old', seq: 9, lease: 10_000, held: 60, want: 60, inflight: 60, whole: 60 },
    ...{ config: 'c', version: '0', leaving: false, limits: {}, process: 'p' },
  }
  await store.write(JSON.stringify({ ...newRecord('r', true), members: { old: line } }), 0)
  let share: Share | null = null
  const member = new Membership({
    ...{ store, clock: manualClock(), dice: seededDice(1) },
    ...{ name: 'new', incarnation: 'new', version: '0' },
    isGone: () => gone,
    demand: () => ({
      ...{
        inflight: 0,
        queued: 60,
        whole: 60,
        capacity: 60,
        config: 'c',
        limits: new Map(),
        routes: new Map(),
      },
    }),
    onShare: (given) => (share = given),
    onLimit: () => {},
    anybody: () => Promise.resolve(true),
    news: () => {},
  })
  await member.open()
  expect((share as Share | null)?.slots ?? 0).toBe(slots)
  member.close()
})
