/** Durable jobs as they are stored (wire contract, section A job). A job, its claim and its result are one message
 *  each, under subjects that carry their names; what else is known of them stands in these headers. */
import { z } from 'zod'
import { TOKEN, TOKEN_SHAPE } from './ids.ts'
import { only } from './plain-words.ts'
import type { Millis } from './units.ts'

/** Headers of stored messages, beside those that the caller gave or is given. */
export const STORED = {
  /** SHA-256 of the body, in base64url: what makes the same id the same job. */
  hash: 'Headgate-Body-Hash',
  /** When the job was accepted, ms since 1970. */
  acceptedAt: 'Headgate-Accepted-At',
  /** Where a result's job was. */
  lane: 'Headgate-Lane',
  /** Why a job is dead. */
  reason: 'Headgate-Dead-Reason',
} as const

/** The group of a job that stands alone. */
export const NO_GROUP = '_'

/** Who holds a claim that was given back: whoever comes first may have the job. */
export const NOBODY = '-'

/** Who works on a job, and how far it got. Attempts and claims count over all owners. */
export const jobClaim = z.object({
  /** The instance; `NOBODY`: it was given back, with what had been done. */
  by: z.string().max(64),
  /** How often it was claimed, this time included. */
  claims: z.int().min(1),
  /** Calls that were begun. */
  attempts: z.int().min(0),
  /** The last of them may be under way. */
  calling: z.boolean(),
})
export type JobClaim = z.infer<typeof jobClaim>

/** Why a job was given up through no fault of its caller's. */
export const DEAD_REASONS = [
  'claims_exhausted',
  'retries_exhausted',
  'unreadable',
  'result_too_large',
  'unknown_lane',
] as const
export type DeadReason = (typeof DEAD_REASONS)[number]

/** The largest `Headgate-Not-Before-Ms`, and the largest `Headgate-Wait-Ms`: 7 days. */
export const LONGEST_MS: Millis = 604_800_000

// ---- what an operator asks of them ----

/** Where a stored job stands: no call of it is under way, one is, it may not start yet, or it was given up. */
export const JOB_STATES = ['queued', 'running', 'delayed', 'dead'] as const
export type JobState = (typeof JOB_STATES)[number]

/** Jobs of one page of a list. */
export const JOBS_PAGE = 100
export const JOBS_PAGE_MAX = 1_000

const name = (what: string) =>
  z.string().regex(TOKEN, { error: `${what}: expected ${TOKEN_SHAPE}` })

/** A list, which nothing else needs to be said for, or an act on one dead job. */
export const jobsBody = only({
  act: z.enum(['list', 'requeue', 'drop']).optional().describe('Default `list`.'),
  tenant: name('tenant').optional(),
  lane: name('lane').optional().describe('Of a list.'),
  state: z.enum(JOB_STATES).optional().describe('Of a list; absent: all but the dead.'),
  id: name('id').optional().describe('Of an act.'),
  from: z.int().min(0).optional().describe('Of a list: `next` of the page before.'),
  count: z
    .int()
    .min(1)
    .max(JOBS_PAGE_MAX)
    .optional()
    .describe(`Of a list: jobs of a page, ${JOBS_PAGE} if nothing is said.`),
})

export type JobsAsk = JobsList | { act: 'requeue' | 'drop'; tenant: string; id: string }
export interface JobsList {
  act: 'list'
  tenant: string | null
  lane: string | null
  /** Null: all but the dead. */
  state: JobState | null
  from: number
  count: number
}

/** What was asked, or what is missing. */
export function jobsAsk(body: z.infer<typeof jobsBody>): JobsAsk | string {
  const { act = 'list', tenant, id, ...list } = body
  if (act === 'list') {
    if (id !== undefined) return 'id: a list has none; status asks of one job'
    const { lane = null, state = null, from = 0, count = JOBS_PAGE } = list
    return { act, tenant: tenant ?? null, lane, state, from, count }
  }
  if (tenant === undefined || id === undefined)
    return `${tenant === undefined ? 'tenant' : 'id'}: ${act} needs the tenant and the id of a dead job`
  if (Object.keys(list).length > 0) return `${act}: expected tenant and id, and nothing beside`
  return { act, tenant, id }
}

export const listedJob = z.object({
  tenant: z.string(),
  lane: z.string(),
  id: z.string(),
  state: z.enum(JOB_STATES),
  accepted_at: z.string().describe('RFC 3339.'),
  deadline_at: z.string().describe('RFC 3339.'),
  starts_at: z.string().nullable().describe('RFC 3339; null: it may start as soon as it can.'),
  attempts: z.int().min(0).nullable().describe('Calls that were begun; null: not known.'),
  instance: z.string().nullable().describe('Who holds it; null: nobody.'),
  batch: z.string().nullable().describe('`Headgate-Batch`; null: it stands alone.'),
  dead_reason: z.enum(DEAD_REASONS).nullable().describe('Null: it is not dead.'),
})
export type ListedJob = z.infer<typeof listedJob>

/** A page may hold fewer than it may, and none: `next` says whether there may be more. */
export const jobsPage = z.object({
  jobs: z.array(listedJob).describe('The oldest first.'),
  next: z.int().nullable().describe('`from` of the next page; null: that was all.'),
})
export type JobsPage = z.infer<typeof jobsPage>

export const jobsAnswer = z.union([
  jobsPage,
  z.object({ requeued: z.boolean() }).describe('False: no dead job has this tenant and id.'),
  z.object({ dropped: z.boolean() }).describe('False: no dead job has this tenant and id.'),
])
