/** What an operator asks about durable jobs, answered from the store in pages: memory grows with a page, not with
 *  the backlog. */
import {
  NOBODY,
  NO_GROUP,
  type JobsList,
  type JobsPage,
  type JobState,
  type ListedJob,
} from '#contracts/jobs'
import type { DeadHead, JobFlow, JobHead, JobsOperator, Millis } from '#ports'
import type { JobsDesk } from './desk.ts'
import type { JobsRoom } from './room.ts'

/** Heads that are looked at in one question, of which each is asked for its claim at once. */
const PAGE = 100
/** Jobs that one list looks at, whether they fit or not; then it says where to go on. */
const LOOKED_AT_MAX = 2_000

export const jobsOperator = (room: JobsRoom, desk: JobsDesk): JobsOperator => ({
  list: (ask) => (ask.state === 'dead' ? graves(room, ask) : stored(room, ask)),
  requeue: (tenant, id) => desk.requeue(tenant, id),
  async drop(tenant, id) {
    const { store } = room.of
    const grave = await store.grave(tenant, id)
    return grave !== null && (await store.unbury(grave.seq))
  },
})

async function graves({ of: { store } }: JobsRoom, ask: JobsList): Promise<JobsPage> {
  const heads = await store.graves(ask.from, ask.count, flowOf(ask))
  const jobs = heads.map((head) =>
    listed(head, { state: 'dead', attempts: null, instance: null, reason: head.reason }),
  )
  return { jobs, next: heads.length < ask.count ? null : after(heads) }
}

async function stored(room: JobsRoom, ask: JobsList): Promise<JobsPage> {
  const { store, clock } = room.of
  const when = ask.state === 'delayed' ? 'later' : '*'
  const jobs: ListedJob[] = []
  let from = ask.from
  for (let looked = 0; looked < LOOKED_AT_MAX;) {
    const count = Math.min(PAGE, ask.count - jobs.length)
    const heads = await store.heads(when, from, count, flowOf(ask))
    const now = clock.wall()
    const found = await Promise.all(heads.map((head) => withClaim(room, head, now)))
    jobs.push(...found.filter(({ state }) => ask.state === null || state === ask.state))
    if (heads.length < count) return { jobs, next: null }
    from = after(heads)
    looked += heads.length
    if (jobs.length >= ask.count) break
  }
  return { jobs, next: from }
}

async function withClaim(
  { of: { store } }: JobsRoom,
  head: JobHead,
  now: Millis,
): Promise<ListedJob> {
  const there = await store.claimOf(head.tenant, head.id)
  const claim = there?.claim
  const early = head.notBeforeMs > 0 && now < head.acceptedAt + head.notBeforeMs
  return listed(head, {
    state: early ? 'delayed' : claim?.calling === true ? 'running' : 'queued',
    attempts: claim?.attempts ?? 0,
    instance: claim === undefined || claim.by === NOBODY ? null : claim.by,
    reason: null,
  })
}

const listed = (
  head: JobHead,
  of: {
    state: JobState
    attempts: number | null
    instance: string | null
    reason: DeadHead['reason'] | null
  },
): ListedJob => ({
  ...{ tenant: head.tenant, lane: head.lane, id: head.id, state: of.state },
  accepted_at: timeOf(head.acceptedAt),
  deadline_at: timeOf(head.acceptedAt + head.deadlineMs),
  starts_at: head.notBeforeMs === 0 ? null : timeOf(head.acceptedAt + head.notBeforeMs),
  ...{ attempts: of.attempts, instance: of.instance },
  batch: head.group === NO_GROUP ? null : head.group,
  dead_reason: of.reason,
})

const timeOf = (ms: Millis): string => new Date(ms).toISOString()

const after = (heads: readonly JobHead[]): number => (heads.at(-1)?.seq ?? 0) + 1

const flowOf = ({ tenant, lane }: JobsList): Partial<JobFlow> => ({
  ...(tenant === null ? {} : { tenant }),
  ...(lane === null ? {} : { lane }),
})
