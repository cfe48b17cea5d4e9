/** One `POST /v1/messages`: relayed as it comes, streamed or whole, and taken back when its caller goes.
 *  The status line leaves with the first real event, so that a late refusal still has its status, unless the
 *  caller would take the silence before it for an end. */
import type { FastifyReply } from 'fastify'
import type { Millis } from '#contracts/units'
import { clientRefusals, HeadgateError, type AnswerAccounting, type RelaySink } from '#client'
import { Outlet } from '#platform/http/listener'
import {
  deferredAnswer,
  trailersOf,
  errorAnswer,
  receiptIn,
  streamHead,
  wholeAnswer,
  type HttpAnswer,
} from './answer.ts'
import type { Place } from './places.ts'
import type { Reader, Readers } from './readers.ts'
import { errorFrame, frameOf, pingFrame } from './sse.ts'

type ServerResponse = FastifyReply['raw']

/** A stream that has begun is silent for no longer than this, whoever is silent behind the door. */
const PING_MS = 5_000

export interface CallEars {
  /** The upstream, or who stands in for it, has answered. */
  served(accounting: AnswerAccounting): void
  /** `told`: what its caller hears of it. */
  refused(error: HeadgateError, told: HttpAnswer): void
  /** Its client went before it heard a word, after so long that it may come back. */
  deserted(place: Place): void
}

export class MessagesCall implements RelaySink {
  readonly #to: ServerResponse
  readonly #out: Outlet
  readonly #readers: Readers
  readonly #deadlineMs: Millis | null
  readonly #streamsAgain: boolean
  readonly #mayDefer: boolean
  /** Of the job that a streamed call became; its end is still to come. */
  #receipt: Uint8Array | null = null
  /** It has waited so long that its next sign of life has a status before it. */
  #early = false
  readonly #stopWaiting: () => void
  readonly #system: { now(): Millis; after(ms: Millis, call: () => void): () => void }
  #stopPinging = () => {}
  /** When the last frame was written. */
  #saidAt = 0
  /** The last frame is a ping that nobody behind the door has sent. */
  #pingsItself = false
  #place: Place | null = null
  readonly #ears: CallEars
  #reader: Reader | null = null
  #over = false

  /** `deadlineMs`: what the caller itself said; null: nothing. `earlyMs`: how long a streamed call waits without
   *  a word. `streamsAgain`: the caller knows what to do where a stream breaks off. `mayDefer`: it asked for a job
   *  instead of a no, which has a status of its own: a streamed call gets none before then. */
  constructor(of: {
    to: ServerResponse
    readers: Readers
    deadlineMs: Millis | null
    earlyMs: Millis
    streamsAgain: boolean
    mayDefer: boolean
    ears: CallEars
    system: { now(): Millis; after(ms: Millis, call: () => void): () => void }
  }) {
    this.#system = of.system
    this.#stopWaiting = of.system.after(of.earlyMs, () => (this.#early = true))
    this.#deadlineMs = of.deadlineMs
    this.#streamsAgain = of.streamsAgain
    this.#mayDefer = of.mayDefer
    this.#ears = of.ears
    this.#to = of.to
    this.#out = new Outlet(of.to)
    this.#readers = of.readers
    this.#to.once('close', () => this.#closed())
  }

  /** What comes back at this place is its answer. */
  take(place: (sink: RelaySink) => Place): void {
    if (!this.#over) this.#place = place(this)
  }

  answer(bytes: Uint8Array, accounting: AnswerAccounting): void {
    this.#ears.served(accounting)
    const said = accounting.outcome === 'deferred' ? deferredAnswer : wholeAnswer
    this.#whole(said(bytes, accounting, accounting.id))
  }

  event(data: Uint8Array): void {
    if (this.#over) return
    if (this.#mayDefer && !this.#to.headersSent && receiptIn(data) !== null) {
      this.#receipt = data
      return
    }
    this.#begin()
    this.#pingsItself = false
    this.#write(frameOf(data))
  }

  ping(): void {
    // Where the door pings by itself, it goes on until there is more to say: a second ping would say nothing.
    if (this.#over || this.#pingsItself) return
    if (!this.#to.headersSent && (this.#mayDefer || !this.#early)) return
    this.#begin()
    this.#ping()
  }

  end(accounting: AnswerAccounting): void {
    if (this.#over) return
    if (this.#receipt !== null) return this.answer(this.#receipt, accounting)
    this.#ears.served(accounting)
    this.#begin()
    this.#over = true
    this.#out.end(() => this.#to.addTrailers(trailersOf(accounting)))
  }

  fail(error: HeadgateError): void {
    if (this.#over) return
    if (this.#streamsAgain && this.#to.chunkedEncoding && isBroken(error)) {
      this.#over = true
      return this.#out.breakOff()
    }
    const answer = errorAnswer(error, this.#place?.id ?? '', this.#deadlineMs)
    this.#ears.refused(error, answer)
    if (!this.#to.headersSent) return this.#whole(answer)
    this.#write(errorFrame(answer.body))
    this.#over = true
    this.#out.end()
  }

  #whole({ status, headers, body }: HttpAnswer): void {
    if (this.#over) return
    this.#over = true
    const bytes =
      typeof body === 'string'
        ? Buffer.from(body)
        : Buffer.from(body.buffer, body.byteOffset, body.length)
    headers['content-length'] = String(bytes.length)
    this.#to.writeHead(status, headers)
    this.#out.write(bytes)
    this.#out.end()
    this.#counted(() => this.#to.destroy()).wroteAll()
  }

  #begin(): void {
    if (this.#to.headersSent) return
    const { trailer, ...head } = streamHead(this.#place?.id ?? '')
    // Trailers need chunks, and a caller that speaks HTTP/1.0 reads none.
    this.#to.writeHead(200, this.#to.useChunkedEncodingByDefault ? { ...head, trailer } : head)
    this.#pingLater(PING_MS)
  }

  #write(frame: Buffer): void {
    this.#saidAt = this.#system.now()
    this.#out.write(frame)
    this.#counted().wrote()
  }

  /** Who has more to read has a sign of life before it. */
  #ping(): void {
    if (this.#out.unread === 0) this.#write(pingFrame)
  }

  #pingLater(ms: Millis): void {
    this.#stopPinging = this.#system.after(ms, () => {
      if (this.#over) return
      const leftMs = this.#saidAt + PING_MS - this.#system.now()
      if (leftMs > 0) return this.#pingLater(leftMs)
      this.#pingsItself = true
      this.#ping()
      this.#pingLater(PING_MS)
    })
  }

  #counted(end = () => this.#tooSlow()): Reader {
    return (this.#reader ??= this.#readers.open(this.#out, end))
  }

  /** What it left unread is given up, and it is told so, unless an event has left in part. */
  #tooSlow(): void {
    this.#over = true
    this.#place?.leave()
    const { body } = errorAnswer(tooSlow(), this.#place?.id ?? '')
    if (!this.#out.cut(errorFrame(body))) this.#to.destroy()
  }

  /** Answered, or the caller is gone: then nobody should work for it any more, unless it may come back. */
  #closed(): void {
    const heardNothing = !this.#over && !this.#to.headersSent
    this.#over = true
    this.#stopWaiting()
    this.#stopPinging()
    this.#reader?.close()
    if (this.#to.writableFinished || this.#place === null) return
    if (heardNothing && this.#early) this.#ears.deserted(this.#place)
    else this.#place.leave()
  }
}

/** The stream broke on its way, and nobody has said why: an overload has words of the upstream's own. */
const isBroken = ({ code, type }: HeadgateError): boolean =>
  code === 'gap' || (code === 'stream_broken' && type !== 'overloaded_error')

function tooSlow(): HeadgateError {
  const { means: message, retryable } = clientRefusals.reader_too_slow
  return new HeadgateError({ code: 'reader_too_slow', message, retryable })
}
