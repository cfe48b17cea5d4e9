/** Attempts that somebody else's HTTP client makes: its address, its headers and its key as it wrote them, by
 *  its own `fetch`, and so through whatever proxy stands behind that. When to send, how long to wait and what
 *  the answer proves stay ours. */
import { requestKey } from '#contracts/ids'
import type { AttemptCall, Clock, Provider } from '#ports'
import { field } from './json-fields.ts'
import type { HeaderRecord } from './rate-headers.ts'
import { Attempt, type AttemptLimits } from './running-attempt.ts'

/** One request as its client would have sent it. Its `signal` is not heard: time has one owner. */
export interface OwnCall {
  url: string
  init: RequestInit
  fetch: typeof fetch
}

export interface OwnCalls extends Provider {
  /** Each attempt of this request at the home upstream is made so; the answer ends that. Null: the id is
   *  lent to another. */
  lend(of: { tenant: string; id: string; call: OwnCall }): (() => void) | null
}

export function ownCalls(of: {
  /** Everything else goes this way. */
  others: Provider
  /** The upstream that such a client stands for. */
  home: () => string
  clock: Clock
  limits: AttemptLimits
}): OwnCalls {
  const { others, clock, limits } = of
  const lent = new Map<string, OwnCall>()
  return {
    lend({ tenant, id, call }) {
      const key = requestKey(tenant, id)
      if (lent.has(key)) return null
      lent.set(key, call)
      return () => {
        if (lent.get(key) === call) lent.delete(key)
      }
    },
    send(call, sink) {
      const own = lent.get(requestKey(call.tenant, call.id))
      if (own === undefined || call.upstream.name !== of.home()) return others.send(call, sink)
      const attempt = new Attempt({ call, sink, clock, limits, headers: {} })
      // Nobody hears of anything before `send` has returned.
      queueMicrotask(() => void transfer(attempt, own, call))
      return attempt
    },
    aux: (call) => others.aux(call),
    close: () => others.close(),
  }
}

/** Codes of a connection that did not come about: nothing was sent. */
export const UNCONNECTED =
  /^(ECONNREFUSED|ENOTFOUND|EAI_|EHOSTUNREACH|ENETUNREACH|UND_ERR_(CONNECT_TIMEOUT|INVALID_ARG)|CERT_|ERR_TLS_|ERR_SSL_|ERR_INVALID_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_)/

async function transfer(exchange: Attempt, own: OwnCall, call: AttemptCall): Promise<void> {
  if (exchange.over) return
  const leaving = new AbortController()
  let stop = (): void => {}
  exchange.started((reason) => {
    leaving.abort(reason)
    // A fetch that does not hear its signal is made to let go as well.
    stop()
  })
  try {
    const answer = await own.fetch(own.url, initOf(own, call, leaving.signal))
    const pieces = piecesOf(answer)
    stop = pieces.stop
    if (exchange.over) return stop()
    exchange.head(answer.status, Object.fromEntries(answer.headers) as HeaderRecord)
    for (;;) {
      const piece = await pieces.next()
      if (exchange.over) return
      if (piece === null) return exchange.ended()
      exchange.received(piece.length)
      exchange.bytes(piece)
    }
  } catch (error) {
    if (exchange.over) return
    const code = field(error, 'code') ?? field(field(error, 'cause'), 'code')
    if (UNCONNECTED.test(String(code))) exchange.unsent(error)
    else exchange.failed(error)
  }
}

/** As the client wrote it, but for what is ours: when it ends, what it says to Headgate, the span that it is a
 *  child of, and the model where another one stands in. */
function initOf(own: OwnCall, call: AttemptCall, signal: AbortSignal): RequestInit {
  const headers = new Headers(own.init.headers)
  for (const name of [...headers.keys()]) if (name.startsWith('headgate-')) headers.delete(name)
  const { traceparent, tracestate } = call.headers
  if (traceparent !== undefined) headers.set('traceparent', traceparent)
  if (tracestate !== undefined) headers.set('tracestate', tracestate)
  // In the form in which it was given: a fetch of somebody's own may read it.
  const text = typeof own.init.body === 'string'
  const body = text ? Buffer.from(call.body).toString('utf8') : Buffer.from(call.body)
  return { ...own.init, headers, body, signal }
}

interface Pieces {
  /** Null: the end. */
  next(): Promise<Buffer | null>
  stop(): void
}

/** The body of a Response of the platform's, or of a library's own, which may be a stream of Node's. */
function piecesOf(answer: Response): Pieces {
  const body = answer.body as unknown
  if (body === null || body === undefined) return whole(answer)
  if (body instanceof ReadableStream) {
    const reader = (body as ReadableStream<Uint8Array>).getReader()
    return {
      next: async () => bufferOf(await reader.read()),
      stop: () => void reader.cancel().catch(() => {}),
    }
  }
  const stream = body as AsyncIterable<unknown> & { destroy?: () => void }
  if (typeof stream[Symbol.asyncIterator] !== 'function') return whole(answer)
  const iterator = stream[Symbol.asyncIterator]()
  return {
    next: async () => bufferOf(await iterator.next()),
    stop: () => (stream.destroy?.(), undefined),
  }
}

function whole(answer: Response): Pieces {
  let given = false
  return {
    async next() {
      if (given) return null
      given = true
      return Buffer.from(await answer.arrayBuffer())
    },
    stop() {},
  }
}

function bufferOf(step: { done?: boolean; value?: unknown }): Buffer | null {
  if (step.done === true) return null
  const piece = step.value
  if (piece instanceof Uint8Array) return Buffer.from(piece.buffer, piece.byteOffset, piece.length)
  return Buffer.from(String(piece))
}
