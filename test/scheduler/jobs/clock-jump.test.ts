/** The wall clock is set an hour ahead and back while jobs wait, are not due yet, or run. Deadlines of jobs run on wall
 *  time (docs/operations.md), so a job may end early by what the clock jumped, and by no more. */
import { describe, expect, test } from 'vitest'
import { HEADER } from '#contracts/messages'
import type { JobResult } from '#ports'
import { JobWorld } from '../../support/job-world.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
/** A call takes so long, and each of two instances makes one at a time: some jobs wait through all that the clock does. */
const CALL = MINUTE
/** A round of the sweep, and what follows from it. */
const SOON = 15_000
/** Jobs that are not due yet are looked at so often. */
const LOOK = MINUTE

interface Asked {
  id: string
  deadlineMs: number
  notBeforeMs: number
}

const kind = (name: string, count: number, of: Omit<Asked, 'id'>): Asked[] =>
  Array.from({ length: count }, (_, n) => ({ id: `${name}${n}`, ...of }))

const ASKED: readonly Asked[] = [
  ...kind('days', 60, { deadlineMs: 3 * DAY, notBeforeMs: 0 }),
  ...kind('later', 10, { deadlineMs: 3 * DAY, notBeforeMs: 90 * MINUTE }),
  ...kind('evening', 5, { deadlineMs: 2 * DAY, notBeforeMs: 3 * HOUR }),
  // Behind the others: they wait to their end.
  ...kind('short', 5, { deadlineMs: 20 * MINUTE, notBeforeMs: 0 }),
  ...kind('long', 5, { deadlineMs: 80 * MINUTE, notBeforeMs: 0 }),
]

/** What became of each, and when, since it was stored. */
async function lived(of: {
  jumps: readonly { atMs: number; byMs: number }[]
  dies?: number
}): Promise<{ world: JobWorld; ends: Map<string, { at: number; outcome: string }> }> {
  const started = new Map<string, number>()
  const world = new JobWorld({
    seed: 1,
    act: ({ id }) => {
      if (!started.has(id)) started.set(id, world.time.now)
      return {
        firstByteMs: 1_000,
        endMs: CALL - 1_000,
        end: { kind: 'ok', status: 200, body: Buffer.from(id) },
      }
    },
    file: { llm_gateway: { max_inflight_global: 1 } },
  })
  const instance = await world.start()
  // Another listens whether it lives.
  await world.start()
  for (const job of ASKED) {
    const answer = instance.submit({ tenant: 'acme', ...job })
    await world.pass(50)
    expect(await answer, job.id).toMatchObject({ receipt: { accepted: true } })
  }
  for (const { atMs, byMs } of of.jumps)
    world.clock.after(atMs, () => void (world.wallAheadMs += byMs))
  if (of.dies !== undefined)
    world.clock.after(of.dies, () => {
      instance.kill()
      void world.start()
      // Six seconds of silence, a beat, and a look at the store: by a clock that nobody sets.
      world.clock.after(SOON, () => expect(world.count('taken_over')).toBeGreaterThan(0))
    })
  const ends = new Map<string, { at: number; outcome: string }>()
  while (ends.size < ASKED.length && world.time.now < DAY) {
    await world.pass(SOON)
    for (const one of world.published)
      if (!ends.has(one.id)) ends.set(one.id, { at: world.time.now, outcome: outcomeOf(one) })
  }
  for (const { id, notBeforeMs } of ASKED) {
    const early = of.jumps.reduce((most, { byMs }) => Math.max(most, byMs), 0)
    expect(started.get(id) ?? Infinity, `${id} begins`).toBeGreaterThanOrEqual(notBeforeMs - early)
  }
  return { world, ends }
}

const outcomeOf = ({ headers }: JobResult): string =>
  headers.find(([name]) => name === HEADER.outcome)?.[1] ?? ''

const AHEAD_AND_BACK = [
  { atMs: 10 * MINUTE, byMs: HOUR },
  { atMs: 25 * MINUTE, byMs: -HOUR },
]
const BACK_AND_AHEAD = [
  { atMs: 10 * MINUTE, byMs: -HOUR },
  { atMs: 25 * MINUTE, byMs: HOUR },
]

describe.each([
  ['an hour ahead, then back', { jumps: AHEAD_AND_BACK, earlyMs: HOUR, lateMs: 0 }],
  ['an hour back, then ahead', { jumps: BACK_AND_AHEAD, earlyMs: 0, lateMs: HOUR }],
  ['ahead for good', { jumps: AHEAD_AND_BACK.slice(0, 1), earlyMs: HOUR, lateMs: 0 }],
  ['back for good', { jumps: BACK_AND_AHEAD.slice(0, 1), earlyMs: 0, lateMs: HOUR }],
  [
    'an hour ahead, then back just when an instance has died',
    { jumps: AHEAD_AND_BACK, earlyMs: HOUR, lateMs: 0, dies: 25 * MINUTE - 3_000 },
  ],
] as const)('the wall clock is set %s', (_, of) => {
  test('nothing is lost, nothing has two results, and none ends earlier than the clock jumped', async () => {
    const { world, ends } = await lived(of)
    const setBy = of.jumps.reduce((sum, { byMs }) => sum + byMs, 0)
    expect(world.bugs).toEqual([])
    expect(new Set(ends.keys())).toEqual(new Set(ASKED.map(({ id }) => id)))
    expect(world.published.length).toBe(ASKED.length)
    expect([world.store.jobs, world.store.claims]).toEqual([0, 0])
    for (const { id, deadlineMs, notBeforeMs } of ASKED) {
      const { at, outcome } = ends.get(id)!
      // Nobody who has days is in a hurry because of an hour.
      if (deadlineMs >= DAY) expect(outcome, id).toBe('completed')
      if (outcome === 'expired') {
        expect(at, id).toBeGreaterThanOrEqual(deadlineMs - of.earlyMs)
        expect(at, id).toBeLessThanOrEqual(deadlineMs + of.lateMs + SOON + MINUTE)
      } else expect(at, id).toBeLessThanOrEqual(deadlineMs + of.lateMs + MINUTE)
      // All that are due before it, two at a time.
      const ahead = (ASKED.length / 2) * CALL
      if (notBeforeMs > 0) expect(at, id).toBeLessThanOrEqual(notBeforeMs - setBy + LOOK + ahead)
    }
    const early = ASKED.filter(({ id, deadlineMs }) => ends.get(id)!.at < deadlineMs)
    const expired = early.filter(({ id }) => ends.get(id)!.outcome === 'expired')
    expect(expired.length > 0, 'an hour ahead is an hour less').toBe(of.earlyMs > 0)
    // Who lives is told by another clock.
    expect(world.count('taken_over') > 0).toBe('dies' in of)
    const beyondOne = [...world.ran.values()].reduce((sum, times) => sum + times - 1, 0)
    expect(beyondOne).toBeLessThanOrEqual(world.count('ambiguous'))
  }, 60_000)
})
