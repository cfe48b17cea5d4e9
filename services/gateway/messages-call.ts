/** One `POST /v1/messages`: relayed as it comes, streamed or whole, and taken back when its caller goes.
 *  The status line leaves with the first real event, so that a late refusal still has its status. */
import type { FastifyReply } from 'fastify'
import type { AnswerAccounting, HeadgateError, Relayed, RelaySink } from '#client'
import { trailersOf, errorAnswer, streamHead, wholeAnswer, type HttpAnswer } from './answer.ts'
import type { Reader, Readers } from './readers.ts'
import { errorFrame, frameOf, pingFrame } from './sse.ts'

type ServerResponse = FastifyReply['raw']

export class MessagesCall implements RelaySink {
  readonly #to: ServerResponse
  readonly #readers: Readers
  #relayed: Relayed | null = null
  #reader: Reader | null = null
  /** Frames that came together leave together: a write costs more than a frame. */
  #frames: Buffer[] = []
  #over = false

  constructor(of: { to: ServerResponse; readers: Readers }) {
    this.#to = of.to
    this.#readers = of.readers
    this.#to.once('close', () => this.#closed())
  }

  /** Asks, through `relay`. */
  ask(relay: (sink: RelaySink) => Relayed): void {
    if (!this.#over) this.#relayed = relay(this)
  }

  answer(bytes: Uint8Array, accounting: AnswerAccounting): void {
    this.#whole(wholeAnswer(bytes, accounting, accounting.id))
  }

  event(data: Uint8Array): void {
    if (this.#over) return
    this.#begin()
    this.#write(frameOf(data))
  }

  ping(): void {
    if (!this.#over && this.#to.headersSent) this.#write(pingFrame)
  }

  end(accounting: AnswerAccounting): void {
    if (this.#over) return
    this.#begin()
    this.#flush()
    this.#to.addTrailers(trailersOf(accounting))
    this.#to.end()
  }

  fail(error: HeadgateError): void {
    if (this.#over) return
    const answer = errorAnswer(error, this.#relayed?.id ?? '')
    if (!this.#to.headersSent) return this.#whole(answer)
    this.#write(errorFrame(answer.body))
    this.#flush()
    this.#to.end()
  }

  #whole({ status, headers, body }: HttpAnswer): void {
    if (this.#over) return
    const bytes = typeof body === 'string' ? Buffer.from(body) : body
    headers['content-length'] = String(bytes.length)
    this.#to.writeHead(status, headers)
    this.#to.end(bytes)
    this.#counted().wroteAll()
  }

  #begin(): void {
    if (this.#to.headersSent) return
    const { trailer, ...head } = streamHead(this.#relayed?.id ?? '')
    // Trailers need chunks, and a caller that speaks HTTP/1.0 reads none.
    this.#to.writeHead(200, this.#to.useChunkedEncodingByDefault ? { ...head, trailer } : head)
  }

  #write(frame: Buffer): void {
    this.#frames.push(frame)
    if (this.#frames.length === 1) queueMicrotask(() => this.#flush())
  }

  #flush(): void {
    const frames = this.#frames
    if (frames.length === 0 || this.#over) return
    this.#frames = []
    const bytes = frames.length === 1 ? frames[0]! : Buffer.concat(frames)
    this.#to.write(bytes)
    this.#counted().wrote()
  }

  #counted(): Reader {
    return (this.#reader ??= this.#readers.open(this.#to, () => this.#to.destroy()))
  }

  /** Answered, or the caller is gone: then nobody should work for it any more. */
  #closed(): void {
    this.#over = true
    this.#reader?.close()
    if (!this.#to.writableFinished) this.#relayed?.leave()
  }
}
