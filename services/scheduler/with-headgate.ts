/** `withHeadgate(client)`: a client of the SDK whose Messages calls are scheduled. Everything above HTTP stays
 *  the SDK's own: types, streams, helpers, errors; beneath it stands an embedded Headgate instead of a socket.
 *  Calls to other endpoints go out as before. */
import type Anthropic from '@anthropic-ai/sdk'
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
import type { HeadgateError, RelaySink } from '#client'
import { createHeadgate, type EmbedConfig, type EmbeddedHeadgate } from './create-headgate.ts'

export interface WithHeadgateOptions {
  /** One of your own, shared by several clients; it goes to the upstream that it was made with. Absent: one
   *  is made at the first call, which goes where the client goes, with the client's key. */
  headgate?: EmbeddedHeadgate
  /** Of the one that is made. */
  config?: EmbedConfig
  /** Whose calls these are; default `default`. A call may name its lane, deadline and ladder by headers:
   *  `headgate-lane`, `headgate-deadline-ms`, `headgate-degrade`. */
  tenant?: string
  /** Default `interactive`. */
  lane?: string
}

/** What an unread stream may hold; past it the call is ended. */
const BUFFER_BYTES_MAX = 16_000_000

/** The SDK's client and its kin, as far as they are used here. */
type Client = Pick<Anthropic, 'withOptions' | 'baseURL' | 'apiKey' | 'authToken'>

export function withHeadgate<C extends Client>(client: C, options: WithHeadgateOptions = {}): C {
  let made: Promise<EmbeddedHeadgate> | null = null
  const open = (): Promise<EmbeddedHeadgate> => {
    if (options.headgate !== undefined) return Promise.resolve(options.headgate)
    made ??= createHeadgate(options.config, {
      baseUrl: client.baseURL,
      ...keyOf(client),
    })
    return made
  }
  const scheduled = async (url: unknown, init: RequestInit = {}): Promise<Response> => {
    const target = new URL(url instanceof Request ? url.url : String(url))
    if (init.method !== 'POST' || !target.pathname.endsWith('/v1/messages'))
      return fetch(url as string, init)
    const headgate = await open()
    const calls = options.tenant === undefined ? headgate : headgate.as(options.tenant)
    return answerTo(calls, init, options.lane)
  }
  // It retries no more: that is done beneath it, within the deadline and the budget.
  return client.withOptions({ fetch: scheduled as typeof fetch, maxRetries: 0 }) as unknown as C
}

const keyOf = ({ apiKey, authToken }: Client): { apiKey?: string } => {
  const key = apiKey ?? authToken
  return typeof key === 'string' ? { apiKey: key } : {}
}

function answerTo(
  calls: Pick<EmbeddedHeadgate, 'relay'>,
  init: RequestInit,
  lane: string | undefined,
): Promise<Response> {
  const headers = Object.fromEntries(new Headers(init.headers))
  const read = readCall(lane === undefined ? headers : { 'headgate-lane': lane, ...headers })
  if (!read.ok) return Promise.resolve(responseOf(refusalAnswer(read.refusal, '')))
  return new Promise((resolve, reject) => {
    const { signal } = init
    const body = bodyOf(init.body)
    const onAbort = (): void => {
      relayed.leave()
      answer.abort(signal?.reason)
      reject(signal?.reason as Error)
    }
    const answer = new Answering(resolve, () => signal?.removeEventListener('abort', onAbort))
    const relayed = calls.relay(body, answer, read.options)
    answer.began(relayed)
    if (signal?.aborted === true) onAbort()
    else signal?.addEventListener('abort', onAbort, { once: true })
  })
}

/** What the relay says, as a Response: whole at once, or a stream from its first event on. */
class Answering implements RelaySink {
  readonly #resolve: (response: Response) => void
  readonly #over: () => void
  #relayed: { id: string; leave(): void } = { id: '', leave: () => {} }
  #stream: ReadableStreamDefaultController<Uint8Array> | null = null
  #done = false

  constructor(resolve: (response: Response) => void, over: () => void) {
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
    this.#finish()
    stream?.error(reason)
  }

  #push(bytes: Uint8Array): void {
    if (this.#done) return
    const stream = this.#begin()
    stream.enqueue(bytes)
    if (-(stream.desiredSize ?? 0) <= BUFFER_BYTES_MAX) return
    this.#relayed.leave()
    this.abort(new Error(`more than ${BUFFER_BYTES_MAX} bytes of this stream wait to be read`))
  }

  #begin(): ReadableStreamDefaultController<Uint8Array> {
    if (this.#stream !== null) return this.#stream
    const body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#stream = controller
        },
        cancel: () => {
          this.#finish()
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

  #finish(): void {
    this.#done = true
    this.#over()
  }
}

const responseOf = ({ status, headers, body }: HttpAnswer): Response =>
  new Response(typeof body === 'string' ? body : Buffer.from(body), { status, headers })

function bodyOf(body: RequestInit['body']): Uint8Array | string {
  if (typeof body === 'string') return body
  if (body instanceof Uint8Array) return body
  if (body instanceof ArrayBuffer) return new Uint8Array(body)
  throw new TypeError('withHeadgate: a Messages body is JSON text or its bytes')
}
