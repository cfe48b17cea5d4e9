/** One question, one answer: what comes back first, or why nothing will. */
import type { RawBody } from './contract.ts'
import { clientError, errorIn, type HeadgateError } from './errors.ts'
import type { Mailbox } from './mailbox.ts'
import type { ClientSystem } from './system.ts'
import type { Transport, TransportHeaders, TransportMessage } from './transport.ts'

export interface Question {
  subject: string
  data: RawBody
  headers?: TransportHeaders
  waitMs: number
  signal?: AbortSignal | undefined
  /** When the asker goes before the answer. */
  left?: () => void
}

export function exchange(of: { transport: Transport; box: Mailbox; system: ClientSystem }) {
  const { transport, box, system } = of
  const ask = (question: Question) =>
    new Promise<TransportMessage>((resolve, reject) => {
      const { subject, signal } = question
      const end = (settle: () => void) => {
        slot.close()
        stopWaiting()
        signal?.removeEventListener('abort', onAbort)
        settle()
      }
      const fail = (error: unknown) => end(() => reject(error))
      const leave = (error: unknown) => {
        fail(error)
        question.left?.()
      }
      const onAbort = () => leave(signal?.reason)
      const slot = box.open({
        subject,
        fail,
        on(message) {
          const error = message.nobody ? nobodyAt(subject) : errorIn(message)
          if (error === null) end(() => resolve(message))
          else fail(error)
        },
      })
      const stopWaiting = system.after(question.waitMs, () =>
        leave(clientError('no_answer', `${question.waitMs} ms`)),
      )
      if (signal?.aborted === true) return fail(signal.reason)
      signal?.addEventListener('abort', onAbort)
      void post(transport, { ...question, reply: slot.address }).then((error) => {
        if (error !== null) fail(error)
      })
    })
  return { ask }
}

/** Sends as soon as the transport can; says what kept it from leaving. */
export async function post(
  transport: Transport,
  of: { subject: string; data: RawBody; headers?: TransportHeaders; reply?: string },
): Promise<HeadgateError | null> {
  const { subject, data, headers = [], reply } = of
  try {
    await transport.ready()
    transport.publish(subject, data, { headers, ...(reply === undefined ? {} : { reply }) })
    return null
  } catch (error) {
    const why = error instanceof Error ? error.message : 'no reason given'
    return clientError('unreachable', why, error)
  }
}

export const nobodyAt = (subject: string): HeadgateError =>
  clientError('unreachable', `no Headgate listens to ${subject}`)
