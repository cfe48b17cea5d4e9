/** The provider's Message Batches API, over the official SDK. The SDK builds and sends each request; retries, time
 *  and the reading of what is large are ours. A create whose answer is lost is never sent again from here: the API
 *  has no idempotency key, so whoever asked must look for the batch in the list. */
import Anthropic from '@anthropic-ai/sdk'
import { fetch as undiciFetch, type Pool } from 'undici'
import {
  BatchesError,
  type BatchAsk,
  type BatchCreated,
  type BatchEntry,
  type BatchResult,
  type BatchSeen,
  type ProviderBatches,
  type Clock,
  type Millis,
} from '#ports'
import { exactValue } from './exact-json.ts'
import { field, isObject, textOf } from './json-fields.ts'
import { linesOf } from './lines-of.ts'
import { UNCONNECTED } from './own-calls.ts'
import { retryAfter } from './retry-after.ts'
import { upstreamPool } from './undici-fetch.ts'
import { readUsage } from './usage.ts'

export interface AnthropicBatchesOptions {
  clock: Clock
  /** How long a create may take, which sends up to 256 MB; default 5 min. */
  createMs?: Millis
  /** How long any other answer may take, and how long results may pause; default 60 s. */
  answerMs?: Millis
  /** The longest line of results, in bytes; default 64 MB. */
  lineBytesMax?: number
}

const CREATE_MS: Millis = 300_000
const ANSWER_MS: Millis = 60_000
const LINE_BYTES_MAX = 64_000_000
const CONNECT_MS: Millis = 10_000
/** Polls and reads are few, and none of them is in a hurry. */
const CONNECTIONS = 4
/** Out of reach: time has one owner. */
const SDK_TIMEOUT_MS: Millis = 86_400_000
const PAGE = 100
/** A list is read no further than this: 10,000 batches. */
const PAGES_MAX = 100
const PATH = '/v1/messages/batches'

export function anthropicBatches(options: AnthropicBatchesOptions): ProviderBatches {
  const { clock } = options
  const answerMs = options.answerMs ?? ANSWER_MS
  /** By base URL. */
  const doors = new Map<string, { client: Anthropic; pool: Pool }>()

  const doorTo = (baseUrl: string): { client: Anthropic; pool: Pool } => {
    const known = doors.get(baseUrl)
    if (known !== undefined) return known
    const door = openDoor(baseUrl)
    doors.set(baseUrl, door)
    return door
  }

  /** One call, given up when its time is over. */
  const within = async <T>(
    ms: Millis,
    call: (signal: AbortSignal, still: () => void) => Promise<T>,
  ): Promise<T> => {
    const aborting = new AbortController()
    let stop = clock.after(ms, () => aborting.abort())
    const still = (): void => {
      stop()
      stop = clock.after(ms, () => aborting.abort())
    }
    try {
      return await call(aborting.signal, still)
    } finally {
      stop()
    }
  }

  const asked = async <T>(
    ask: BatchAsk,
    call: (
      client: Anthropic,
      options: { headers: Record<string, string>; signal: AbortSignal },
    ) => Promise<T>,
  ): Promise<T> => {
    try {
      return await within(answerMs, (signal) =>
        call(doorTo(ask.upstream.baseUrl).client, { headers: headersOf(ask), signal }),
      )
    } catch (error) {
      throw batchesError(error)
    }
  }

  return {
    async create(ask, entries) {
      try {
        return await within(options.createMs ?? CREATE_MS, async (signal) => {
          const headers = { ...headersOf(ask), 'content-type': 'application/json' }
          const { client } = doorTo(ask.upstream.baseUrl)
          const page = await client.post(PATH, { body: bodyOf(entries), headers, signal })
          const batch = seen(page)
          return batch === null ? { how: 'unknown' } : { how: 'made', batch }
        })
      } catch (error) {
        return failedCreate(error, clock)
      }
    },

    async list(ask, since) {
      const found: BatchSeen[] = []
      let after: string | null = null
      for (let pages = 0; pages < PAGES_MAX; pages++) {
        const query = { limit: PAGE, ...(after === null ? {} : { after_id: after }) }
        const page = await asked(ask, (client, how) => client.get(PATH, { query, ...how }))
        const data = field(page, 'data')
        if (!Array.isArray(data)) throw new BatchesError(null, 'the list of batches is none')
        for (const one of data) {
          const batch = seen(one)
          if (batch === null) continue
          if (batch.createdAt < since) return found
          found.push(batch)
        }
        after = textOf(field(page, 'last_id'))
        if (field(page, 'has_more') !== true || after === null) return found
      }
      throw new BatchesError(null, `the list of batches has more than ${PAGES_MAX} pages`)
    },

    async look(ask, id) {
      try {
        const page = await asked(ask, (client, how) =>
          client.messages.batches.retrieve(id, {}, how),
        )
        const batch = seen(page)
        if (batch === null) throw new BatchesError(null, 'the batch is none')
        return batch
      } catch (error) {
        if (error instanceof BatchesError && error.status === 404) return null
        throw error
      }
    },

    async *results(ask, id) {
      const reading = new AbortController()
      let stop = clock.after(answerMs, () => reading.abort())
      const still = (): void => {
        stop()
        stop = clock.after(answerMs, () => reading.abort())
      }
      try {
        const { client } = doorTo(ask.upstream.baseUrl)
        const response = await client
          .get(`${PATH}/${encodeURIComponent(id)}/results`, {
            headers: { ...headersOf(ask), accept: 'application/binary' },
            signal: reading.signal,
          })
          .asResponse()
        if (response.body === null) throw new BatchesError(null, 'results without a body')
        const lineBytesMax = options.lineBytesMax ?? LINE_BYTES_MAX
        for await (const line of linesOf(response.body, { lineBytesMax, still })) {
          const result = resultOf(line)
          // While somebody settles it, the provider is not the one that pauses.
          stop()
          yield result
          still()
        }
      } catch (error) {
        throw batchesError(error)
      } finally {
        stop()
        reading.abort()
      }
    },

    async cancel(ask, id) {
      await asked(ask, (client, how) => client.messages.batches.cancel(id, {}, how))
    },

    async close() {
      await Promise.all([...doors.values()].map(({ pool }) => pool.destroy()))
      doors.clear()
    },
  }
}

function openDoor(baseUrl: string): { client: Anthropic; pool: Pool } {
  const pool = upstreamPool({
    origin: new URL(baseUrl).origin,
    ...{ connections: CONNECTIONS, connectTimeoutMs: CONNECT_MS },
  })
  const through = (url: unknown, init: object) =>
    undiciFetch(url as string, { ...init, dispatcher: pool, redirect: 'manual' })
  const client = new KeylessClient({
    apiKey: 'sent with each call',
    baseURL: baseUrl,
    maxRetries: 0,
    timeout: SDK_TIMEOUT_MS,
    fetch: through as unknown as typeof fetch,
    logLevel: 'off',
    openTelemetry: false,
  })
  return { client, pool }
}

/** The SDK without keys of its own: ours comes with each call. */
class KeylessClient extends Anthropic {
  protected override authHeaders(): Promise<undefined> {
    return Promise.resolve(undefined)
  }

  protected override validateHeaders(): void {}
}

function headersOf({ upstream, headers }: BatchAsk): Record<string, string> {
  const { version, beta } = headers
  return {
    'anthropic-version': version ?? upstream.version,
    ...(upstream.apiKey === null ? {} : { authorization: `Bearer ${upstream.apiKey}` }),
    ...(beta === undefined ? {} : { 'anthropic-beta': beta }),
  }
}

// ---- what is sent ----

const utf8 = (text: string): Buffer => Buffer.from(text, 'utf8')

function bodyOf(entries: readonly BatchEntry[]): Uint8Array {
  const parts: Uint8Array[] = [utf8('{"requests":[')]
  for (const [index, entry] of entries.entries()) {
    const { customId } = entry
    parts.push(utf8(`${index === 0 ? '' : ','}{"custom_id":${JSON.stringify(customId)},"params":`))
    parts.push(entry.stream ? unstreamed(entry.body) : entry.body, utf8('}'))
  }
  parts.push(utf8(']}'))
  return Buffer.concat(parts)
}

/** A batch streams nothing. */
function unstreamed(body: Uint8Array): Uint8Array {
  const { stream: _, ...rest } = exactValue(Buffer.from(body).toString('utf8')) as {
    stream: unknown
  }
  return utf8(JSON.stringify(rest))
}

// ---- what comes back ----

function seen(page: unknown): BatchSeen | null {
  const id = textOf(field(page, 'id'))
  const state = STATES.find((known) => known === field(page, 'processing_status'))
  const createdAt = Date.parse(textOf(field(page, 'created_at')) ?? '')
  const counts = field(page, 'request_counts')
  if (id === null || state === undefined || Number.isNaN(createdAt) || !isObject(counts))
    return null
  const entries = Object.values(counts).reduce<number>(
    (sum, count) => sum + (typeof count === 'number' ? count : 0),
    0,
  )
  return { id, state, createdAt, entries }
}

const STATES = ['in_progress', 'canceling', 'ended'] as const

function resultOf(line: string): BatchResult {
  const read = exactLine(line)
  const customId = textOf(field(read, 'custom_id'))
  const result = field(read, 'result')
  const how = field(result, 'type')
  if (customId === null) throw new BatchesError(null, 'a result without a custom_id')
  if (how === 'expired' || how === 'canceled') return { customId, how }
  const message = field(result, 'message')
  if (how === 'succeeded' && isObject(message)) {
    // Numbers were kept as they were written; the counts are wanted as numbers.
    const usage = readUsage(JSON.parse(JSON.stringify(field(message, 'usage') ?? null)), null)
    return { customId, how, message: utf8(JSON.stringify(message)), usage }
  }
  const error = field(result, 'error')
  if (how !== 'errored' || !isObject(error)) throw new BatchesError(null, 'a result of no kind')
  // The API wraps the error as it would have answered it; a proxy may not.
  const whole = isObject(error.error) ? error : { type: 'error', error }
  const type = textOf(field(field(whole, 'error'), 'type')) ?? 'api_error'
  return { customId, how, type, body: utf8(JSON.stringify(whole)) }
}

function exactLine(line: string): unknown {
  try {
    return exactValue(line)
  } catch {
    throw new BatchesError(null, 'a line of results is no JSON')
  }
}

// ---- failures ----

/** Answers that say that nothing was made. A 503 comes from anybody on the way, also when it was. */
const notMade = (status: number): boolean =>
  (status >= 300 && status < 500 && status !== 408 && status !== 499) ||
  status === 501 ||
  status === 529

function failedCreate(error: unknown, clock: Clock): BatchCreated {
  const status = statusOf(error)
  if (status === null)
    return wasNeverSent(error) ? { how: 'refused', status, retryAfterMs: null } : { how: 'unknown' }
  if (!notMade(status)) return { how: 'unknown' }
  const said = Object.fromEntries((error as { headers?: Headers }).headers ?? [])
  const { told } = retryAfter(said, { wallMs: clock.wall(), maxMs: Infinity })
  return { how: 'refused', status, retryAfterMs: told }
}

const statusOf = (error: unknown): number | null => {
  const status = error instanceof Anthropic.APIError ? (error.status as unknown) : null
  return typeof status === 'number' ? status : null
}

/** The connection did not come about. */
function wasNeverSent(error: unknown): boolean {
  for (let at = error, depth = 0; at !== undefined && depth < 5; at = field(at, 'cause'), depth++)
    if (UNCONNECTED.test(String(field(at, 'code')))) return true
  return false
}

/** Without the upstream's words, which may quote a prompt. */
function batchesError(error: unknown): BatchesError {
  if (error instanceof BatchesError) return error
  const status = statusOf(error)
  return new BatchesError(status, status === null ? 'no answer' : `the provider said ${status}`)
}
