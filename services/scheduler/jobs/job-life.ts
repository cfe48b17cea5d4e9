/** One job's life, from what is stored of it: the same whichever instance is asked, and after a restart. */
import { z } from 'zod'
import type { JobLife } from '#contracts/dashboard'
import { NOBODY, pastOwner, STORED, type JobClaim, type PastOwner } from '#contracts/jobs'
import { HEADER } from '#contracts/messages'
import { OUTCOMES } from '#contracts/outcome'
import type { JobResult, JobStore, Millis, StoredJob } from '#ports'

/** Null: the store has neither the job nor its result. */
export async function jobLife(
  store: JobStore,
  { tenant, id, wall }: { tenant: string; id: string; wall: Millis },
): Promise<JobLife | null> {
  const result = await store.result(tenant, id)
  if (result !== null) return ended(result)
  const job = await store.find(tenant, id)
  if (job !== null) return waiting(job, (await store.claimOf(tenant, id))?.claim ?? null, wall)
  // It ended between the two questions, or nobody knows it.
  const late = await store.result(tenant, id)
  return late === null ? null : ended(late)
}

type Owner = JobLife['owners'][number]

function waiting(job: StoredJob, claim: JobClaim | null, wall: Millis): JobLife {
  const { tenant, lane, id, acceptedAt, notBeforeMs, deadlineMs } = job
  const held = claim !== null && claim.by !== NOBODY
  const past = claim?.past ?? []
  const owners: Owner[] = past.map(ownerOf)
  if (held) {
    const { by: instance, since, attempts, calling } = claim
    owners.push({ instance, since: since ?? null, how: 'has', attempts, calling })
  }
  const due = acceptedAt + notBeforeMs
  const free = notBeforeMs > 0 && due > wall ? 'delayed' : 'stored'
  return {
    ...{ tenant, lane, id },
    state: held ? (claim.calling ? 'calling' : 'claimed') : free,
    accepted_at: acceptedAt,
    due_at: notBeforeMs > 0 ? due : null,
    deadline_at: acceptedAt + deadlineMs,
    ...{ ended_at: null, outcome: null },
    attempts: claim?.attempts ?? 0,
    ambiguous: isAmbiguous(past),
    owners,
  }
}

function ended({ tenant, id, headers }: JobResult): JobLife {
  const of = new Map(headers.map(([name, value]) => [name.toLowerCase(), value]))
  const said = (name: string): string => of.get(name.toLowerCase()) ?? ''
  const acceptedAt = Number(said(STORED.acceptedAt)) || 0
  const past = ownersSaid(said(STORED.owners))
  return {
    ...{ tenant, lane: said(STORED.lane), id, state: 'ended' },
    accepted_at: acceptedAt,
    ...{ due_at: null, deadline_at: null },
    ended_at: acceptedAt + (Number(said(HEADER.totalMs)) || 0),
    outcome: OUTCOMES.find((one) => one === said(HEADER.outcome)) ?? null,
    attempts: Number(said(HEADER.attempts)) || 0,
    ambiguous: isAmbiguous(past),
    owners: past.map(ownerOf),
  }
}

const ownerOf = ({ by, since, ...more }: PastOwner): Owner => ({
  ...{ instance: by, since: since === 0 ? null : since },
  ...more,
})

/** Whoever ended it saw what came of its calls. */
const isAmbiguous = (past: readonly PastOwner[]): boolean =>
  past.some(({ how, calling }) => how !== 'ended' && calling)

const owners = z.array(pastOwner)

/** Of a result that another version stored there may be none. */
function ownersSaid(text: string): PastOwner[] {
  try {
    return owners.parse(JSON.parse(text))
  } catch {
    return []
  }
}
