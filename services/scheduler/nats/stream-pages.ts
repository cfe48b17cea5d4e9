/** Reads a stream in pages, in its order, from any place on. A page costs the server what it holds: the consumer that
 *  a page ended on is kept for the one that follows it, since to make one the server counts all that it will give.
 *  Bound: `KEPT` consumers, which the server forgets by itself when they are not asked for a while. */
import {
  AckPolicy,
  DeliverPolicy,
  type ConsumerConfig,
  type JetStreamManager,
} from '@nats-io/jetstream'
import { createInbox, type Msg, type MsgHdrs, type NatsConnection } from '@nats-io/transport-node'
import { JobStoreError, type Clock, type Millis } from '#ports'

/** A message and where it stands in its stream. */
export interface Placed {
  message: { headers?: MsgHdrs | undefined; data: Uint8Array }
  subject: string
  seq: number
  /** When it was stored, ms since 1970. */
  at: Millis
}

export interface PageAsk<T> {
  stream: string
  /** A subject with wildcards. */
  filter: string
  from: number
  count: number
  /** Bodies too. */
  whole?: boolean
  /** What is kept of a message, as soon as it comes; null: nothing. So the page holds none of what it is read from. */
  read: (message: Placed) => T | null
}

/** `next`: where to read on; null: that was all. */
export interface StreamPage<T> {
  found: T[]
  next: number | null
}

const KEPT = 8
/** A page that comes is waited for anew after so many messages of it. */
const WAIT_AGAIN = 1_000
const NS_PER_MS = 1_000_000
/** A consumer that is not asked for so long is forgotten by the server. */
const IDLE: Millis = 30_000

type Asked = Omit<PageAsk<unknown>, 'read'>

interface Reader {
  name: string
  stream: string
}

export class StreamPages {
  readonly #jsm: JetStreamManager
  readonly #nc: NatsConnection
  readonly #clock: Pick<Clock, 'after'>
  readonly #within: Millis
  /** Those that no page is read from now, by what they read and where they stand. */
  readonly #kept = new Map<string, Reader>()

  constructor(of: {
    jsm: JetStreamManager
    connection: NatsConnection
    clock: Pick<Clock, 'after'>
    /** With no word for so long a page has failed. */
    within: Millis
  }) {
    this.#jsm = of.jsm
    this.#nc = of.connection
    this.#clock = of.clock
    this.#within = of.within
  }

  async page<T>(ask: PageAsk<T>): Promise<StreamPage<T>> {
    const kept = this.#taken(ask)
    if (kept !== null) {
      const page = await this.#pull(kept, ask).catch((error: unknown) => {
        if (!(error instanceof ReaderGone)) throw error
        return null
      })
      if (page !== null) return this.#ended(kept, ask, page)
    }
    const made = await this.#make(ask)
    return this.#ended(made, ask, await this.#pull(made, ask))
  }

  /** The reader that stands where the page begins. */
  #taken(ask: Asked): Reader | null {
    const key = keyOf(ask, ask.from)
    const kept = this.#kept.get(key) ?? null
    this.#kept.delete(key)
    return kept
  }

  async #make({ stream, filter, from, whole = false }: Asked): Promise<Reader> {
    const config: Partial<ConsumerConfig> = {
      filter_subject: filter,
      deliver_policy: DeliverPolicy.StartSequence,
      opt_start_seq: Math.max(1, from),
      headers_only: !whole,
      ack_policy: AckPolicy.None,
      mem_storage: true,
      inactive_threshold: IDLE * NS_PER_MS,
    }
    const { name } = await this.#jsm.consumers.add(stream, config)
    return { name, stream }
  }

  #ended<T>(reader: Reader, ask: Asked, page: StreamPage<T>): StreamPage<T> {
    const key = page.next === null ? null : keyOf(ask, page.next)
    if (key === null || this.#kept.has(key)) this.#forget(reader)
    else this.#kept.set(key, reader)
    const [oldest] = this.#kept
    if (this.#kept.size > KEPT && oldest !== undefined) {
      this.#kept.delete(oldest[0])
      this.#forget(oldest[1])
    }
    return page
  }

  #forget({ stream, name }: Reader): void {
    void this.#jsm.consumers.delete(stream, name).catch(() => {})
  }

  /** What is there now, and nothing that one would have to wait for. */
  #pull<T>({ stream, name }: Reader, { count, read }: PageAsk<T>): Promise<StreamPage<T>> {
    const { promise, resolve, reject } = Promise.withResolvers<StreamPage<T>>()
    const found: T[] = []
    let met = 0
    const end = (said: () => void): void => {
      stopWaiting()
      subscription.unsubscribe()
      said()
    }
    const silent = (): void => end(() => reject(new JobStoreError('away', 'a page broke off')))
    let stopWaiting = this.#clock.after(this.#within, silent)
    const inbox = createInbox()
    const subscription = this.#nc.subscribe(inbox, {
      callback: (error, message) => {
        if (error !== null) return end(() => reject(error))
        const code = message.headers?.code ?? 0
        // No messages, or no more of them.
        if (code === 404 || code === 408) return end(() => resolve({ found, next: null }))
        if (code !== 0) return end(() => reject(new ReaderGone(`JetStream: ${code}`)))
        const one = placed(message)
        const kept = read(one)
        if (kept !== null) found.push(kept)
        if (++met === count) return end(() => resolve({ found, next: one.seq + 1 }))
        if (met % WAIT_AGAIN !== 0) return
        stopWaiting()
        stopWaiting = this.#clock.after(this.#within, silent)
      },
    })
    const body = JSON.stringify({ batch: count, no_wait: true })
    this.#nc.publish(`$JS.API.CONSUMER.MSG.NEXT.${stream}.${name}`, body, { reply: inbox })
    return promise
  }
}

/** The server forgot it, or has another leader. */
class ReaderGone extends JobStoreError {
  constructor(why: string) {
    super('away', why)
  }
}

const keyOf = ({ stream, filter, whole = false }: Asked, from: number): string =>
  `${stream} ${filter} ${String(whole)} ${from}`

/** From the subject to which a delivery is acknowledged: `$JS.ACK.stream.consumer.deliveries.place.nth.ns.pending`,
 *  with two tokens more before the stream where the server has a domain. */
function placed(message: Msg): Placed {
  const tokens = (message.reply ?? '').split('.')
  const stream = tokens.length > 9 ? 4 : 2
  const [, , , seq, , ns] = tokens.slice(stream)
  return { message, subject: message.subject, seq: Number(seq), at: Number(ns) / NS_PER_MS }
}
