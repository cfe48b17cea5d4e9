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
  const flows = new Map<string, JobFlow>()
  const listeners = new Map<string, Set<() => void>>()
  const dead: { job: StoredJob; reason: DeadReason }[] = []
  let deadAt: Millis | null = null

  const stored = (seq: number, behind: number | null = null): StoredJob | null => {
    const kept = jobs.get(seq)
    return kept === undefined ? null : { ...kept.head, body: kept.body, behind }
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

    next: act((flow: JobFlow, from: number) => {
      const found = placesOf(flow).next(from)
      return found === null ? null : stored(found.place, found.behind)
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

    nextClaim: act((from: number) => {
      // In the order of their revisions, as a stream has them.
      for (const [revision, key] of revisions)
        if (revision >= from) {
          const [tenant = '', id = ''] = key.split('/')
          return { tenant, id, revision }
        }
      return null
    }),

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

    flows: act(() => [...flows.values()]),

    noteFlow: act((flow: JobFlow) => void flows.set(requestKey(flow.lane, flow.tenant), flow)),

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

    look: act((lanes: readonly string[]) => {
      const all = [...jobs.values()].map(({ head }) => head)
      const now = all.filter(({ notBeforeMs }) => notBeforeMs === 0)
      const kept = (heads: readonly JobHead[]) => ({
        jobs: heads.length,
        oldestAt: heads[0]?.acceptedAt ?? null,
      })
      return {
        lanes: new Map(lanes.map((lane) => [lane, kept(now.filter((one) => one.lane === lane))])),
        ...{ jobs: all.length, later: all.length - now.length, claims: claims.size },
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
