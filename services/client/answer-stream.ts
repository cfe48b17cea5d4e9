/** A streamed answer, read once: parsed events, or their bytes. Bounded: a reader who leaves more
 *  than `bufferBytesMax` unread, beside one event however large, loses the stream. */
import type { RawMessageStreamEvent } from '@anthropic-ai/sdk/resources/messages'
import { isPing } from '#contracts/messages'
import { isLast, readAccounting, type AnswerAccounting } from './accounting.ts'
import { clientError, errorIn } from './errors.ts'
import { checkNames } from './options.ts'
import { endless, wrongEnd } from './stream-end.ts'
import type { TransportMessage } from './transport.ts'

export class AnswerStream implements AsyncIterable<RawMessageStreamEvent> {
  readonly id: string
  /** The accounting, once the stream has ended well; rejects with what ended it otherwise. */
  readonly final: Promise<AnswerAccounting>
  readonly #leave: (why: 'done' | 'abandoned') => void
  readonly #bufferBytesMax: number
  readonly #settle: { resolve(of: AnswerAccounting): void; reject(error: unknown): void }
  #buffer: Uint8Array[] = []
  #bufferBytes = 0
  /** The largest event that came since the buffer was empty. */
  #largest = 0
  #events = 0
  #end: { error: unknown } | 'open' | 'complete' = 'open'
  #wake: (() => void) | null = null
  #taken = false

  constructor(of: {
    id: string
    bufferBytesMax: number
    /** Called once: `abandoned` when the reader goes before the end. */
    leave: (why: 'done' | 'abandoned') => void
  }) {
    this.id = of.id
    this.#leave = of.leave
    this.#bufferBytesMax = of.bufferBytesMax
    const { promise, resolve, reject } = Promise.withResolvers<AnswerAccounting>()
    this.final = promise
    this.#settle = { resolve, reject }
    // Whoever only iterates meets the error there.
    this.final.catch(() => {})
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<RawMessageStreamEvent, void, undefined> {
    for await (const data of this.chunks()) {
      yield eventOf(data)
    }
  }

  /** The events' JSON bytes as they came; with `pings` also the signs of life between them. */
  async *chunks(options: { pings?: boolean } = {}): AsyncGenerator<Uint8Array, void, undefined> {
    checkNames('chunks', 'chunks', options)
    if (this.#taken) throw new TypeError('a stream is read once')
    this.#taken = true
    try {
      for (;;) {
        const data = this.#buffer.shift()
        if (data !== undefined) {
          this.#bufferBytes -= data.length
          if (options.pings === true || !isPing(data)) yield data
        } else if (this.#end === 'complete') return
        else if (this.#end !== 'open') throw this.#end.error
        else await new Promise<void>((resolve) => (this.#wake = resolve))
      }
    } finally {
      if (this.#end === 'open') {
        this.#stop({ error: clientError('closed', 'the reader left') }, 'abandoned')
      }
    }
  }

  /** A message of the stream came. */
  hear(message: TransportMessage): void {
    if (this.#end !== 'open') return
    const error = errorIn(message)
    if (error !== null) return this.fail(error)
    if (isLast(message)) return this.#finish(message)
    if (message.data.length === 0) return this.fail(endless())
    if (!isPing(message.data)) this.#events += 1
    else if (this.#buffer.length > 0) return
    const { length } = message.data
    this.#largest = Math.max(length, this.#buffer.length === 0 ? 0 : this.#largest)
    this.#bufferBytes += length
    // However large one event is, its reader may have had no time for it yet.
    if (this.#bufferBytes - this.#largest > this.#bufferBytesMax) {
      const error = clientError('reader_too_slow', `${this.#bufferBytes} bytes wait`)
      return this.#stop({ error }, 'abandoned')
    }
    this.#buffer.push(message.data)
    this.#nudge()
  }

  fail(error: unknown, why: 'done' | 'abandoned' = 'done'): void {
    if (this.#end === 'open') this.#stop({ error }, why)
  }

  #finish(message: TransportMessage): void {
    const accounting = readAccounting(message)
    const { data } = message
    const error = wrongEnd({ data, accounting, events: this.#events, streamed: true })
    if (error !== null) return this.#stop({ error }, 'done')
    this.#end = 'complete'
    this.#settle.resolve(accounting)
    this.#leave('done')
    this.#nudge()
  }

  #stop(end: { error: unknown }, why: 'done' | 'abandoned'): void {
    this.#end = end
    this.#settle.reject(end.error)
    this.#leave(why)
    this.#nudge()
  }

  #nudge(): void {
    const wake = this.#wake
    this.#wake = null
    wake?.()
  }
}

function eventOf(data: Uint8Array): RawMessageStreamEvent {
  try {
    return JSON.parse(new TextDecoder().decode(data)) as RawMessageStreamEvent
  } catch (error) {
    throw clientError('bad_answer', 'an event of the stream is not JSON', error)
  }
}
