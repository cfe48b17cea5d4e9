/** The `fetch` that the SDK calls: one undici pool, no `Response`, no `Readable`.
 *  The SDK's own `Response` handling and undici's body stream cost more than the rest of a call, and both
 *  hide what we need: the raw error code, whether anything was sent, each byte as it comes. So the bytes go
 *  straight to the exchange that the caller put into `fetchOptions`, and the SDK gets the status and the
 *  headers, which is all it reads of an answer that it does not parse. */
import { Pool, type Dispatcher } from 'undici'
import { headerText, type HeaderRecord } from './rate-headers.ts'
import { Unpacker } from './unpacker.ts'

/** One call as the pool sees it. After `ended` or `failed` nothing more is called. */
export interface Exchange {
  /** Sent besides the SDK's own headers, and instead of those of the same name; names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  /** True when it was called off before the SDK got as far as sending. */
  readonly over: boolean
  /** A connection is taken and the request is about to be written; `hangUp` closes the socket. */
  started(hangUp: (reason: Error) => void): void
  /** The final status line and headers. */
  head(status: number, headers: HeaderRecord): void
  /** So many bytes of the body came over the wire, whatever they turn out to say. */
  received(count: number): void
  /** Bytes of the body, content codings taken off. */
  bytes(chunk: Buffer): void
  /** The answer is over and whole, as far as HTTP can tell. */
  ended(): void
  /** Its content coding does not unpack, or ends in the middle. */
  garbled(): void
  failed(error: Error): void
}

/** How long an idle connection is kept: the upstream's edge drops it at 400 s without a word. */
const KEEP_ALIVE_MS = 60_000
const KEEP_ALIVE_MAX_MS = 300_000

/** A pool for one origin. HTTP/1.1 only: over HTTP/2 undici runs one POST at a time per connection.
 *  Its timers are off, since the exchange has watchdogs on our own clock. */
export function upstreamPool(of: {
  origin: string
  connections: number
  connectTimeoutMs: number
}): Pool {
  return new Pool(of.origin, {
    connections: of.connections,
    allowH2: false,
    headersTimeout: 0,
    bodyTimeout: 0,
    keepAliveTimeout: KEEP_ALIVE_MS,
    keepAliveMaxTimeout: KEEP_ALIVE_MAX_MS,
    connect: { timeout: of.connectTimeoutMs },
  })
}

/** What the SDK hands to a fetch, as far as it is read here. Its `signal` is left alone: it only ever
 *  carries the SDK's own timeout, and time has one owner. */
interface FetchInit {
  method?: string
  headers: Headers
  body?: Uint8Array | null
  exchange?: Exchange
}

/** What the SDK reads of an answer. */
interface Answer {
  ok: boolean
  status: number
  headers: AnswerHeaders
  text(): Promise<string>
}

export function poolFetch(pool: Pool): (url: string, init: FetchInit) => Promise<Answer> {
  // The SDK's own headers never change from call to call, so they are read once.
  let sdkHeaders: Record<string, string> | null = null
  return (url, init) =>
    new Promise((resolve, reject) => {
      const { exchange } = init
      if (exchange === undefined) throw new Error('a call without an exchange')
      if (exchange.over) throw new Error('called off before it was sent')
      sdkHeaders ??= Object.fromEntries(init.headers)
      pool.dispatch(
        {
          path: url.slice(url.indexOf('/', url.indexOf('//') + 2)),
          method: (init.method ?? 'GET') as Dispatcher.HttpMethod,
          headers: { ...sdkHeaders, ...exchange.headers },
          body: init.body ?? null,
        },
        new Transfer(exchange, resolve, reject),
      )
    })
}

class Transfer implements Dispatcher.DispatchHandler {
  readonly #exchange: Exchange
  readonly #resolve: (answer: Answer) => void
  readonly #reject: (error: Error) => void
  #unpacker: Unpacker | null = null

  constructor(
    exchange: Exchange,
    resolve: (answer: Answer) => void,
    reject: (error: Error) => void,
  ) {
    this.#exchange = exchange
    this.#resolve = resolve
    this.#reject = reject
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#exchange.started((reason) => controller.abort(reason))
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: HeaderRecord,
  ): void {
    // 100 and 103 come before the answer proper.
    if (status < 200) return
    const unpacker = new Unpacker({
      coding: headerText(headers, 'content-encoding'),
      on: {
        bytes: (piece) => (this.#exchange.over ? unpacker.stop() : this.#exchange.bytes(piece)),
        garbled: () => this.#exchange.garbled(),
      },
    })
    this.#unpacker = unpacker
    this.#exchange.head(status, headers)
    this.#resolve({
      ok: status < 300,
      status,
      headers: new AnswerHeaders(headers),
      text: noText,
    })
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#exchange.received(chunk.length)
    if (!this.#exchange.over) this.#unpacker?.write(chunk)
  }

  onResponseEnd(): void {
    this.#drained((whole) => (whole ? this.#exchange.ended() : this.#exchange.garbled()))
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    // What came before it broke off is heard before.
    this.#drained(() => this.#exchange.failed(error))
    this.#reject(error)
  }

  #drained(then: (whole: boolean) => void): void {
    const unpacker = this.#unpacker
    if (unpacker === null) return then(true)
    if (this.#exchange.over) unpacker.stop()
    unpacker.end(then)
  }
}

/** The SDK would read an error's body to make an exception of it; the exchange reads it better, once. */
const noText = (): Promise<string> => Promise.resolve('')

/** The two readings that the SDK makes of response headers. */
class AnswerHeaders {
  readonly #record: HeaderRecord

  constructor(record: HeaderRecord) {
    this.#record = record
  }

  get(name: string): string | null {
    return headerText(this.#record, name.toLowerCase())
  }

  entries(): [string, string | string[] | undefined][] {
    return Object.entries(this.#record)
  }
}
