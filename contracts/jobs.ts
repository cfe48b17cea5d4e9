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
  /** Who had a result's job, as JSON: its owners, the one that ended it last. */
  owners: 'Headgate-Owners',
  /** Why a job is dead. */
  reason: 'Headgate-Dead-Reason',
} as const

/** The group of a job that stands alone. */
export const NO_GROUP = '_'

/** Who holds a claim that was given back: whoever comes first may have the job. */
export const NOBODY = '-'

/** Who holds the claim of a job that is in a batch of the provider's: no instance, but the gathering, which outlives
 *  each of them. */
export const heldByBatch = (gathering: string): string => `batch:${gathering}`
export const isHeldByBatch = (by: string): boolean => by.startsWith('batch:')

/** Earlier owners that a claim names, the last ones. */
export const PAST_MAX = 16

/** One that had a job, and how it came that it has it no more. */
export const pastOwner = z.object({
  by: z.string().max(64),
  /** When it took the job, ms since 1970; 0: nobody wrote it down. */
  since: z.number(),
  how: z.enum(['died', 'returned', 'ended']),
  /** Calls that were begun until then, by whomever. */
  attempts: z.int().min(0),
  /** The last of them was under way, and may have run. */
  calling: z.boolean(),
})
export type PastOwner = z.infer<typeof pastOwner>

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
  /** Calls whose instance died under them: each may have run. */
  ambiguous: z.int().min(0).default(0),
  /** When it was taken, ms since 1970. */
  since: z.number().optional(),
  /** Who had it before, the first one first. */
  past: z.array(pastOwner).max(PAST_MAX).optional(),
})
export type JobClaim = z.infer<typeof jobClaim>

/** Why a job was given up through no fault of its caller's. */
export const DEAD_REASONS = [
  'claims_exhausted',
  'may_have_acted',
  'retries_exhausted',
  'unreadable',
  'result_too_large',
  'unknown_lane',
] as const
export type DeadReason = (typeof DEAD_REASONS)[number]

/** The largest `Headgate-Not-Before-Ms`, and the largest `Headgate-Wait-Ms`: 7 days. */
export const LONGEST_MS: Millis = 604_800_000

/** How an entry of a batch ends. */
export type BatchEnd = 'succeeded' | 'errored' | 'expired' | 'canceled'

/** Jobs that go to the provider as one batch, as this is noted before and after each step that cannot be taken back.
 *  A job is known by its place in the store; its custom id is `customIdOf`. */
export const gathering = z.object({
  version: z.literal(1),
  id: z.string().regex(/^[a-z0-9]{1,32}$/),
  /** The instance that works on it. */
  by: z.string().max(64),
  model: z.string(),
  upstream: z.string(),
  /** Of the provider's API; absent: as configured. */
  headers: z.object({ version: z.string().optional(), beta: z.string().optional() }),
  /** 1, and 2 where entries whose turn never came are sent again. */
  round: z.int().min(1),
  /** Places of the jobs, in order. */
  jobs: z.array(z.int().min(0)),
  /** When this state began, ms since 1970. */
  at: z.number(),
  /** When what is not done goes in line, ms since 1970. */
  giveUpAt: z.number(),
  /** `claiming`: nothing was sent. `creating`: it may have been. `created`: the provider said its id, or the list
   *  did. */
  state: z.enum(['claiming', 'creating', 'created']),
  /** The provider's id. */
  batch: z.string().nullable(),
  /** It was found in the list and not told to us: its results must bear our custom ids, or it is another. */
  found: z.boolean(),
  /** Batches of the list that turned out to be others. */
  others: z.array(z.string()),
})
export type Gathering = z.infer<typeof gathering>

/** By which the results of a gathering are known: at most 64 of `a-z A-Z 0-9 _ -`. */
export const customIdOf = ({ id, round }: Pick<Gathering, 'id' | 'round'>, seq: number): string =>
  `${id}-${round}-${seq}`

/** The job's place; null: it is none of the gathering's. */
export function seqOf(
  { id, round }: Pick<Gathering, 'id' | 'round'>,
  customId: string,
): number | null {
  const prefix = `${id}-${round}-`
  const seq = Number(customId.startsWith(prefix) ? customId.slice(prefix.length) : NaN)
  return Number.isSafeInteger(seq) ? seq : null
}

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
