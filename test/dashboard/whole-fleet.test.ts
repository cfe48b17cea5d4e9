/** What a page is told of a whole fleet, and what it says of it. */
import { describe, expect, test } from 'vitest'
import { HeardMembers } from '#contracts/heard-members'
import type { Snapshot } from '#contracts/snapshot'
import type { WholeFleet } from '#contracts/whole-fleet'
import {
  breakersOf,
  memberRows,
  partsOf,
  pausedOf,
  routesOf,
  saidOf,
  silenceOf,
  waitersOf,
  waitingOf,
} from '../../services/dashboard/page/whole-fleet.ts'
import { clock } from '../../services/dashboard/page/words.ts'
import { fed, stillFleet, stillMember, stillRoute, stillSnapshot } from '../support/fed.ts'

const NAMES = ['one', 'two', 'three']
const FLEET = stillFleet({
  members: NAMES.map((member) =>
    stillMember({ member, instance: `i-${member}`, own: member === 'one' }),
  ),
})
const lane = (of: Partial<Snapshot['lanes'][number]>): Snapshot['lanes'][number] => ({
  ...{ name: 'batch', weight: 1, preemptible: true, paused: false, guarantee: 0, cap: 10 },
  ...{ inflight: 0, queued: 0, oldest_ms: null, ...of },
})

/** Heard at the given times; the first one tells, at ten seconds. */
function told(
  of: readonly Partial<Snapshot>[],
  heardAt: readonly number[] = of.map(() => 10_000),
): WholeFleet {
  const heard = new HeardMembers()
  const snapshots = of.map((one, at) =>
    stillSnapshot({
      instance: `i-${NAMES[at]}`,
      fleet: { ...FLEET, member: NAMES[at] ?? '', usable: 4 },
      ...one,
    }),
  )
  for (const [at, one] of snapshots.entries())
    heard.note(one, { now: heardAt[at] ?? 0, wall: heardAt[at] ?? 0 })
  return heard.whole(snapshots[0]!, { now: 10_000, wall: 10_000 })
}
const global = (inflight: number, queued: number): Snapshot['global'] => ({
  ...{ limit: 10, inflight, queued, backoff: 1, level: 0 },
})

describe('of the members', () => {
  test('all are told together', () => {
    const whole = told([{ global: global(1, 2) }, { global: global(3, 4) }, {}])
    expect(saidOf(whole)).toBe(
      'The 3 members together: 4 in flight of 12 slots, 6 waiting, 2 in back-off.',
    )
    expect(memberRows(FLEET, whole).map(({ seen }) => waitingOf(seen))).toEqual(['2', '4', '0'])
  })

  test('who is not heard is named, with what it said last', () => {
    const whole = told([{ global: global(1, 2) }, { global: global(3, 4) }], [0, 4_000])
    expect(saidOf(whole)).toBe(
      `▲ two is not heard since ${clock(4_000)} (then 3 in flight, 4 waiting) and three does not answer. ` +
        '1 of 3 members is heard: 1 in flight of 4 slots, 2 waiting, 1 in back-off.',
    )
    const rows = memberRows(FLEET, whole)
    expect(rows.map(({ seen }) => silenceOf(seen))).toEqual([
      '',
      `▲ not heard since ${clock(4_000)}`,
      '▲ no answer',
    ])
    expect(rows.map(({ seen }) => waitingOf(seen))).toEqual(['2', '–', '–'])
  })

  test('what one has of routes that are divided by themselves is told, and nothing else', () => {
    const routes = { large: { share: 0.93, want: 1 }, small: { share: 0.05, want: 0 } }
    const members = [stillMember({ routes }), stillMember({ routes: {} }), stillMember({})]
    expect(memberRows({ ...FLEET, members }, null).map(routesOf)).toEqual([
      'large: 93 %, could use 100 %; small: 5 %, could use 0 %',
      '',
      '',
    ])
    const many = Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`r${i}`, routes.small]))
    const [told] = memberRows({ ...FLEET, members: [stillMember({ routes: many })] }, null)
    expect(routesOf(told!)).toMatch(/^r0: .* r9: .*; 2 more$/)
  })

  test('who is no member any more stands after those who are', () => {
    const whole = told([{}, {}, {}])
    const left = { ...FLEET, members: FLEET.members.filter(({ member }) => member !== 'two') }
    expect(memberRows(left, whole).map(({ member, line }) => [member, line === null])).toEqual([
      ['one', false],
      ['three', false],
      ['two', true],
    ])
    // Before anybody has asked.
    expect(memberRows(FLEET, null).map(({ seen }) => silenceOf(seen))).toEqual(['', '', ''])
  })
})

test('a lane names who has those that wait, most first, and where it is paused', () => {
  const { lanes } = told([
    { lanes: [lane({ queued: 2 })] },
    { lanes: [lane({ queued: 31, oldest_ms: 4, paused: true })] },
    { lanes: [lane({}), lane({ name: 'night', paused: true })] },
  ])
  expect(lanes.map(waitersOf)).toEqual(['two: 31, one: 2', ''])
  expect(lanes.map(pausedOf)).toEqual(['▲ paused on two', '▲ paused'])
})

test('a route names whose breaker is open, and who has a pause or a block', () => {
  const said = (...of: Partial<Snapshot['routes'][number]>[]) =>
    told(of.map((one) => ({ routes: [stillRoute('r', one)] }))).routes
  expect(said({}, {}).map(breakersOf)).toEqual(['closed'])
  const [one] = said({ paused_ms: 5 }, { breaker: 'open', inflight: 2 }, { breaker: 'half_open' })
  expect(breakersOf(one!)).toBe(
    '✖ open on two; ▲ half open on three; closed on one; ▲ quota pause on one',
  )
  expect(partsOf(one!)).toBe('one: 0 of 10, two: 2 of 10, three: 0 of 10')
  expect(breakersOf(said({ blocked_ms: 9 })[0]!)).toBe('closed; ✖ blocked on one')
})

test('who asks is told what was heard, or that there is no fleet', async () => {
  const whole = told([{}, {}])
  const ask = async (fleet: (() => Promise<WholeFleet>) | null) => {
    const { feed } = fed({ fleet })
    const { status, body } = await feed.fleet()
    feed.close()
    return { status, body: JSON.parse(body) as unknown }
  }
  expect(await ask(async () => whole)).toEqual({ status: 200, body: whole })
  expect((await ask(null)).status).toBe(404)
})
