/** The real provider: one attempt is one call of the official SDK, on one pool per upstream.
 *  The SDK builds and sends the request; the bytes of the answer go straight from the pool to the attempt
 *  (undici-fetch). Time has one owner: the watchdogs run on the injected clock, the SDK's own timeout is set
 *  out of reach, and the total deadline belongs to the scheduler, which calls `abort`. */
import Anthropic from '@anthropic-ai/sdk'
import type { Pool } from 'undici'
import { modelsAsk, modelsPath, type ModelsAsk } from '#contracts/models-ask'
import type { AttemptCall, Clock, Millis, Provider } from '#ports'
import { Attempt, type AttemptLimits } from './running-attempt.ts'
import { SideCall } from './side-call.ts'
import { poolFetch, upstreamPool, type Exchange } from './undici-fetch.ts'

export interface AnthropicProviderOptions {
  clock: Clock
  /** Connections per upstream: at least the most attempts in flight there, or calls queue unseen. */
  connections: number
  /** A longer retry-after is cut to this and raises an alarm. */
  retryAfterMaxMs: Millis
  /** The largest event of a stream, in bytes; default 16 MB. */
  eventBytesMax?: number
  /** The largest answer that is not streamed, in bytes; default 64 MB. */
  bodyBytesMax?: number
  /** The largest stream, in bytes; default 256 MB. */
  streamBytesMax?: number
  /** The longest wait for a connection; default 10 s. */
  connectTimeoutMs?: Millis
}

export const EVENT_BYTES_MAX = 16_000_000
export const BODY_BYTES_MAX = 64_000_000
/** Ten times the events of a million tokens, one each, with their framing. */
export const STREAM_BYTES_MAX = 256_000_000
const MESSAGES = '/v1/messages'
const CONNECT_TIMEOUT_MS: Millis = 10_000
/** A day: the SDK wants an integer, and says it upstream in a header. */
const SDK_TIMEOUT_MS: Millis = 86_400_000

/** With the defaults for what is not said. */
export const attemptLimits = (
  options: Omit<AnthropicProviderOptions, 'clock' | 'connections'>,
): AttemptLimits => ({
  retryAfterMaxMs: options.retryAfterMaxMs,
  eventBytesMax: options.eventBytesMax ?? EVENT_BYTES_MAX,
  bodyBytesMax: options.bodyBytesMax ?? BODY_BYTES_MAX,
  streamBytesMax: options.streamBytesMax ?? STREAM_BYTES_MAX,
})

export function anthropicProvider(options: AnthropicProviderOptions): Provider {
  const { clock } = options
  const limits = attemptLimits(options)
  const connectTimeoutMs = options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS
  /** By base URL: upstreams that differ only in their key share one. */
  const doors = new Map<string, Door>()
  let closed = false

  function doorTo(baseUrl: string): Door {
    let door = doors.get(baseUrl)
    if (door === undefined) {
      door = openDoor({ baseUrl, connections: options.connections, connectTimeoutMs })
      // After the end a door opens onto nothing: its calls fail at once and no socket is left behind.
      if (closed) void door.pool.destroy()
      else doors.set(baseUrl, door)
    }
    return door
  }

  return {
    send(call, sink) {
      const attempt = new Attempt({ call, sink, clock, limits, headers: headersOf(call) })
      try {
        doorTo(call.upstream.baseUrl)
          .client.post(MESSAGES, { body: call.body, ...through(attempt) })
          .asResponse()
          .catch((error: unknown) => attempt.unsent(error))
      } catch (error) {
        // Nobody hears of an end before `send` has returned.
        queueMicrotask(() => attempt.unsent(error))
      }
      return attempt
    },

    async aux(call) {
      const side = new SideCall({
        clock,
        timeoutMs: call.timeoutMs,
        headers: headersOf(call),
        signal: call.signal,
      })
      if (side.over) return side.answer
      try {
        const { client } = doorTo(call.upstream.baseUrl)
        const sent =
          call.kind === 'models'
            ? client.get(modelsPath(askedFor(call.body)), through(side))
            : client.post('/v1/messages/count_tokens', { body: call.body, ...through(side) })
        sent.asResponse().catch(() => side.unsent())
      } catch {
        side.unsent()
      }
      return side.answer
    },

    async close() {
      closed = true
      await Promise.all([...doors.values()].map((door) => door.pool.destroy()))
      doors.clear()
    },
  }
}

interface Door {
  client: Anthropic
  pool: Pool
}

type BuildRequest = Anthropic['buildRequest']

/** The SDK without keys of its own: ours comes with each call, and its ways to find one are many. What it
 *  makes of a call to `/v1/messages` is the same each time but for the body, so it is made once: the headers
 *  alone cost as much as the rest of the SDK's way to our fetch. */
class KeylessClient extends Anthropic {
  #messages: Awaited<ReturnType<BuildRequest>> | null = null

  override async buildRequest(
    ...[options, more]: Parameters<BuildRequest>
  ): ReturnType<BuildRequest> {
    if (options.path !== MESSAGES || options.method !== 'post')
      return super.buildRequest(options, more)
    this.#messages ??= await super.buildRequest({ ...options, fetchOptions: {} }, more)
    const { req, url, timeout } = this.#messages
    // Two declarations of undici's types meet here.
    const own = { body: options.body, ...options.fetchOptions } as object
    return { req: { ...req, ...own }, url, timeout }
  }

  protected override authHeaders(): Promise<undefined> {
    return Promise.resolve(undefined)
  }

  protected override validateHeaders(): void {}
}

function openDoor(of: { baseUrl: string; connections: number; connectTimeoutMs: Millis }): Door {
  const pool = upstreamPool({ ...of, origin: new URL(of.baseUrl).origin })
  const client = new KeylessClient({
    apiKey: 'sent with each call',
    baseURL: of.baseUrl,
    maxRetries: 0,
    timeout: SDK_TIMEOUT_MS,
    fetch: poolFetch(pool) as unknown as typeof fetch,
    logLevel: 'off',
    openTelemetry: false,
  })
  return { client, pool }
}

/** The door has checked it. */
const askedFor = (body: Uint8Array | null): ModelsAsk =>
  body === null ? {} : modelsAsk.parse(JSON.parse(new TextDecoder().decode(body)))

/** What the SDK passes on to our fetch untouched. */
function through(exchange: Exchange): { fetchOptions: object } {
  return { fetchOptions: { exchange } }
}

/** The headers that differ between calls. The version is the caller's, else the configured one, never the
 *  SDK's: under that one `temperature` is an error. */
function headersOf(call: Pick<AttemptCall, 'upstream' | 'headers'>): Record<string, string> {
  const { version, beta, traceparent, tracestate } = call.headers
  const headers: Record<string, string> = {
    'content-type': 'application/json',
    'anthropic-version': version ?? call.upstream.version,
  }
  if (call.upstream.apiKey !== null) headers['authorization'] = `Bearer ${call.upstream.apiKey}`
  if (beta !== undefined) headers['anthropic-beta'] = beta
  if (traceparent !== undefined) headers['traceparent'] = traceparent
  if (tracestate !== undefined) headers['tracestate'] = tracestate
  return headers
}
