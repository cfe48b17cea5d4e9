/** Message batches: accepted at once, worked on behind the scenes, answered in no particular order.
 *  A batch has no limits but its own size here, and its items meet no faults. */
import type { Millis } from '#contracts/units'
import { errorBody, invalid, type ApiError } from './api-error.ts'
import { diceOf, makeId } from './chance.ts'
import { messageBody } from './message.ts'
import type { Settings } from './options.ts'
import { isJson, isOrder, parseBody, readParams, type Order } from './order.ts'
import { drawService } from './service.ts'

/** An answer in JSON (lines, for results), or the error. */
export type Said = { text: string; contentType?: string } | ApiError

export interface Batches {
  /** `path` is what follows `/v1/messages/batches`. */
  serve(call: {
    method: string
    path: string
    body: Buffer
    version: string
    now: Millis
    /** Hears of each item that runs. */
    onItem(item: { order: Order; messageId: string; output: number }): void
  }): Said
}

interface Item {
  customId: string
  read: Order | ApiError
}

interface Batch {
  id: string
  items: Item[]
  seed: number
  createdAt: Millis
  endsAt: Millis
  canceledAt: Millis | null
}

export const BATCH_REQUESTS_MAX = 100_000
/** Batches remembered; past it the oldest is forgotten. */
const BATCHES_MAX = 100
const DAY: Millis = 86_400_000

export function createBatches(settings: Settings): Batches {
  const batches = new Map<string, Batch>()
  let made = 0

  const tell = (item: Item, index: number, batch: Batch) => {
    if (!isOrder(item.read)) return null
    const dice = diceOf(batch.seed, index)
    const service = drawService(item.read, settings, dice)
    const messageId = makeId('msg_01', index, dice)
    return { order: item.read, service, messageId }
  }

  const create: Batches['serve'] = ({ body, version, now, onItem }) => {
    const items = readItems(body, version)
    if ('message' in items) return items
    made++
    const seed = settings.seed * 7_919 + made
    const id = makeId('msgbatch_01', made, diceOf(seed, 0))
    const batch: Batch = { id, items, seed, createdAt: now, endsAt: now, canceledAt: null }
    items.forEach((item, index) => {
      const told = tell(item, index, batch)
      if (told === null) return
      batch.endsAt = Math.max(batch.endsAt, now + told.service.totalMs / settings.speed)
      onItem({ order: told.order, messageId: told.messageId, output: told.service.tokens })
    })
    if (batches.size >= BATCHES_MAX) {
      const [oldest] = batches.keys()
      if (oldest !== undefined) batches.delete(oldest)
    }
    batches.set(id, batch)
    return { text: JSON.stringify(batchPage(batch, now)) }
  }

  const results = (batch: Batch, now: Millis): Said => {
    if (!isEnded(batch, now)) return invalid('results are not available before the batch ended')
    const lines = batch.items.map((item, index) => {
      const told = tell(item, index, batch)
      const custom = `{"custom_id":${JSON.stringify(item.customId)},"result":`
      if (batch.canceledAt !== null) return `${custom}{"type":"canceled"}}`
      return told === null
        ? `${custom}{"type":"errored","error":${errorBody(item.read as ApiError, batch.id)}}}`
        : `${custom}{"type":"succeeded","message":${messageBody(told)}}}`
    })
    return { text: `${lines.toReversed().join('\n')}\n`, contentType: 'application/x-jsonl' }
  }

  return {
    serve(call) {
      const { method, path, now } = call
      const [, id = '', what = ''] = path.split('/')
      if (id === '') {
        if (method === 'POST') return create(call)
        const data = [...batches.values()].toReversed().map((batch) => batchPage(batch, now))
        const ends = { first_id: data[0]?.id ?? null, last_id: data.at(-1)?.id ?? null }
        return { text: JSON.stringify({ data, has_more: false, ...ends }) }
      }
      const batch = batches.get(id)
      if (batch === undefined) return invalid(`No batch with ID ${id.slice(0, 64)}`, 404)
      if (what === 'results' && method === 'GET') return results(batch, now)
      if (what === 'cancel' && method === 'POST') {
        if (!isEnded(batch, now)) Object.assign(batch, { canceledAt: now, endsAt: now })
        return { text: JSON.stringify(batchPage(batch, now)) }
      }
      if (what !== '' || method !== 'GET') return invalid('Not found', 404)
      return { text: JSON.stringify(batchPage(batch, now)) }
    },
  }
}

const isEnded = (batch: Batch, now: Millis): boolean => now >= batch.endsAt

function readItems(bytes: Buffer, version: string): Item[] | ApiError {
  const requests = parseBody(bytes)?.requests
  if (!Array.isArray(requests) || requests.length === 0) {
    return invalid('requests: expected at least one request')
  }
  if (requests.length > BATCH_REQUESTS_MAX) {
    return invalid(`requests: at most ${BATCH_REQUESTS_MAX} per batch`, 413)
  }
  const seen = new Set<string>()
  const items: Item[] = []
  for (const [index, request] of requests.entries() as IterableIterator<[number, unknown]>) {
    if (!isJson(request) || typeof request.custom_id !== 'string' || !isJson(request.params)) {
      return invalid(`requests.${index}: expected a custom_id and params`)
    }
    const customId = request.custom_id
    if (seen.has(customId)) return invalid(`requests.${index}.custom_id: must be unique`)
    seen.add(customId)
    items.push({ customId, read: readParams(request.params, version, ITEM_BYTES) })
  }
  return items
}

/** Nothing is drawn from a quota for a batch, so an item's size need not be known. */
const ITEM_BYTES = 0

function batchPage(batch: Batch, now: Millis) {
  const ended = isEnded(batch, now)
  const total = batch.items.length
  const failed = batch.items.filter((item) => !isOrder(item.read)).length
  const canceled = batch.canceledAt === null ? 0 : total
  const done = ended && canceled === 0
  return {
    id: batch.id,
    type: 'message_batch',
    processing_status: ended ? 'ended' : 'in_progress',
    request_counts: {
      processing: ended ? 0 : total,
      succeeded: done ? total - failed : 0,
      errored: done ? failed : 0,
      canceled,
      expired: 0,
    },
    created_at: rfc3339(batch.createdAt),
    expires_at: rfc3339(batch.createdAt + DAY),
    ended_at: ended ? rfc3339(batch.endsAt) : null,
    cancel_initiated_at: batch.canceledAt === null ? null : rfc3339(batch.canceledAt),
    archived_at: null,
    results_url: ended ? `/v1/messages/batches/${batch.id}/results` : null,
  }
}

const rfc3339 = (at: Millis): string => new Date(at).toISOString()
