/** A transport that connects when it is first needed: one attempt at a time, and another one at the next need
 *  after one that failed. What is subscribed meanwhile begins with the connection, before anything leaves. */
import { clientError } from './errors.ts'
import {
  USUAL_MAX_PAYLOAD_BYTES,
  type Transport,
  type TransportFault,
  type TransportHeaders,
  type TransportMessage,
} from './transport.ts'

/** Its signal says that nobody wants the connection any more; what comes all the same is closed. */
export type Connect = (signal: AbortSignal) => Promise<Transport>

export const lazyTransport = (connect: Connect): Transport => new LazyTransport(connect)

type State =
  | { at: 'idle' }
  | { at: 'connecting'; attempt: Attempt; over: Promise<void> }
  | { at: 'connected'; transport: Transport }
  | { at: 'closed' }

interface Attempt {
  coming: PromiseWithResolvers<Transport>
  abort: AbortController
}

interface Listener {
  subject: string
  on: (message: TransportMessage) => void
  /** Null until there is a connection. */
  heard: { close(): void } | null
}

class LazyTransport implements Transport {
  readonly #connect: Connect
  readonly #listeners = new Set<Listener>()
  readonly #faultListeners = new Set<(fault: TransportFault) => void>()
  readonly #returnListeners = new Set<() => void>()
  #state: State = { at: 'idle' }
  #closing: Promise<void> | null = null

  constructor(connect: Connect) {
    this.#connect = connect
  }

  /** The server's own once there is a connection. */
  get maxPayload(): number {
    return this.#state.at === 'connected'
      ? this.#state.transport.maxPayload
      : USUAL_MAX_PAYLOAD_BYTES
  }

  async ready(): Promise<void> {
    const transport = await this.#connection()
    await transport.ready()
  }

  isReady(): boolean {
    return this.#state.at === 'connected' && (this.#state.transport.isReady?.() ?? false)
  }

  publish(
    subject: string,
    data: Uint8Array | string,
    options?: { headers?: TransportHeaders; reply?: string },
  ): void {
    if (this.#state.at === 'closed') throw closed()
    if (this.#state.at !== 'connected') throw new Error('there is no connection yet')
    this.#state.transport.publish(subject, data, options)
  }

  subscribe(subject: string, on: (message: TransportMessage) => void): { close(): void } {
    if (this.#state.at === 'closed') throw closed()
    const listener: Listener = { subject, on, heard: null }
    if (this.#state.at === 'connected') hear(listener, this.#state.transport)
    this.#listeners.add(listener)
    return {
      close: () => {
        if (this.#listeners.delete(listener)) listener.heard?.close()
      },
    }
  }

  onFault(listener: (fault: TransportFault) => void): () => void {
    this.#faultListeners.add(listener)
    return () => void this.#faultListeners.delete(listener)
  }

  onReturn(listener: () => void): () => void {
    this.#returnListeners.add(listener)
    return () => void this.#returnListeners.delete(listener)
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close())
  }

  async #connection(): Promise<Transport> {
    if (this.#state.at === 'closed') throw closed()
    if (this.#state.at === 'connected') return this.#state.transport
    return this.#state.at === 'connecting' ? this.#state.attempt.coming.promise : this.#begin()
  }

  #begin(): Promise<Transport> {
    const attempt: Attempt = { coming: Promise.withResolvers(), abort: new AbortController() }
    const { promise } = attempt.coming
    // Whoever waits is told, and there may be nobody.
    promise.catch(() => {})
    // A step later, so that the attempt finds the state that it begins in.
    const over = Promise.resolve().then(() => this.#attempt(attempt))
    this.#state = { at: 'connecting', attempt, over }
    return promise
  }

  async #attempt({ coming, abort }: Attempt): Promise<void> {
    let transport: Transport | null = null
    try {
      abort.signal.throwIfAborted()
      transport = await this.#connect(abort.signal)
      abort.signal.throwIfAborted()
      transport.onFault((fault) => {
        for (const listener of this.#faultListeners) listener(fault)
      })
      transport.onReturn?.(() => {
        for (const listener of this.#returnListeners) listener()
      })
      for (const listener of this.#listeners) hear(listener, transport)
      this.#state = { at: 'connected', transport }
      coming.resolve(transport)
    } catch (error) {
      if (!abort.signal.aborted) this.#state = { at: 'idle' }
      for (const listener of this.#listeners) listener.heard = null
      coming.reject(error)
      await transport?.close().catch(() => {})
    }
  }

  async #close(): Promise<void> {
    const before = this.#state
    this.#state = { at: 'closed' }
    this.#listeners.clear()
    this.#faultListeners.clear()
    this.#returnListeners.clear()
    if (before.at === 'connected') await before.transport.close()
    if (before.at === 'connecting') {
      before.attempt.coming.reject(closed())
      before.attempt.abort.abort(closed())
      await before.over
    }
  }
}

function hear(listener: Listener, transport: Transport): void {
  listener.heard = transport.subscribe(listener.subject, listener.on)
}

const closed = () => clientError('closed', 'make another one')
