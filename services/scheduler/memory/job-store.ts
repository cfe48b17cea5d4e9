/** A store of jobs that lasts as long as the process: for virtual time, and for tests. It outlives the schedulers
 *  that use it, as a server would. */
import type { DeadReason, JobClaim } from '#contracts/jobs'
import { requestKey } from '#contracts/ids'
import {
  JobStoreError,
  type JobFlow,
  type JobHead,
  type JobResult,
  type JobStore,
  type Millis,
  type NewJob,
  type StoredJob,
  type Walked,
} from '#ports'
import { Places } from './places.ts'

interface Kept {
  head: JobHead
  body: Uint8Array
}

export interface MemoryJobStore extends JobStore {
  /** Every act fails with it until it is null again. */
  trouble: JobStoreError['reason'] | null
  readonly jobs: number
  readonly claims: number
  readonly results: ReadonlyMap<string, JobResult>
  readonly dead: readonly { job: StoredJob; reason: DeadReason }[]
}

export function memoryJobStore(of: {
  /** Called for each result that is stored. */
  published?: (result: JobResult) => void
  /** Ms since 1970; absent: nobody asks when a job was given up. */
  wall?: () => Millis
}): MemoryJobStore {
  let last = 0
  /** By place, in order: what is put in later has a larger one. */
  const jobs = new Map<number, Kept>()
  const byKey = new Map<string, number>()
  const places = new Places()
  /** Of each flow, those that may start. */
  const byFlow = new Map<string, Places>()
  const claims = new Map<string, { claim: JobClaim; revision: number }>()
  const revisions = new Map<number, string>()
  const results = new Map<string, JobResult>()
  /** When each was noted last, and in which place. */
  const flows = new Map<string, { flow: JobFlow; seq: number; notedAt: Millis }>()
  const listeners = new Map<string, Set<() => void>>()
  const dead: { job: StoredJob; reason: DeadReason }[] = []
  let deadAt: Millis | null = null

  const stored = (seq: number): StoredJob | null => {
    const kept = jobs.get(seq)
    return kept === undefined ? null : { ...kept.head, body: kept.body }
  }
  const placesOf = (flow: JobFlow): Places => {
    const key = requestKey(flow.lane, flow.tenant)
    const found = byFlow.get(key) ?? new Places()
    byFlow.set(key, found)
    return found
  }
  const drop = (seq: number): void => {
    const kept = jobs.get(seq)
    if (kept === undefined) return
    jobs.delete(seq)
    byKey.delete(requestKey(kept.head.tenant, kept.head.id))
    places.drop(seq)
    placesOf(kept.head).drop(seq)
  }
  const unclaim = (revision: number): void => {
    const key = revisions.get(revision)
    if (key === undefined) return
    revisions.delete(revision)
    claims.delete(key)
  }

  const store: MemoryJobStore = {
    trouble: null,
    get jobs() {
      return jobs.size
    },
    get claims() {
      return claims.size
    },
    results,
    dead,

    add: act((job: NewJob, body: Uint8Array) => {
      const key = requestKey(job.tenant, job.id)
      const there = byKey.get(key)
      const before = there === undefined ? null : stored(there)
      if (before !== null) return { there: before }
      const seq = ++last
      jobs.set(seq, { head: { ...job, seq }, body })
      byKey.set(key, seq)
      places.push(seq)
      if (job.notBeforeMs === 0) placesOf(job).push(seq)
      return { seq }
    }),

    first: act((flow: JobFlow) => {
      const found = placesOf(flow).next(0)
      return found === null ? null : stored(found.place)
    }),

    at: act((seq: number) => stored(seq)),

    find: act((tenant: string, id: string) => {
      const seq = byKey.get(requestKey(tenant, id))
      return seq === undefined ? null : stored(seq)
    }),

    claim: act(({ tenant, id }: { tenant: string; id: string }, claim: JobClaim, over: number) => {
      const key = requestKey(tenant, id)
      const before = claims.get(key)?.revision ?? 0
      if (before !== over) return null
      revisions.delete(before)
      const revision = ++last
      claims.set(key, { claim, revision })
      revisions.set(revision, key)
      return revision
    }),

    claimOf: act((tenant: string, id: string) => claims.get(requestKey(tenant, id)) ?? null),

    // In the order of their revisions, as a stream has them.
    heldClaims: act((from: number, count: number) =>
      firstOf(revisions, from, count).flatMap(([revision, key]) => {
        const claim = claims.get(key)?.claim
        return claim === undefined ? [] : [{ ...claimOf(key), claim, revision }]
      }),
    ),

    release: act((revision: number) => unclaim(revision)),

    settle: act((result: JobResult) => {
      const key = requestKey(result.tenant, result.id)
      if (results.has(key)) return false
      results.set(key, result)
      of.published?.(result)
      for (const call of listeners.get(key) ?? []) call()
      return true
    }),

    result: act((tenant: string, id: string) => results.get(requestKey(tenant, id)) ?? null),

    remove: act(({ seq, revision }: { seq: number; revision: number | null }) => {
      drop(seq)
      if (revision !== null) unclaim(revision)
    }),

    bury: act((job: StoredJob, reason: DeadReason) => {
      dead.push({ job, reason })
      deadAt = of.wall?.() ?? null
    }),

    flows: act(() => [...flows.values()].map(({ flow }) => flow)),

    noteFlow: act(({ lane, tenant }: JobFlow) => {
      const noted = { flow: { lane, tenant }, seq: ++last, notedAt: of.wall?.() ?? 0 }
      const key = requestKey(lane, tenant)
      flows.delete(key)
      flows.set(key, noted)
    }),

    forgetFlow: act((seq: number) => {
      for (const [key, noted] of flows) if (noted.seq === seq) flows.delete(key)
    }),

    walk: act((from: number, count: number, { deadlines } = { deadlines: false }) => {
      const notes = new Map([...flows.values()].map((noted) => [noted.seq, noted]))
      const all: [number, Walked][] = []
      for (const [seq, { head }] of firstOf(jobs, from, count)) {
        const { lane, tenant, id, acceptedAt, notBeforeMs, deadlineMs } = head
        const startsAt = notBeforeMs > 0 ? acceptedAt + notBeforeMs : null
        const endsAt = deadlines ? acceptedAt + deadlineMs : null
        all.push([seq, { kind: 'job', lane, tenant, id, seq, startsAt, endsAt }])
      }
      for (const [revision, key] of firstOf(revisions, from, count))
        all.push([revision, { kind: 'claim', ...claimOf(key), revision }])
      for (const [seq, noted] of firstOf(notes, from, count))
        all.push([seq, { kind: 'flow', ...noted }])
      const page = all.toSorted(([a], [b]) => a - b).slice(0, count)
      const end = page.at(-1)
      const more = page.length === count && end !== undefined
      return { found: page.map(([, one]) => one), next: more ? end[0] + 1 : null }
    }),

    heads: act(
      (when: 'now' | 'later' | '*', from: number, count: number, of: Partial<JobFlow> = {}) => {
        const heads: JobHead[] = []
        for (const seq of places.from(from)) {
          if (heads.length >= count) break
          const { head } = jobs.get(seq)!
          const fits = when === '*' || (when === 'later') === head.notBeforeMs > 0
          if (fits && isOf(head, of)) heads.push(head)
        }
        return heads
      },
    ),

    graves: act((from: number, count: number, of: Partial<JobFlow> = {}) =>
      dead
        .filter(({ job }) => job.seq >= from && isOf(job, of))
        .map(({ job, reason }) => ({ ...job, reason }))
        .toSorted((a, b) => a.seq - b.seq)
        .slice(0, count),
    ),

    grave: act((tenant: string, id: string) => {
      const found = dead.findLast(({ job }) => job.tenant === tenant && job.id === id)
      return found === undefined ? null : { ...found.job, reason: found.reason }
    }),

    look: act((lanes: readonly string[] | null) => {
      const all = [...jobs.values()].map(({ head }) => head)
      const now = all.filter(({ notBeforeMs }) => notBeforeMs === 0)
      const kept = (heads: readonly JobHead[]) => ({
        jobs: heads.length,
        oldestAt: heads[0]?.acceptedAt ?? null,
      })
      const counted = (of: readonly string[]) => ({
        lanes: new Map(of.map((lane) => [lane, kept(now.filter((one) => one.lane === lane))])),
        later: all.length - now.length,
      })
      return {
        counted: lanes === null ? null : counted(lanes),
        ...{ jobs: all.length, claims: claims.size },
        ...{ dead: dead.length, deadAt },
        bytes: [...jobs.values()].reduce((sum, { body }) => sum + body.length, 0),
        bytesMax: null,
      }
    }),

    unbury: act((seq: number) => {
      const at = dead.findIndex(({ job }) => job.seq === seq)
      if (at !== -1) dead.splice(at, 1)
      return at !== -1
    }),

    unsettle: act((tenant: string, id: string) => void results.delete(requestKey(tenant, id))),

    onResult(tenant, id, call) {
      const key = requestKey(tenant, id)
      const calls = listeners.get(key) ?? new Set()
      listeners.set(key, calls.add(call))
      return () => {
        calls.delete(call)
        if (calls.size === 0) listeners.delete(key)
      }
    },

    close: async () => {},
  }

  /** As a server would answer it: later, or not at all. */
  function act<A extends unknown[], R>(perform: (...args: A) => R): (...args: A) => Promise<R> {
    return async (...args) => {
      if (store.trouble !== null) throw new JobStoreError(store.trouble, 'the test says so')
      return perform(...args)
    }
  }

  return store
}

const isOf = (head: JobFlow, of: Partial<JobFlow>): boolean =>
  (of.lane ?? head.lane) === head.lane && (of.tenant ?? head.tenant) === head.tenant

/** Of entries by ascending place, the first from a place on. */
function firstOf<T>(entries: ReadonlyMap<number, T>, from: number, count: number): [number, T][] {
  const found: [number, T][] = []
  for (const entry of entries) {
    if (found.length >= count) break
    if (entry[0] >= from) found.push(entry)
  }
  return found
}

function claimOf(key: string): { tenant: string; id: string } {
  const [tenant = '', id = ''] = key.split('/')
  return { tenant, id }
}
