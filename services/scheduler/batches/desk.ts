/** What an HTTP door asks about batches. A batch is there from its commit on: before it nobody sees it, and after it
 *  whatever dies it goes on. Another tenant's is none. */
import type { z } from 'zod'
import {
  batchAsk,
  batchCommit,
  batchId,
  batchList,
  batchOpen,
  batchResults,
  messageBatch,
  NO_TALLY,
  PAGE_BYTES,
  type Batch,
  type BatchOp,
  type BatchOpened,
} from '#contracts/batches'
import { firstIssue, refusal, type Refusal } from '#contracts/messages'
import {
  JobStoreError,
  type BatchAsked,
  type Batches,
  type BatchSaid,
  type BatchStore,
  type Clock,
  type Jobs,
  type MessageBatchNews,
  type Millis,
  type Scheduler,
} from '#ports'
import { jsonOf, namesOf, readPage } from './pages.ts'
import { change, recount } from './records.ts'
import { resultsPage } from './results.ts'
import type { BatchWork } from './work.ts'

export interface BatchDeskOptions {
  store: BatchStore
  jobs: Jobs
  scheduler: Scheduler
  work: BatchWork
  clock: Clock
  instance: string
  /** What makes an id one of its own. */
  chance: () => string
  /** How long a lane's requests have, unless they say; null: no such lane. */
  timeoutOf: (lane: string) => Millis | null
  limits: () => {
    entriesMax: number
    tenantMax: number
    requestBytes: number
    resultsAgeMs: Millis
  }
  news: (news: MessageBatchNews) => void
  onError: (error: unknown) => void
}

/** The first line of a page, and what a message has beside its data. */
const PAGE_OVERHEAD_BYTES = 2_048

export function batchDesk(of: BatchDeskOptions): Batches {
  const ops: Record<BatchOp, (asked: BatchAsked) => Promise<BatchSaid>> = {
    open: (asked) => open(of, asked),
    page: (asked) => page(of, asked),
    commit: (asked) => commit(of, asked),
    drop: (asked) => drop(of, asked),
    get: (asked) => get(of, asked),
    list: (asked) => list(of, asked),
    cancel: (asked) => cancel(of, asked),
    results: (asked) => results(of, asked),
    delete: (asked) => remove(of, asked),
  }
  return {
    async ask(op, asked) {
      try {
        return await ops[op](asked)
      } catch (error) {
        if (error instanceof Refused) return { refused: error.refusal }
        of.onError(error)
        return { refused: notStored(error) }
      }
    },
  }
}

/** Thrown and caught here. */
class Refused extends Error {
  readonly refusal: Refusal
  constructor(said: Refusal) {
    super(said.code)
    this.refusal = said
  }
}

function read<Shape extends z.ZodType>(shape: Shape, { data }: BatchAsked): z.infer<Shape> {
  const asked = shape.safeParse(jsonOf(data))
  if (asked.success) return asked.data
  throw new Refused(refusal('invalid_request', firstIssue(asked.error)))
}

// ---- receiving ----

async function open(of: BatchDeskOptions, asked: BatchAsked): Promise<BatchSaid> {
  const { store, clock, instance } = of
  const { lane } = read(batchOpen, asked)
  const { tenant, said } = asked
  const timeoutMs = of.timeoutOf(lane)
  // Its entries have models of their own, and each is told what is wrong with its own.
  const never = of.scheduler.check({ tenant, lane, model: '' })
  if (never !== null && never.code !== 'unknown_model') return { refused: never }
  if (timeoutMs === null) return { refused: refusal('unknown_lane', 'no such lane') }
  const { tenantMax, entriesMax, requestBytes } = of.limits()
  if ((await store.idsOf(tenant)).length >= tenantMax)
    return { refused: refusal('queue_full', `${tenantMax} batches are kept (batches.tenant_max)`) }
  const now = clock.wall()
  const batch: Batch = {
    ...{ tenant, lane, id: batchId(now, of.chance()), state: 'receiving' },
    ...{ createdAt: now, touchedAt: now, by: instance },
    expiresAt: now + (said.deadlineMs ?? timeoutMs),
    ...{ cancelAt: null, endedAt: null },
    ...{
      entries: 0,
      pages: 0,
      begun: 0,
      fed: 0,
      fedEntries: 0,
      cancelled: 0,
      tally: NO_TALLY,
      countedTo: 0,
    },
    headers: said.headers,
    degrade: said.degrade.filter((step) => step !== 'defer'),
    maxAttempts: said.maxAttempts,
  }
  if (!(await store.create(batch))) throw new JobStoreError('away', 'a batch has this id')
  of.news({ what: 'opened' })
  const opened: BatchOpened = {
    id: batch.id,
    entry_bytes: Math.max(0, Math.min(requestBytes, store.pageBytesMax - PAGE_OVERHEAD_BYTES)),
    page_bytes: Math.max(0, Math.min(PAGE_BYTES, store.pageBytesMax - PAGE_OVERHEAD_BYTES)),
    entries_max: entriesMax,
  }
  return { json: opened }
}

async function page(of: BatchDeskOptions, { tenant, data }: BatchAsked): Promise<BatchSaid> {
  const { store } = of
  const found = readPage(data)
  if (found === null) return { refused: refusal('invalid_request', 'expected a page of entries') }
  const { head } = found
  const name = { tenant, id: head.id }
  await receiving(of, name)
  await store.putPage({ ...name, kind: 'names', page: head.page }, namesOf(head))
  await store.putPage({ ...name, kind: 'entries', page: head.page }, data)
  of.news({ what: 'page', entries: head.entries.length, bytes: data.length })
  return { json: {} }
}

/** From here on it is there. */
async function commit(of: BatchDeskOptions, asked: BatchAsked): Promise<BatchSaid> {
  const { id, pages, entries } = read(batchCommit, asked)
  const name = { tenant: asked.tenant, id }
  await receiving(of, name)
  const batch = await change(of.store, name, (before) =>
    before.state === 'receiving'
      ? { ...before, state: 'in_progress', pages, entries, touchedAt: of.clock.wall() }
      : null,
  )
  if (batch === null) return UNKNOWN
  of.news({ what: 'received' })
  void of.work.run(name)
  return { json: shown(of, batch) }
}

/** What came of it is not wanted. */
async function drop(of: BatchDeskOptions, asked: BatchAsked): Promise<BatchSaid> {
  const { id } = read(batchAsk, asked)
  const name = { tenant: asked.tenant, id }
  const found = await of.store.find(name)
  if (found?.batch.state === 'receiving') {
    await of.store.remove(name)
    of.news({ what: 'dropped' })
  }
  return { json: {} }
}

/** It is being received still, and somebody is there. */
async function receiving(
  { store, clock }: BatchDeskOptions,
  name: { tenant: string; id: string },
): Promise<void> {
  const batch = await change(store, name, (before) =>
    before.state === 'receiving' ? { ...before, touchedAt: clock.wall() } : null,
  )
  if (batch === null) throw new Refused(NO_BATCH)
  if (batch.state !== 'receiving')
    throw new Refused(refusal('invalid_request', 'the batch is complete'))
}

// ---- what is asked of one that is there ----

async function get(of: BatchDeskOptions, asked: BatchAsked): Promise<BatchSaid> {
  const { id } = read(batchAsk, asked)
  const batch = await recount(of, { tenant: asked.tenant, id })
  return batch === null || batch.state === 'receiving' ? UNKNOWN : { json: shown(of, batch) }
}

async function list(of: BatchDeskOptions, asked: BatchAsked): Promise<BatchSaid> {
  const { limit, before_id: before, after_id: after } = read(batchList, asked)
  const { tenant } = asked
  const all = await of.store.idsOf(tenant)
  const rest = all.filter(
    (id) => (after === undefined || id < after) && (before === undefined || id > before),
  )
  // Those before an id are the nearest to it.
  if (before !== undefined && after === undefined) rest.reverse()
  const data: object[] = []
  let more = false
  for (const id of rest) {
    const batch = await recount(of, { tenant, id })
    if (batch === null || batch.state === 'receiving') continue
    more = data.length === limit
    if (more) break
    data.push(shown(of, batch))
  }
  if (before !== undefined && after === undefined) data.reverse()
  return { json: { data, has_more: more } }
}

async function cancel(of: BatchDeskOptions, asked: BatchAsked): Promise<BatchSaid> {
  const { id } = read(batchAsk, asked)
  const name = { tenant: asked.tenant, id }
  const before = await recount(of, name)
  if (before === null || before.state === 'receiving') return UNKNOWN
  const batch = await change(of.store, name, (now) =>
    now.state === 'in_progress'
      ? { ...now, state: 'canceling', cancelAt: of.clock.wall(), touchedAt: of.clock.wall() }
      : null,
  )
  if (batch === null) return UNKNOWN
  if (batch.state === 'canceling') {
    if (before.state !== 'canceling') of.news({ what: 'cancelled' })
    void of.work.run(name)
  }
  return { json: shown(of, batch) }
}

async function remove(of: BatchDeskOptions, asked: BatchAsked): Promise<BatchSaid> {
  const { id } = read(batchAsk, asked)
  const name = { tenant: asked.tenant, id }
  const batch = await recount(of, name)
  if (batch === null || batch.state === 'receiving') return UNKNOWN
  if (batch.state !== 'ended')
    return { refused: refusal('invalid_request', 'the batch has not ended; cancel it first') }
  await of.store.remove(name)
  of.news({ what: 'deleted' })
  return { json: { id, type: 'message_batch_deleted' } }
}

async function results(of: BatchDeskOptions, asked: BatchAsked): Promise<BatchSaid> {
  const { id, from } = read(batchResults, asked)
  const batch = await recount(of, { tenant: asked.tenant, id })
  if (batch === null || batch.state === 'receiving') return UNKNOWN
  if (batch.state !== 'ended')
    return { refused: refusal('invalid_request', 'the batch has not ended; it has no results yet') }
  if (archivedAt(of, batch) !== null)
    return { refused: { ...NO_BATCH, message: 'the results are gone (results.max_age)' } }
  return { bytes: await resultsPage(of, batch, from) }
}

// ---- small servants ----

const NO_BATCH = refusal('unknown_id', 'no batch of this tenant has this id')
const UNKNOWN: BatchSaid = { refused: NO_BATCH }

/** When the last of its results was too old to be kept; null: it is not. */
function archivedAt({ clock, limits }: BatchDeskOptions, { endedAt }: Batch): Millis | null {
  const at = endedAt === null ? Infinity : endedAt + limits().resultsAgeMs
  return at <= clock.wall() ? at : null
}

function shown(of: BatchDeskOptions, batch: Batch): object {
  const at = archivedAt(of, batch)
  return { ...messageBatch(batch), archived_at: at === null ? null : new Date(at).toISOString() }
}

function notStored(error: unknown): Refusal {
  const reason = error instanceof JobStoreError ? error.reason : 'away'
  if (reason === 'too_large')
    return refusal('payload_too_large', "an entry is larger than the NATS server's max_payload")
  return refusal(
    'queue_full',
    reason === 'full' ? 'the store of batches is full' : 'the store of batches does not answer',
    { retryAfterMs: 5_000 },
  )
}
