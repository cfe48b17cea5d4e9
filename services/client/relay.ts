/** One call as it comes back, word by word, for a door that passes it on: whether it is streamed shows in the
 *  first word, so nothing here reads the body. Nothing is kept: who cannot pass an event on must leave. */
import { isPing } from '#contracts/messages'
import { isLast, readAccounting, type AnswerAccounting } from './accounting.ts'
import { errorIn, type HeadgateError } from './errors.ts'
import { endless, wrongEnd } from './stream-end.ts'
import { nobodyAt, post, unanswered, type Posted } from './exchange.ts'
import type { RawBody } from './contract.ts'
import type { Mailbox } from './mailbox.ts'
import type { ClientSystem } from './system.ts'
import type { Transport, TransportHeaders, TransportMessage } from './transport.ts'

/** Who is told. After `answer`, `end` or `fail` nothing more comes; after `leave` nothing at all. */
export interface RelaySink {
  /** The whole answer of a call that is not streamed: the upstream's bytes. */
  answer(bytes: Uint8Array, accounting: AnswerAccounting): void
  /** One upstream event of a stream: its `data` JSON bytes. */
  event(data: Uint8Array): void
  /** A sign of life of a stream that has nothing to say. */
  ping(): void
  /** The end of a stream that is complete. */
  end(accounting: AnswerAccounting): void
  fail(error: HeadgateError): void
}

export interface Relayed {
  readonly id: string
  /** The caller is gone: the request is cancelled wherever it is, and its slot comes back. */
  leave(): void
}

export function openRelay(of: {
  transport: Transport
  box: Mailbox
  system: ClientSystem
  id: string
  subject: string
  data: RawBody
  headers: TransportHeaders
  sink: RelaySink
  /** Longest wait for the first word, and for a whole answer. */
  waitMs: number
  /** Longest wait for the end, of a stream too; null: only `waitMs` and silence end it. */
  endWithinMs: number | null
  /** A stream that says nothing for so long, not even a ping, has failed. */
  silenceMs: number
  /** Tells Headgate that nobody waits for it any more. */
  forget: () => void
}): Relayed {
  const { subject, sink } = of
  let events = 0
  let streamed = false
  let heard = true
  let over = false
  let posted: Posted | null = null

  /** True: the call had left. */
  const close = (): boolean => {
    over = true
    slot?.close()
    stopWaiting()
    stopListening()
    stopEnding()
    return posted?.withdraw() === true
  }
  const fail = (error: HeadgateError) => {
    if (over) return
    close()
    sink.fail(error)
  }
  const giveUp = (error: HeadgateError) => {
    if (close()) of.forget()
    sink.fail(error)
  }
  const listen = () => {
    if (!heard) return giveUp(unanswered(posted, of.silenceMs, `silence for ${of.silenceMs} ms`))
    heard = false
    stopListening = of.system.after(of.silenceMs, listen)
  }
  let stopListening = () => {}
  const { endWithinMs: most } = of
  const stopEnding =
    most === null ? () => {} : of.system.after(most, () => giveUp(unanswered(posted, most)))
  let stopWaiting = of.system.after(of.waitMs, () => giveUp(unanswered(posted, of.waitMs)))

  const hear = (message: TransportMessage) => {
    if (over) return
    heard = true
    if (message.nobody) return fail(nobodyAt(subject))
    const { data } = message
    const error = errorIn(message)
    if (error !== null) return fail(error)
    if (!isLast(message)) return data.length > 0 ? part(data) : fail(endless())
    // The end of a stream counts its events; a whole answer has none to count.
    const accounting = readAccounting(message)
    const wrong = wrongEnd({ data, accounting, events, streamed })
    if (wrong !== null) return fail(wrong)
    close()
    if (accounting.events === null) sink.answer(data, accounting)
    else sink.end(accounting)
  }
  const part = (data: Uint8Array) => {
    if (!streamed) {
      streamed = true
      stopWaiting()
      stopWaiting = () => {}
      listen()
    }
    if (isPing(data)) return sink.ping()
    events += 1
    sink.event(data)
  }

  const slot = openSlot(of, hear, fail)
  if (slot !== null) posted = post(of.transport, { ...of, reply: slot.address, fail })
  return {
    id: of.id,
    leave() {
      if (!over && close()) of.forget()
    },
  }
}

/** Null: there is none to be had, and it was said why, a moment later as everything else is. */
function openSlot(
  of: { box: Mailbox; subject: string },
  on: (message: TransportMessage) => void,
  fail: (error: HeadgateError) => void,
) {
  try {
    return of.box.open({ subject: of.subject, on, fail })
  } catch (error) {
    queueMicrotask(() => fail(error as HeadgateError))
    return null
  }
}
