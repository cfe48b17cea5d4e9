/** One call as it comes back, word by word, for a door that passes it on: whether it is streamed shows in the
 *  first word, so nothing here reads the body. Nothing is kept: who cannot pass an event on must leave. */
import { isPing } from '#contracts/messages'
import { isLast, readAccounting, type AnswerAccounting } from './accounting.ts'
import { errorIn, type HeadgateError } from './errors.ts'
import { endless, wrongEnd } from './stream-end.ts'
import { nobodyAt, unanswered, type Ears, type Line } from './exchange.ts'
import type { ClientSystem } from './system.ts'
import type { TransportMessage } from './transport.ts'

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

export interface RelayOptions {
  system: ClientSystem
  id: string
  subject: string
  open: (ears: Ears) => Line
  sink: RelaySink
  /** Longest wait for the first word, and for a whole answer. */
  waitMs: number
  /** Longest wait for the end, of a stream too; null: only `waitMs` and silence end it. */
  endWithinMs: number | null
  /** A stream that says nothing for so long, not even a ping, has failed. */
  silenceMs: number
  /** Tells Headgate that nobody waits for it any more. */
  forget: () => void
}

export function openRelay(of: RelayOptions): Relayed {
  const { sink } = of
  let over = false

  /** True: the call had left. */
  const close = (): boolean => {
    over = true
    waits.stop()
    return line?.close() === true
  }
  const fail = (error: HeadgateError) => {
    if (over) return
    close()
    sink.fail(error)
  }
  const giveUp = (error: HeadgateError) => {
    if (over) return
    if (close()) of.forget()
    sink.fail(error)
  }
  const waits = patience(of, (waitedMs, why) => giveUp(unanswered(line, waitedMs, why)))
  const read = readerOf(of, { begun: waits.begun, close, fail })
  const on = (message: TransportMessage) => {
    if (over) return
    waits.heard()
    read(message)
  }

  const line = openLine(of, { on, fail, giveUp })
  return {
    id: of.id,
    leave() {
      if (!over && close()) of.forget()
    },
  }
}

/** How long it is waited: for the first word, for the next one of a stream, and for the end. */
function patience(
  of: Pick<RelayOptions, 'system' | 'waitMs' | 'silenceMs' | 'endWithinMs'>,
  giveUp: (waitedMs: number, why?: string) => void,
): {
  heard(): void
  /** It is a stream: silence counts from now on, and no more the wait for the first word. */
  begun(): void
  stop(): void
} {
  const { system, waitMs, silenceMs, endWithinMs: most } = of
  let heard = true
  let stopListening = () => {}
  const listen = () => {
    if (!heard) return giveUp(silenceMs, `silence for ${silenceMs} ms`)
    heard = false
    stopListening = system.after(silenceMs, listen)
  }
  const stopEnding = most === null ? () => {} : system.after(most, () => giveUp(most))
  const stopWaiting = system.after(waitMs, () => giveUp(waitMs))
  return {
    heard: () => void (heard = true),
    begun() {
      stopWaiting()
      listen()
    },
    stop() {
      stopWaiting()
      stopListening()
      stopEnding()
    },
  }
}

/** Tells the sink what a message is. */
function readerOf(
  { subject, sink }: Pick<RelayOptions, 'subject' | 'sink'>,
  to: { begun: () => void; close: () => boolean; fail: (error: HeadgateError) => void },
): (message: TransportMessage) => void {
  let events = 0
  let streamed = false
  const part = (data: Uint8Array) => {
    if (!streamed) to.begun()
    streamed = true
    if (isPing(data)) return sink.ping()
    events += 1
    sink.event(data)
  }
  return (message) => {
    if (message.nobody) return to.fail(nobodyAt(subject))
    const { data } = message
    const error = errorIn(message)
    if (error !== null) return to.fail(error)
    if (!isLast(message)) return data.length > 0 ? part(data) : to.fail(endless())
    // The end of a stream counts its events; a whole answer has none to count.
    const accounting = readAccounting(message)
    const wrong = wrongEnd({ data, accounting, events, streamed })
    if (wrong !== null) return to.fail(wrong)
    to.close()
    if (accounting.events === null) sink.answer(data, accounting)
    else sink.end(accounting)
  }
}

/** Null: there is none to be had, and it was said why, a moment later as everything else is. */
function openLine(of: Pick<RelayOptions, 'open'>, ears: Ears): Line | null {
  try {
    return of.open(ears)
  } catch (error) {
    queueMicrotask(() => ears.fail(error as HeadgateError))
    return null
  }
}
