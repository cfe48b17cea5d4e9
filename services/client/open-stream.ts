/** One question, many answers: asks, and feeds a stream until it ends, its reader goes, or all is silent. */
import { AnswerStream } from './answer-stream.ts'
import { nobodyAt, unanswered, type Ears, type Line } from './exchange.ts'
import type { ClientSystem } from './system.ts'

/** Three pings long. */
export const SILENCE_MS = 15_000
const BUFFER_BYTES_MAX = 16_000_000

export function openStream(of: {
  system: ClientSystem
  id: string
  subject: string
  open: (ears: Ears) => Line
  signal: AbortSignal | undefined
  silenceMs?: number
  bufferBytesMax?: number
  /** Tells Headgate that nobody waits for it any more. */
  forget: () => void
}): AnswerStream {
  const { subject, signal, silenceMs = SILENCE_MS } = of
  let heard = true
  let line: Line | null = null
  let stopListening = () => {}

  const onAbort = () => stream.fail(signal?.reason, 'abandoned')
  const stream = new AnswerStream({
    id: of.id,
    bufferBytesMax: of.bufferBytesMax ?? BUFFER_BYTES_MAX,
    leave(why) {
      const left = line?.close() === true
      stopListening()
      signal?.removeEventListener('abort', onAbort)
      if (why === 'abandoned' && left) of.forget()
    },
  })
  const listen = () => {
    if (!heard) {
      const silence = unanswered(line, silenceMs, `silence for ${silenceMs} ms`)
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
    line = of.open({
      fail: (error) => stream.fail(error),
      giveUp: (error) => stream.fail(error, 'abandoned'),
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
  return stream
}
