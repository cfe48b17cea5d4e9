/** One question, many answers: asks, and feeds a stream until it ends, its reader goes, or all is silent. */
import { AnswerStream } from './answer-stream.ts'
import type { RawBody } from './contract.ts'
import { nobodyAt, post, unanswered, type Posted } from './exchange.ts'
import type { Mailbox, MailboxSlot } from './mailbox.ts'
import type { ClientSystem } from './system.ts'
import type { Transport, TransportHeaders } from './transport.ts'

/** Three pings long. */
export const SILENCE_MS = 15_000
const BUFFER_BYTES_MAX = 16_000_000

export function openStream(of: {
  transport: Transport
  box: Mailbox
  system: ClientSystem
  id: string
  subject: string
  data: RawBody
  headers: TransportHeaders
  signal: AbortSignal | undefined
  silenceMs?: number
  bufferBytesMax?: number
  /** Tells Headgate that nobody waits for it any more. */
  forget: () => void
}): AnswerStream {
  const { transport, subject, signal, silenceMs = SILENCE_MS } = of
  let heard = true
  let slot: MailboxSlot | null = null
  let posted: Posted | null = null
  let stopListening = () => {}

  const onAbort = () => stream.fail(signal?.reason, 'abandoned')
  const stream = new AnswerStream({
    id: of.id,
    bufferBytesMax: of.bufferBytesMax ?? BUFFER_BYTES_MAX,
    leave(why) {
      slot?.close()
      stopListening()
      signal?.removeEventListener('abort', onAbort)
      const left = posted?.withdraw() === true
      if (why === 'abandoned' && left) of.forget()
    },
  })
  const listen = () => {
    if (!heard) {
      const silence = unanswered(posted, silenceMs, `silence for ${silenceMs} ms`)
      return stream.fail(silence, 'abandoned')
    }
    heard = false
    stopListening = of.system.after(silenceMs, listen)
  }

  if (signal?.aborted === true) {
    stream.fail(signal.reason)
    return stream
  }
  try {
    slot = of.box.open({
      subject,
      fail: (error) => stream.fail(error),
      on(message) {
        heard = true
        if (message.nobody) stream.fail(nobodyAt(subject))
        else stream.hear(message)
      },
    })
  } catch (error) {
    stream.fail(error)
    return stream
  }
  listen()
  signal?.addEventListener('abort', onAbort)
  posted = post(transport, { ...of, reply: slot.address, fail: (error) => stream.fail(error) })
  return stream
}
