/** Message batches: accepted at once, worked on behind the scenes at half the price, answered in no particular
 *  order. A batch draws on no quota. Its faults are two: entries that end in an error of the server's, and entries
 *  whose turn never comes; what happens to the calls about it, the fault schedule says. */
import type { Millis } from '#contracts/units'
import { errorBody, invalid, type ApiError } from './api-error.ts'
import { batchPage, endOf, isEnded, listPage, type PageAsk } from './batch-pages.ts'
import { diceOf, makeId } from './chance.ts'
import { messageBody } from './message.ts'
import type { Settings } from './options.ts'
import { isJson, isOrder, parseBody, readParams, type Order } from './order.ts'
import { drawService, type Service } from './service.ts'

/** An answer in JSON (lines, for results), or the error. */
export type Said = { text: string; contentType?: string } | ApiError

/** How batches go; what is changed holds for those that are made later, `cancelMs` for all. */
export interface BatchWays {
  /** How long one takes at least; else as long as its longest answer. Divided by `speed`, as all waits are. */
  takesMs: Millis
  /** How long one goes on after it was cancelled. */
  cancelMs: Millis
  /** Share of the entries whose turn never comes. */
  expired: number
  /** Share of the entries that end in an error of the server's. */
  errored: number
}

/** An entry that ran. */
export interface EntryRun {
  order: Order
  messageId: string
  output: number
  batch: string
  customId: string
  key: string | null
  at: Millis
}

export interface BatchCall {
  method: string
  /** What follows `/v1/messages/batches`. */
  path: string
  search: string
  body: Buffer
  version: string
  /** Whose batches these are: a key sees its own only. */
  key: string | null
  now: Millis
}

export interface Batches {
  readonly ways: BatchWays
  serve(call: BatchCall): Said
  /** Tells of the entries that have run by then, and were not told of. */
  catchUp(now: Millis): void
}

export interface Entry {
  customId: string
  read: Order | ApiError
  /** How it ends, if the batch is let. */
  fate: 'succeeded' | 'errored' | 'expired'
  /** Null for an entry that never runs. */
  service: Service | null
  messageId: string
  /** When it is over. */
  doneAt: Millis
  told: boolean
}

export interface Batch {
  id: string
  key: string | null
  entries: Entry[]
  createdAt: Millis
  endsAt: Millis
  canceledAt: Millis | null
}

export const BATCH_REQUESTS_MAX = 100_000
/** Batches remembered; past it the oldest is forgotten. */
const BATCHES_MAX = 100
const CUSTOM_ID = /^[a-zA-Z0-9_-]{1,64}$/

export function createBatches(settings: Settings, onRun: (run: EntryRun) => void): Batches {
  const batches = new Map<string, Batch>()
  const ways: BatchWays = { takesMs: settings.batchMs, cancelMs: 0, expired: 0, errored: 0 }
  let made = 0

  const create = ({ body, version, now, key }: BatchCall): Said => {
    const read = readEntries(body, version)
    if ('message' in read) return read
    made++
    const seed = settings.seed * 7_919 + made
    const id = makeId('msgbatch_01', made, diceOf(seed, 0))
    const drawn = read.map((entry, index) => drawEntry(entry, { seed, index, ways, settings }))
    const longest = Math.max(ways.takesMs, ...drawn.map((one) => one.service?.totalMs ?? 0))
    const lastsMs = longest / settings.speed
    const entries = drawn.map(({ share, ...entry }) => ({
      ...entry,
      doneAt: now + share * lastsMs,
    }))
    if (batches.size >= BATCHES_MAX) {
      const [oldest] = batches.keys()
      if (oldest !== undefined) batches.delete(oldest)
    }
    const batch = { id, key, entries, createdAt: now, endsAt: now + lastsMs, canceledAt: null }
    batches.set(id, batch)
    return page(batch, now)
  }

  const cancel = (batch: Batch, now: Millis): Said => {
    if (!isEnded(batch, now) && batch.canceledAt === null) {
      batch.canceledAt = now
      batch.endsAt = Math.min(batch.endsAt, now + ways.cancelMs / settings.speed)
    }
    return page(batch, now)
  }

  const remove = (batch: Batch, now: Millis): Said => {
    if (!isEnded(batch, now)) return invalid('a batch can be deleted when it has ended')
    batches.delete(batch.id)
    return { text: JSON.stringify({ id: batch.id, type: 'message_batch_deleted' }) }
  }

  const catchUp = (now: Millis): void => {
    for (const batch of batches.values()) for (const run of runsOf(batch, now)) onRun(run)
  }

  return {
    ways,
    catchUp,
    serve(call) {
      const { method, path, now, key } = call
      catchUp(now)
      const [, id = '', what = '', ...more] = path.split('/')
      if (more.length > 0) return NOT_FOUND
      if (id === '') {
        if (method === 'POST') return create(call)
        const own = [...batches.values()].filter((batch) => batch.key === key).toReversed()
        return method === 'GET' ? list(own, call) : NOT_FOUND
      }
      const batch = batches.get(id)
      if (batch === undefined || batch.key !== key)
        return invalid(`No batch with ID ${id.slice(0, 64)}`, 404)
      if (what === '' && method === 'GET') return page(batch, now)
      if (what === '' && method === 'DELETE') return remove(batch, now)
      if (what === 'results' && method === 'GET') return results(batch, now)
      if (what === 'cancel' && method === 'POST') return cancel(batch, now)
      return NOT_FOUND
    },
  }
}

const NOT_FOUND = invalid('Not found', 404)

const page = (batch: Batch, now: Millis): Said => ({ text: JSON.stringify(batchPage(batch, now)) })

function list(own: readonly Batch[], { search, now }: BatchCall): Said {
  const query = new URLSearchParams(search)
  const limit = Number(query.get('limit') ?? 20)
  if (!Number.isInteger(limit) || limit < 1 || limit > 1_000)
    return invalid('limit: Input should be from 1 to 1000')
  const ask: PageAsk = { limit, after: query.get('after_id'), before: query.get('before_id') }
  return { text: JSON.stringify(listPage(own, ask, now)) }
}

function results(batch: Batch, now: Millis): Said {
  if (!isEnded(batch, now)) return invalid('results are not available before the batch ended', 404)
  const lines = batch.entries.map((entry) => {
    const result = resultOf(entry, batch)
    return `{"custom_id":${JSON.stringify(entry.customId)},"result":${result}}`
  })
  return { text: `${lines.toReversed().join('\n')}\n`, contentType: 'application/x-jsonl' }
}

function resultOf(entry: Entry, batch: Batch): string {
  const how = endOf(entry, batch)
  const { read, service, messageId } = entry
  if (how === 'succeeded' && isOrder(read) && service !== null)
    return `{"type":"succeeded","message":${messageBody({ order: read, service, messageId })}}`
  if (how !== 'errored') return `{"type":"${how}"}`
  return `{"type":"errored","error":${errorBody(isOrder(read) ? SERVER_ERROR : read, batch.id)}}`
}

const SERVER_ERROR: ApiError = { status: 500, type: 'api_error', message: 'Internal server error' }

function* runsOf(batch: Batch, now: Millis): Generator<EntryRun> {
  for (const entry of batch.entries) {
    const { read, service, doneAt } = entry
    if (entry.told || entry.fate !== 'succeeded' || service === null || !isOrder(read)) continue
    if (doneAt > Math.min(now, batch.endsAt)) continue
    entry.told = true
    const { messageId, customId } = entry
    const run = { order: read, messageId, output: service.tokens, customId, at: doneAt }
    yield { ...run, batch: batch.id, key: batch.key }
  }
}

/** `share`: how much of the batch's time has passed when it is over. */
function drawEntry(
  { customId, read }: Pick<Entry, 'customId' | 'read'>,
  of: { seed: number; index: number; ways: BatchWays; settings: Settings },
): Omit<Entry, 'doneAt'> & { share: number } {
  const dice = diceOf(of.seed, of.index)
  const service = isOrder(read) ? drawService(read, of.settings, dice) : null
  const messageId = makeId('msg_01', of.index, dice)
  const luck = dice()
  const { expired, errored } = of.ways
  const drawn = luck < expired ? 'expired' : luck < expired + errored ? 'errored' : 'succeeded'
  const fate = isOrder(read) ? drawn : 'errored'
  return { customId, read, fate, service, messageId, told: false, share: dice() }
}

function readEntries(
  bytes: Buffer,
  version: string,
): Pick<Entry, 'customId' | 'read'>[] | ApiError {
  const requests = parseBody(bytes)?.requests
  if (!Array.isArray(requests) || requests.length === 0) {
    return invalid('requests: expected at least one request')
  }
  if (requests.length > BATCH_REQUESTS_MAX) {
    return invalid(`requests: at most ${BATCH_REQUESTS_MAX} per batch`, 413)
  }
  const seen = new Set<string>()
  const entries: Pick<Entry, 'customId' | 'read'>[] = []
  for (const [index, request] of requests.entries() as IterableIterator<[number, unknown]>) {
    if (!isJson(request) || typeof request.custom_id !== 'string' || !isJson(request.params)) {
      return invalid(`requests.${index}: expected a custom_id and params`)
    }
    const customId = request.custom_id
    if (!CUSTOM_ID.test(customId))
      return invalid(
        `requests.${index}.custom_id: String should match pattern '${CUSTOM_ID.source}'`,
      )
    if (seen.has(customId)) return invalid(`requests.${index}.custom_id: must be unique`)
    seen.add(customId)
    entries.push({ customId, read: readEntry(request.params, version) })
  }
  return entries
}

function readEntry(params: Readonly<Record<string, unknown>>, version: string): Order | ApiError {
  if (params.stream === true) return invalid('stream: not supported in a batch')
  return readParams(params, version, ENTRY_BYTES)
}

/** Nothing is drawn from a quota for a batch, so an entry's size need not be known. */
const ENTRY_BYTES = 0
