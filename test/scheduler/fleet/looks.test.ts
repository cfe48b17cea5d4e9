/** Who looks at the whole fleet: when the others are asked, what is waited for, and how old an answer may be. */
import { beforeEach, describe, expect, test } from 'vitest'
import { CURRENT_MS, HeardMembers, MEMBERS_MAX, SHOWN_MS } from '#contracts/heard-members'
import type { Snapshot } from '#contracts/snapshot'
import { ROUTES_SHOWN_MAX, type WholeFleet } from '#contracts/whole-fleet'
import { ASK_EVERY, FleetLooks, LISTEN, WAIT } from '#scheduler/fleet/looks'
import { memoryBus } from '#scheduler/memory/bus'
import { stillFleet, stillMember, stillRoute, stillSnapshot } from '../../support/fed.ts'
import { manualClock, type ManualClock } from '../../support/manual-clock.ts'

const ASKED = 'llm.v1.admin.snapshot'
const OWN = stillMember({ own: true })
const TWO = stillMember({ member: 'two', instance: 'i-two' })
const laneOf = (name: string, queued: number): Snapshot['lanes'][number] => ({
  ...{ name, weight: 1, preemptible: false, paused: false, guarantee: 0, cap: 10 },
  ...{ inflight: 1, queued, oldest_ms: queued === 0 ? null : queued * 10 },
})
const snapshotOf = (member: string, of: Partial<Snapshot> = {}): Snapshot =>
  stillSnapshot({
    instance: `i-${member}`,
    fleet: stillFleet({ member, usable: 5, members: [OWN, TWO] }),
    ...of,
  })

let clock: ManualClock
beforeEach(() => {
  clock = manualClock()
})

const settle = async (): Promise<void> => {
  for (let turn = 0; turn < 50; turn++) await Promise.resolve()
}

/** One that looks, on a bus where `two` answers as it is told. */
function looking(of: { answer?: (() => Snapshot | null) | null; connected?: () => boolean } = {}) {
  const bus = memoryBus()
  const questions: string[] = []
  bus.subscribe(ASKED, ({ reply = '' }) => {
    questions.push(reply)
    const said = of.answer?.()
    if (said != null) bus.publish(reply, JSON.stringify(said))
  })
  const looks = new FleetLooks({
    bus: { ...bus, connected: of.connected ?? (() => true) },
    ...{ clock, subject: ASKED, snapshot: () => snapshotOf('one') },
    inbox: () => `_INBOX.q${questions.length}`,
  })
  const read = async (): Promise<WholeFleet> => {
    const reading = looks.read()
    await settle()
    clock.advance(WAIT)
    return reading
  }
  return { looks, questions, read, bus }
}

describe('the others are asked', () => {
  test('by nobody who does not look', () => {
    const { questions } = looking()
    clock.advance(60_000)
    expect([questions.length, clock.pending()]).toEqual([0, 0])
  })

  test('once a second, however many look', async () => {
    const { looks, questions } = looking({ answer: () => snapshotOf('two') })
    for (let at = 0; at < 3 * ASK_EVERY; at += 100) {
      await Promise.all(Array.from({ length: 20 }, () => looks.read()))
      clock.advance(100)
    }
    expect(questions).toHaveLength(3)
    clock.advance(60_000)
    await settle()
    expect([questions.length, clock.pending()]).toEqual([3, 0])
  })

  test('at an address of its own each time, where nobody listens later', async () => {
    const { looks, questions, read, bus } = looking({ answer: () => null })
    await read()
    clock.advance(ASK_EVERY)
    await read()
    expect(new Set(questions).size).toBe(2)
    clock.advance(LISTEN)
    await settle()
    expect(questions.map((reply) => bus.hears?.(reply))).toEqual([false, false])
    clock.advance(ASK_EVERY)
    const last = looks.read()
    looks.close()
    await last
    expect(clock.pending()).toBe(0)
  })

  test('not while there is no connection', async () => {
    const { questions, read } = looking({ connected: () => false })
    const { members } = await read()
    expect(questions).toEqual([])
    expect(members.map(({ member, current, last }) => [member, current, last === null])).toEqual([
      ['one', true, false],
      ['two', false, true],
    ])
  })
})

describe('an answer', () => {
  test('of all that should is not waited for any longer', async () => {
    const { looks } = looking({ answer: () => snapshotOf('two', { lanes: [laneOf('batch', 7)] }) })
    const whole = await looks.read()
    expect(whole.lanes).toMatchObject([{ name: 'batch', queued: 7, oldest_ms: 70 }])
    expect(whole.sums).toMatchObject({ heard: 2, usable: 10 })
  })

  test('that comes late is seen by who looks next', async () => {
    const { looks, questions, read, bus } = looking({ answer: () => null })
    expect((await read()).sums.heard).toBe(1)
    bus.publish(questions[0] ?? '', JSON.stringify(snapshotOf('two')))
    await settle()
    clock.advance(ASK_EVERY - WAIT)
    expect((await read()).sums.heard).toBe(2)
    looks.close()
  })

  test('that is no snapshot is nobody\u2019s', async () => {
    const { read, questions, bus } = looking({ answer: () => null })
    const reading = read()
    for (const text of ['', '{', '[]', '{"instance":1}']) bus.publish(questions[0] ?? '_', text)
    expect((await reading).sums.heard).toBe(1)
  })

  test('of some seconds ago is not of now, and says when it was', async () => {
    const answers: (Snapshot | null)[] = [snapshotOf('two', { lanes: [laneOf('batch', 7)] })]
    const { read } = looking({ answer: () => answers.shift() ?? null })
    const { at } = await read()
    clock.advance(CURRENT_MS)
    const later = await read()
    expect(later.members[1]).toMatchObject({ current: false, last: { inflight: 0 } })
    expect(later.members[1]?.last?.at).toBeLessThanOrEqual(at)
    expect(later.lanes).toEqual([])
  })
})

describe('members that were heard', () => {
  const own = (members = [OWN]) => snapshotOf('one', { fleet: stillFleet({ members }) })

  test('stay while they are in the record; else for two minutes, or until another has their name', () => {
    const heard = new HeardMembers()
    heard.note(snapshotOf('two'), { now: 0, wall: 0 })
    const names = (of: Snapshot, now: number) =>
      heard.whole(of, { now, wall: now }).members.map(({ instance }) => instance)
    expect(names(own([OWN, TWO]), 10 * SHOWN_MS)).toEqual(['i-one', 'i-two'])
    heard.note(snapshotOf('two'), { now: 0, wall: 0 })
    expect(names(own(), SHOWN_MS)).toEqual(['i-one', 'i-two'])
    const again = { ...TWO, instance: 'i-again' }
    expect(names(own([OWN, again]), SHOWN_MS)).toEqual(['i-one', 'i-again'])
    heard.note(snapshotOf('two'), { now: 0, wall: 0 })
    expect(names(own(), SHOWN_MS + 1)).toEqual(['i-one'])
  })

  test('are no more than there is room for', () => {
    const heard = new HeardMembers()
    const at = { now: 0, wall: 0 }
    const kept = Array.from({ length: 2 * MEMBERS_MAX }, (_, one) =>
      heard.note(snapshotOf(`m${one}`), at),
    )
    expect(kept.filter((one) => one !== null)).toHaveLength(MEMBERS_MAX)
    expect(heard.note(snapshotOf('m0'), at)).toBe('i-m0')
    // Nor where one after the other tells.
    for (let one = 0; one < 2 * MEMBERS_MAX; one++) heard.whole(snapshotOf(`teller${one}`), at)
    expect(heard.whole(snapshotOf('one'), at).members.length).toBeLessThan(MEMBERS_MAX + 4)
  })

  test('have their routes told, those in trouble first, and how many are not', () => {
    const heard = new HeardMembers()
    const at = { now: 0, wall: 0 }
    const routes = Array.from({ length: ROUTES_SHOWN_MAX + 5 }, (_, one) =>
      stillRoute(`r${one}`, { queued: one }),
    )
    const troubled = [stillRoute('bad', { breaker: 'open', limit: 3, inflight: 2 })]
    heard.note(snapshotOf('two', { routes: troubled }), at)
    const whole = heard.whole(
      { ...own([OWN, TWO]), routes: [...routes, stillRoute('bad', { limit: 4, inflight: 1 })] },
      at,
    )
    expect(whole.routes[0]).toMatchObject({ id: 'bad', limit: 7, inflight: 3 })
    expect(whole.routes[0]?.parts.map(({ member, breaker }) => [member, breaker])).toEqual([
      ['one', 'closed'],
      ['two', 'open'],
    ])
    expect([whole.routes.length, whole.routes_more]).toEqual([ROUTES_SHOWN_MAX, 6])
  })

  test('of another version are read by what all versions say', () => {
    const heard = new HeardMembers()
    const { global, lanes, routes, tenants } = snapshotOf('two')
    const older = { instance: 'i-two', version: '0.1.0', draining: false, global, lanes, routes }
    const at = { now: 0, wall: 0 }
    expect(heard.note({ ...older, more: 1 }, at)).toBeNull()
    expect(heard.note({ ...older, tenants, fleet: [], more: 1 }, at)).toBe('i-two')
    expect(heard.whole(own([OWN, TWO]), at).sums).toMatchObject({ heard: 2, usable: 10 + 10 })
  })
})
