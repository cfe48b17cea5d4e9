/** Message batches: what is kept of one, what the door asks about them, and how the API shows them. */
import { z } from 'zod'
import { TOKEN, TOKEN_SHAPE } from './ids.ts'
import { DEGRADE_STEPS } from './messages.ts'
import type { Millis } from './units.ts'

/** What may be asked; each has a subject of its own. In the order of a batch's life. */
export const BATCH_OPS = [
  'open',
  'page',
  'commit',
  'drop',
  'get',
  'list',
  'cancel',
  'results',
  'delete',
] as const
export type BatchOp = (typeof BATCH_OPS)[number]

/** The API's own bounds. */
export const BATCH_ENTRIES_MAX = 100_000
export const BATCH_BYTES_MAX = 268_435_456

/** A page of a list, as the API has it. */
export const LIST_DEFAULT = 20
export const LIST_MAX = 1_000

/** Entries of one page: so many names are read together. */
export const PAGE_ENTRIES_MAX = 1_000
/** A page is full past so many bytes; one entry may be larger. */
export const PAGE_BYTES = 524_288

const at = z.number().min(0)
const count = z.int().min(0)
const token = z.string().regex(TOKEN, { error: `expected ${TOKEN_SHAPE}` })

/** `custom_id` of an entry. */
export const CUSTOM_ID = TOKEN
export const CUSTOM_ID_SHAPE = TOKEN_SHAPE

/** How the entries ended that are over. */
const tally = z.object({
  succeeded: count,
  errored: count,
  canceled: count,
  expired: count,
})
export type Tally = z.infer<typeof tally>
export const NO_TALLY: Tally = { succeeded: 0, errored: 0, canceled: 0, expired: 0 }
export const tallied = (of: Tally): number => of.succeeded + of.errored + of.canceled + of.expired

/** A batch as it is kept. Times are ms since 1970. */
export const batchRecord = z.object({
  tenant: token,
  id: token,
  lane: token,
  /** `receiving`: its entries are being sent, and nobody sees it. */
  state: z.enum(['receiving', 'in_progress', 'canceling', 'ended']),
  createdAt: at,
  expiresAt: at,
  cancelAt: at.nullable(),
  endedAt: at.nullable(),
  /** When somebody last worked on it, and who. */
  touchedAt: at,
  by: z.string().max(64),
  /** Its entries, and the pages they came in. */
  entries: count,
  pages: count,
  /** Pages of which an entry may be a job. */
  begun: count,
  /** Pages whose entries all became jobs, and how many entries those are. */
  fed: count,
  fedEntries: count,
  /** Pages whose jobs were cancelled. */
  cancelled: count,
  tally,
  /** Results before this place are counted. */
  countedTo: count,
  /** What all its entries are sent with. */
  headers: z.object({ version: z.string().optional(), beta: z.string().optional() }),
  degrade: z.array(z.enum(DEGRADE_STEPS)),
  maxAttempts: z.int().nullable(),
})
export type Batch = z.infer<typeof batchRecord>

/** An entry's job, of which the batch and the entry can be told. */
export const entryJob = (batch: string, page: number, entry: number): string =>
  `${batch}_${page}_${entry}`

/** Null: it is none of that batch. */
export function entryOfJob(batch: string, job: string): { page: number; entry: number } | null {
  const found = job.startsWith(`${batch}_`)
    ? /^(\d{1,6})_(\d{1,6})$/.exec(job.slice(batch.length + 1))
    : null
  return found === null ? null : { page: Number(found[1]), entry: Number(found[2]) }
}

// ---- what the door asks ----

export const batchOpen = z.object({ lane: token })
export const batchAsk = z.object({ id: token })
export const batchOpened = z.object({
  id: token,
  /** What one entry, and one page, may have. */
  entry_bytes: count,
  page_bytes: count,
  entries_max: count,
})
export type BatchOpened = z.infer<typeof batchOpened>

/** The first line of a page; after it the entries' `params`, end to end. */
export const pageHead = z.object({
  id: token,
  page: z.int().min(0).max(BATCH_ENTRIES_MAX),
  /** `custom_id`, and bytes of `params`. */
  entries: z
    .array(z.tuple([token, count]))
    .min(1)
    .max(PAGE_ENTRIES_MAX),
})
export type PageHead = z.infer<typeof pageHead>

export const batchCommit = z.object({ id: token, pages: count, entries: count })

const LIMIT = `expected a whole number from 1 to ${LIST_MAX}`
const CURSOR = 'expected the id of a batch'
const cursor = z.string({ error: CURSOR }).max(64, CURSOR).optional()

export const batchList = z.object({
  limit: z.int(LIMIT).min(1, LIMIT).max(LIST_MAX, LIMIT),
  before_id: cursor,
  after_id: cursor,
})

/** Where the lines of results go on: among the stored results, or among the entries that have none. */
export const resultsFrom = z.union([
  z.object({ result: count, told: count }),
  z.object({ page: count, lost: z.boolean() }),
])
export type ResultsFrom = z.infer<typeof resultsFrom>
export const batchResults = z.object({ id: token, from: resultsFrom })

/** The first line of a page of results: where the next begins; null: there is none. */
export const resultsHead = z.object({ next: resultsFrom.nullable() })

// ---- what the API shows ----

/** As the API has it, without the address of its results, which only a door knows. */
export function messageBatch(of: Batch): Record<string, unknown> & { results_url: null } {
  const ended = of.state === 'ended'
  const counts = ended ? { processing: 0, ...of.tally } : { processing: of.entries, ...NO_TALLY }
  return {
    id: of.id,
    type: 'message_batch',
    processing_status: of.state,
    request_counts: counts,
    created_at: rfc3339(of.createdAt),
    expires_at: rfc3339(of.expiresAt),
    ended_at: of.endedAt === null ? null : rfc3339(of.endedAt),
    cancel_initiated_at: of.cancelAt === null ? null : rfc3339(of.cancelAt),
    archived_at: null,
    results_url: null,
  }
}

const rfc3339 = (time: Millis): string => new Date(time).toISOString()

const TIME_CHARS = 10
const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz'

/** An id that sorts by time; `chance` is what makes it one of its own. */
export function batchId(now: Millis, chance: string): string {
  let time = ''
  for (let rest = Math.floor(now), i = 0; i < TIME_CHARS; i++, rest = Math.floor(rest / 32))
    time = `${ALPHABET[rest % 32]}${time}`
  return `msgbatch_${time}${chance}`
}
