/** What is in memory of a backlog, and what is read of it and when. */
import { describe, expect, test } from 'vitest'
import { Backlog, type BacklogLimits } from '../../../services/scheduler/jobs/backlog.ts'
import type { Flow } from '../../../services/scheduler/jobs/flow.ts'
import { Walk } from '../../../services/scheduler/jobs/walk.ts'
import { memoryJobStore } from '../../../services/scheduler/memory/job-store.ts'
import type { JobStore, NewJob, StoredJob } from '#ports'
import { manualClock } from '../../support/manual-clock.ts'

const LIMITS: BacklogLimits = {
  ...{ window: 2, total: 1_000, bytes: 1e9, flows: 1_000, places: 1e6 },
}
const MINUTE = 60_000
/** Places that a slow walk meets at once. */
const SLOWLY = 1

function world(of: Partial<BacklogLimits> = {}) {
  const clock = manualClock()
  const store = memoryJobStore({ wall: () => clock.wall() })
  const limits = { ...LIMITS, ...of }
  const waiting: { flow: Flow; job: StoredJob }[] = []
  const asked = { first: 0, at: 0, walk: 0 }
  const counted = {
    ...store,
    first: (flow: Flow) => ((asked.first += 1), store.first(flow)),
    at: (seq: number) => ((asked.at += 1), store.at(seq)),
    walk(...asks: Parameters<JobStore['walk']>) {
      if (asks[1] > SLOWLY) asked.walk += 1
      return store.walk(...asks)
    },
  }
  const backlog: Backlog = new Backlog({
    ...{ store: counted, clock, dice: { next: () => 0.5 }, limits: () => limits },
    async take(flow, job) {
      flow.waiting += 1
      backlog.waiting += 1
      waiting.push({ flow, job })
    },
    low: () => walk.low(),
    onError(error) {
      throw error
    },
  })
  const walk = new Walk({
    ...{ store: counted, clock, perSecond: () => SLOWLY, lines: backlog },
    met(one) {
      if (one.kind !== 'job') return
      const flow = backlog.flow(one)
      if (flow !== null && !waiting.some(({ job }) => job.seq === one.seq))
        backlog.met(flow, one.seq, { reading: true })
    },
    looked: async () => {},
    round: () => {},
    onError(error) {
      throw error
    },
  })
  let made = 0
  /** Everything that follows at once, and what waits for a moment. */
  const settle = async (): Promise<void> => {
    for (let n = 0; n < 30; n++) {
      await new Promise((resolve) => setImmediate(resolve))
      clock.advance(10)
    }
  }
  return {
    ...{ clock, store, limits, backlog, walk, waiting, asked, settle },
    async store1(tenant: string, body = 1): Promise<number> {
      const job: NewJob = {
        ...{ tenant, lane: 'batch', id: `j${++made}`, group: '_', hash: 'h' },
        ...{ acceptedAt: made, deadlineMs: MINUTE, notBeforeMs: 0 },
        ...{ degrade: [], maxAttempts: null, headers: {} },
      }
      const added = await store.add(job, new Uint8Array(body))
      if ('there' in added) throw new Error('it is there')
      return added.seq
    },
    /** The first of those that wait has a slot, and ends. */
    async end(of?: string): Promise<StoredJob | undefined> {
      const at = waiting.findIndex(({ job }) => of === undefined || job.tenant === of)
      const [ended] = at === -1 ? [] : waiting.splice(at, 1)
      if (ended === undefined) return undefined
      await store.remove({ seq: ended.job.seq, revision: null })
      ended.flow.waiting -= 1
      backlog.waiting -= 1
      backlog.roomier()
      backlog.kick(ended.flow)
      await settle()
      return ended.job
    },
  }
}

/** Ends all that there are, in whatever order they come. */
async function drained(of: ReturnType<typeof world>): Promise<StoredJob[]> {
  const all: StoredJob[] = []
  for (let job = await of.end(); job !== undefined; job = await of.end()) all.push(job)
  return all
}

describe('a backlog', () => {
  test('has a window of each flow in memory, and the places of the rest', async () => {
    const of = world()
    for (let n = 0; n < 50; n++) await of.store1(n % 10 === 0 ? 'small' : 'large')
    of.walk.start()
    await of.settle()
    expect(of.waiting).toHaveLength(4)
    expect(of.backlog.places).toBe(46)
    const all = await drained(of)
    expect(all).toHaveLength(50)
    for (const tenant of ['small', 'large']) {
      const places = all.filter((job) => job.tenant === tenant).map(({ seq }) => seq)
      expect(places).toEqual(places.toSorted((a, b) => a - b))
    }
    expect(of.backlog.places).toBe(0)
    // Each was read once, and no more was asked than that.
    expect(of.asked).toEqual({ first: 0, at: 50, walk: 1 })
  })

  test('knows the first job of a flow before a walk has come to it', async () => {
    const of = world()
    for (let n = 0; n < 50; n++) await of.store1('large')
    const first = await of.store1('small')
    await of.store1('small')
    of.backlog.kick(of.backlog.flow({ tenant: 'small', lane: 'batch' })!)
    await of.settle()
    expect(of.waiting.map(({ job }) => job.seq)).toEqual([first])
    expect(of.asked).toEqual({ first: 1, at: 0, walk: 0 })
    of.walk.start()
    await of.settle()
    expect((await drained(of)).filter(({ tenant }) => tenant === 'small')).toHaveLength(2)
  })

  test('takes what comes while a walk has not come to its flow, and meets it once', async () => {
    const of = world({ window: 1 })
    for (let n = 0; n < 1_500; n++) await of.store1('large')
    of.walk.start()
    const flow = of.backlog.flow({ tenant: 'new', lane: 'batch' })!
    for (let n = 0; n < 5; n++) of.backlog.arrived(flow, await of.store1('new'))
    await of.settle()
    let news = 0
    for (let job = await of.end('new'); job !== undefined; job = await of.end('new')) news += 1
    expect(news).toBe(5)
    expect(of.backlog.places).toBe(1_499)
  })

  test('keeps no more places than it may, and reads on where a line runs low', async () => {
    const of = world({ places: 30 })
    for (let n = 0; n < 300; n++) await of.store1(['a', 'b', 'c'][n % 7 === 0 ? 2 : n % 2]!)
    of.walk.start()
    await of.settle()
    expect(of.backlog.places).toBeLessThanOrEqual(30)
    const seen: Record<string, number[]> = { a: [], b: [], c: [] }
    for (let job = await of.end(); job !== undefined; job = await of.end()) {
      seen[job.tenant]!.push(job.seq)
      expect(of.backlog.places).toBeLessThanOrEqual(30)
      // What is stored meanwhile is not lost either.
      if (seen['a']!.length === 20 && job.tenant === 'a')
        of.backlog.arrived(of.backlog.flow(job)!, await of.store1('a'))
    }
    expect(Object.values(seen).flat()).toHaveLength(301)
    for (const places of Object.values(seen))
      expect(places).toEqual(places.toSorted((a, b) => a - b))
  })

  test('passes over jobs that ended elsewhere, more at once the more there are', async () => {
    const of = world({ window: 1 })
    const places: number[] = []
    for (let n = 0; n < 200; n++) places.push(await of.store1('acme'))
    of.walk.start()
    await of.settle()
    for (const seq of places.slice(1, 150)) await of.store.remove({ seq, revision: null })
    const walked = of.asked.at
    await of.end()
    expect(of.waiting.map(({ job }) => job.seq)).toEqual([places[150]])
    expect(of.asked.at - walked).toBeLessThan(149 + 32)
  })

  test('half of all room is for flows of which nothing waits yet', async () => {
    const of = world({ window: 20, total: 20 })
    for (let n = 0; n < 100; n++) await of.store1('large')
    of.walk.start()
    await of.settle()
    for (let n = 0; n < 100; n++) {
      const seq = await of.store1(`t${n % 50}`)
      of.backlog.arrived(of.backlog.flow({ tenant: `t${n % 50}`, lane: 'batch' })!, seq)
    }
    await of.settle()
    const tenants = of.waiting.map(({ job }) => job.tenant)
    expect(tenants).toHaveLength(20)
    expect(tenants.filter((one) => one === 'large')).toHaveLength(10)
    expect(new Set(tenants).size).toBe(11)
    // And all of them have their turn.
    expect(await drained(of)).toHaveLength(200)
  })

  test('forgets a flow that had nothing for ten minutes, and no other', async () => {
    const of = world({ window: 1 })
    for (const tenant of ['idle', 'busy', 'busy']) await of.store1(tenant)
    of.walk.start()
    await of.settle()
    await of.end('idle')
    expect(of.backlog.flows.size).toBe(2)
    of.clock.advance(9 * MINUTE)
    of.backlog.forgetIdle()
    expect(of.backlog.flows.size).toBe(2)
    of.clock.advance(2 * MINUTE)
    of.backlog.forgetIdle()
    expect([...of.backlog.flows.keys()]).toEqual(['batch/busy'])
    const flow = of.backlog.flow({ tenant: 'idle', lane: 'batch' })!
    of.backlog.arrived(flow, await of.store1('idle'))
    await of.settle()
    expect(await of.end('idle')).toBeDefined()
  })
})
