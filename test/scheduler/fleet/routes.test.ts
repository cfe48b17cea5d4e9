/** Two members and two routes, each asked at one member only: then each has nearly all of one (control-laws §14). */
import { expect, test } from 'vitest'
import { seededDice } from '#core/estimators/dice'
import { portionOf, portionOn, type Share } from '#core/model/share'
import { Membership } from '#scheduler/fleet/membership'
import type { RouteDemand } from '#scheduler/fleet/route-parts'
import { memoryFleetStore } from '#scheduler/memory/fleet-store'
import { manualClock } from '../../support/manual-clock.ts'

const WHOLE = 100
const LIMIT = 30
const ROUTES = ['x', 'y'] as const
type Route = (typeof ROUTES)[number]

async function fleet() {
  const store = memoryFleetStore()
  const clock = manualClock()
  const join = async (name: string) => {
    const demand = new Map<Route, RouteDemand>()
    let share: Share | null = null
    const member = new Membership({
      ...{ store, clock, dice: seededDice(1), name, incarnation: name, version: '1' },
      demand: () => ({
        ...{ inflight: 0, whole: WHOLE, capacity: 2 * LIMIT, config: 'c', routes: demand },
        queued: [...demand.values()].reduce((sum, { live }) => sum + live, 0),
        limits: new Map(ROUTES.map((route) => [route, { epoch: 0, limit: LIMIT }])),
      }),
      onShare: (given) => (share = given),
      onLimit: () => {},
      anybody: () => Promise.resolve(false),
      news: () => {},
    })
    await member.open()
    return {
      member,
      wants: (route: Route, live: number) => demand.set(route, { inflight: 0, live }),
      slots: (route: Route) => portionOf(LIMIT, portionOn(share!, route)),
    }
  }
  const pass = async (ms: number): Promise<void> => {
    for (let left = ms; left > 0; left -= 50) {
      clock.advance(50)
      for (let i = 0; i < 20; i++) await Promise.resolve()
    }
  }
  const all = [await join('a'), await join('b')] as const
  await pass(5_000)
  const routes = async () =>
    Object.values(
      (JSON.parse((await store.read())!.text) as { members: Record<string, { routes: object }> })
        .members,
    ).map((line) => Object.keys(line.routes))
  const end = (): void => all.forEach(({ member }) => member.close())
  return { all, pass, routes, end }
}

test('who asks for a route alone has all of it but a floor, soon; and gives it back', async () => {
  const { all, pass, routes, end } = await fleet()
  const [a, b] = all
  a.wants('x', 60)
  b.wants('y', 60)
  await pass(2_000)
  // By the order of names a cut between two slots falls to the second.
  expect([a.slots('x'), b.slots('x')]).toEqual([28, 2])
  expect([a.slots('y'), b.slots('y')]).toEqual([1, 29])
  expect(await routes()).toEqual([
    ['x', 'y'],
    ['x', 'y'],
  ])
  a.wants('x', 0)
  b.wants('y', 0)
  await pass(60_000)
  expect([a.slots('x'), b.slots('x')]).toEqual([15, 15])
  // And then there is no word of it in the record.
  expect(await routes()).toEqual([[], []])
  end()
})

test('what both want is divided evenly, and needs no word', async () => {
  const { all, pass, end } = await fleet()
  const [a, b] = all
  for (const one of all) one.wants('x', 60)
  await pass(5_000)
  expect([a.slots('x'), b.slots('x')]).toEqual([15, 15])
  end()
})
