/** `withHeadgate(client)`: a client of the SDK whose Messages calls are scheduled. Everything else stays the
 *  client's own: above HTTP its types, streams, helpers and errors; beneath it the request as the client wrote
 *  it, with the key that it had at the call, by its own `fetch`. Calls to other endpoints go out as before. */
import { unknownHeader } from '#contracts/header-names'
import { isToken, makeId, TOKEN_SHAPE } from '#contracts/ids'
import { checkOptionNames, type OptionNames } from '#contracts/known-names'
import { refusal, type Refusal } from '#contracts/messages'
import {
  errorAnswer,
  frameOf,
  pingFrame,
  errorFrame,
  readCall,
  refusalAnswer,
  streamHead,
  wholeAnswer,
  type HttpAnswer,
} from '#gateway'
import { clientRefusals, HeadgateError, type RelaySink } from '#client'
import {
  createHeadgate,
  lenderOf,
  type EmbedConfig,
  type EmbeddedHeadgate,
} from './create-headgate.ts'
import { systemDice, systemSoon } from '#platform/system'

export interface WithHeadgateOptions {
  /** One of your own, shared by several clients. Absent: one is made at the first call. */
  headgate?: EmbeddedHeadgate
  /** Of the one that is made. Its first upstream stands for where the client goes: that one's address and key
   *  are the client's own. Further ones are called with what the configuration says of them. */
  config?: EmbedConfig
  /** Whose calls these are; default `default`. A call may name its lane, deadline and ladder by headers:
   *  `headgate-lane`, `headgate-deadline-ms`, `headgate-degrade`. */
  tenant?: string
  /** Default `interactive`. */
  lane?: string
}

const OPTIONS: OptionNames<WithHeadgateOptions> = {
  headgate: true,
  config: true,
  tenant: true,
  lane: true,
}

/** What may be unread beside one event, however large; past it the call is ended. */
const BUFFER_BYTES_MAX = 16_000_000

/** A client of the SDK (1.0 or later) or its kin, as far as they are used here. */
export interface AnthropicClient {
  baseURL: string
  withOptions(options: never): unknown
}

/** The client's own timeout goes on counting from the call, the wait in the queue included; its retries are
 *  off, since that is done beneath it, within the deadline and the budget. A key, token, address, timeout or
 *  `fetchOptions` that is later set on the client holds here too, from the next call on, unless it is set on
 *  what is given back.
 *
 *  Throws a TypeError for what is no client of the SDK, and for options that there are none of. A `headgate-`
 *  header of a call that nobody would hear is answered 400, with what was meant. */
export function withHeadgate<C extends AnthropicClient>(
  client: C,
  options: WithHeadgateOptions = {},
): C {
  const inner = checked(client)
  checkOptionNames({ where: 'withHeadgate', given: options, known: OPTIONS })
  if (options.headgate !== undefined && options.config !== undefined)
    throw new TypeError('withHeadgate: config is of the Headgate that is made; headgate is given')
  if (options.headgate !== undefined) lenderOf(options.headgate)
  for (const name of ['tenant', 'lane'] as const)
    if (options[name] !== undefined && !isToken(options[name]))
      throw new TypeError(`withHeadgate: ${name}: expected ${TOKEN_SHAPE}`)
  let made: Promise<EmbeddedHeadgate> | null = null
  const open = async (): Promise<EmbeddedHeadgate> =>
    options.headgate ?? (made ??= createHeadgate(options.config, { baseUrl: inner.baseURL }))

  const scheduled = async (url: string | URL | Request, given: RequestInit = {}) => {
    // Read at the call, as the client itself does.
    const send = inner.fetch
    const { address, init } = await sent(url, given)
    const { pathname } = new URL(address)
    if (OTHER_CLOUD.test(pathname)) return refused('invalid_request', OTHER_CLOUD_SAID)
    if (init.method !== 'POST' || !pathname.endsWith('/v1/messages')) return send(url, given)
    let headgate: EmbeddedHeadgate
    try {
      headgate = await open()
    } catch (error) {
      // Thrown, it would be a connection error of the SDK's, which says nothing.
      return refused('invalid_request', `withHeadgate: ${(error as Error).message}`)
    }
    const calls = options.tenant === undefined ? headgate : headgate.as(options.tenant)
    const own = { url: address, init, fetch: send }
    return answerTo({ calls, lend: lenderOf(headgate), own, lane: options.lane })
  }
  const copy = inner.withOptions({ fetch: scheduled, maxRetries: 0 })
  follow(copy, inner)
  return copy as unknown as C
}

/** What is read of a client and may change during its life. */
interface Inner {
  baseURL: string
  fetch: typeof fetch
  withOptions(options: { fetch: unknown; maxRetries: number }): object
}

function checked(client: unknown): Inner {
  const inner = client as Partial<Inner> | null | undefined
  const fits =
    typeof inner?.withOptions === 'function' &&
    typeof inner.fetch === 'function' &&
    typeof inner.baseURL === 'string'
  if (!fits)
    throw new TypeError(
      'withHeadgate: client: expected a client of @anthropic-ai/sdk, 1.0 or later',
    )
  return inner as Inner
}

const FOLLOWED = ['apiKey', 'authToken', 'baseURL', 'timeout', 'fetchOptions'] as const

/** A copy of a client keeps what the client had when it was made: a key that is set later would not reach it. */
function follow(copy: object, client: object): void {
  const of = client as Record<string, unknown>
  for (const name of FOLLOWED) {
    let own: { value: unknown } | null = null
    Object.defineProperty(copy, name, {
      enumerable: true,
      configurable: true,
      get: () => (own === null ? of[name] : own.value),
      set: (value: unknown) => {
        own = { value }
      },
    })
  }
}

/** The SDK gives an address and what to send; a middleware of the client's may have made a Request of them. */
async function sent(
  url: string | URL | Request,
  given: RequestInit,
): Promise<{ address: string; init: RequestInit }> {
  if (!(url instanceof Request)) return { address: String(url), init: given }
  const { method, headers, signal } = url
  const body = given.body === undefined && method === 'POST' ? await url.clone().text() : null
  return {
    address: url.url,
    init: { method, headers, signal, ...(body === null ? {} : { body }), ...given },
  }
}

/** The paths of Bedrock and of Vertex. */
const OTHER_CLOUD = /^\/model\/[^/]+\/invoke|:(streamR|r)awPredict$/
const OTHER_CLOUD_SAID =
  "withHeadgate: expected a client of the Anthropic API; this one speaks another cloud's, which is not scheduled"

const refused = (code: Refusal['code'], message: string): Response =>
  responseOf(refusalAnswer(refusal(code, message), ownId()))

const ownId = (): string => makeId(() => systemDice.next())

function answerTo(of: {
  calls: Pick<EmbeddedHeadgate, 'relay' | 'tenant'>
  lend: ReturnType<typeof lenderOf>
  own: { url: string; init: RequestInit; fetch: typeof fetch }
  lane: string | undefined
}): Promise<Response> {
  const { calls, own, lane } = of
  const { signal } = own.init
  const headers = Object.fromEntries(new Headers(own.init.headers))
  const unknown = unknownHeader(Object.keys(headers), 'http')
  if (unknown !== null) return Promise.resolve(refused('invalid_request', unknown))
  const read = readCall(lane === undefined ? headers : { 'headgate-lane': lane, ...headers })
  if (!read.ok) return Promise.resolve(responseOf(refusalAnswer(read.refusal, ownId())))
  const body = bodyOf(own.init.body)
  if (body === null)
    return Promise.resolve(
      refused('invalid_request', 'withHeadgate: a Messages body is JSON text or its bytes'),
    )
  const id = read.options.id ?? ownId()
  const giveBack = of.lend({ tenant: calls.tenant, id, call: own })
  if (giveBack === null) return Promise.resolve(refused('duplicate_id', 'the id is live already'))
  return new Promise((resolve, reject) => {
    const onAbort = (): void => {
      relayed.leave()
      answer.abort(signal?.reason)
      reject(signal?.reason as Error)
    }
    const answer = new Answering(resolve, (left) => {
      signal?.removeEventListener('abort', onAbort)
      // Until Headgate has heard that the caller is gone, an attempt may still begin.
      if (left) systemSoon(giveBack)
      else giveBack()
    })
    const relayed = calls.relay(body, answer, { ...read.options, id })
    answer.began(relayed)
    if (signal?.aborted === true) onAbort()
    else signal?.addEventListener('abort', onAbort, { once: true })
  })
}

/** What the relay says, as a Response: whole at once, or a stream from its first event on. */
class Answering implements RelaySink {
  readonly #resolve: (response: Response) => void
  readonly #over: (left: boolean) => void
  #relayed: { id: string; leave(): void } = { id: '', leave: () => {} }
  #stream: ReadableStreamDefaultController<Uint8Array> | null = null
  #done = false
  /** The largest frame that came since nothing was unread. */
  #largest = 0

  /** `over` is told whether the caller left before the end. */
  constructor(resolve: (response: Response) => void, over: (left: boolean) => void) {
    this.#resolve = resolve
    this.#over = over
  }

  began(relayed: { id: string; leave(): void }): void {
    this.#relayed = relayed
  }

  answer(bytes: Uint8Array, accounting: Parameters<RelaySink['answer']>[1]): void {
    this.#finish()
    this.#resolve(responseOf(wholeAnswer(bytes, accounting, this.#relayed.id)))
  }

  event(data: Uint8Array): void {
    this.#push(frameOf(data))
  }

  ping(): void {
    if (this.#stream !== null) this.#push(pingFrame)
  }

  end(): void {
    this.#begin()
    this.#finish()
    this.#stream?.close()
  }

  fail(error: HeadgateError): void {
    const said = errorAnswer(error, this.#relayed.id)
    const stream = this.#stream
    this.#finish()
    if (stream === null) return this.#resolve(responseOf(said))
    stream.enqueue(errorFrame(said.body))
    stream.close()
  }

  abort(reason: unknown): void {
    const stream = this.#stream
    if (this.#done) return
    this.#finish(true)
    stream?.error(reason)
  }

  #push(bytes: Uint8Array): void {
    if (this.#done) return
    const stream = this.#begin()
    const unread = -(stream.desiredSize ?? 0)
    this.#largest = Math.max(bytes.length, unread === 0 ? 0 : this.#largest)
    // However large one event is, its reader may have had no time for it yet.
    if (unread + bytes.length - this.#largest <= BUFFER_BYTES_MAX) return stream.enqueue(bytes)
    this.#relayed.leave()
    const { means: message, retryable } = clientRefusals.reader_too_slow
    this.#finish(true)
    const said = errorAnswer(
      new HeadgateError({ code: 'reader_too_slow', message, retryable }),
      this.#relayed.id,
    )
    stream.enqueue(errorFrame(said.body))
    stream.close()
  }

  #begin(): ReadableStreamDefaultController<Uint8Array> {
    if (this.#stream !== null) return this.#stream
    const body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#stream = controller
        },
        cancel: () => {
          this.#finish(true)
          this.#relayed.leave()
        },
      },
      new ByteLengthQueuingStrategy({ highWaterMark: 0 }),
    )
    const { trailer: _, ...headers } = streamHead(this.#relayed.id)
    this.#resolve(new Response(body, { status: 200, headers }))
    if (this.#stream === null) throw new Error('a stream starts at once')
    return this.#stream
  }

  #finish(left = false): void {
    this.#done = true
    this.#over(left)
  }
}

const responseOf = ({ status, headers, body }: HttpAnswer): Response =>
  new Response(typeof body === 'string' ? body : Buffer.from(body), { status, headers })

/** Null: a form that is none of a Messages call. */
function bodyOf(body: RequestInit['body']): Uint8Array | string | null {
  if (typeof body === 'string') return body
  if (body instanceof ArrayBuffer) return new Uint8Array(body)
  if (ArrayBuffer.isView(body)) return new Uint8Array(body.buffer, body.byteOffset, body.byteLength)
  return null
}
