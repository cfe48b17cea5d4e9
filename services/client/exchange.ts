/** One question, one answer: what comes back first, or why nothing will. */
import type { RawBody } from './contract.ts'
import { clientError, errorIn, HeadgateError, messageOf, refusedHere } from './errors.ts'
import type { Mailbox } from './mailbox.ts'
import type { ClientSystem } from './system.ts'
import type { Transport, TransportHeaders, TransportMessage } from './transport.ts'

export interface Question {
  subject: string
  data: RawBody
  headers?: TransportHeaders
  waitMs: number
  /** Asked each time that `waitMs` have passed: whether to wait as long again; absent: no. */
  goOn?: (waitedMs: number) => Promise<boolean>
  signal?: AbortSignal | undefined
  /** When the asker goes before the answer, and the question had left. */
  left?: (why: 'aborted' | 'late') => void
  /** What to say when nobody listens; default: that no Headgate does. */
  nobody?: string
  /** How it is asked and heard; absent: once. */
  open?: (ears: Ears) => Line
}

/** Who hears what comes back. */
export interface Ears {
  on(message: TransportMessage): void
  /** Nothing will come. */
  fail(error: HeadgateError): void
  /** It is given up, though somebody may still work for it. */
  giveUp(error: HeadgateError): void
}

/** A question on its way. */
export interface Line {
  /** It has left. */
  readonly left: boolean
  /** Nothing more is heard, and it shall not leave any more; true if it has. */
  close(): boolean
}

/** Asked once. Throws where the mailbox takes no more. */
export function openOnce(
  of: {
    transport: Transport
    box: Mailbox
    subject: string
    data: RawBody
    headers?: TransportHeaders
  },
  { on, fail }: Ears,
): Line {
  const slot = of.box.open({ subject: of.subject, on, fail })
  const posted = post(of.transport, { ...of, reply: slot.address, fail })
  return {
    get left() {
      return posted.left
    },
    close() {
      slot.close()
      return posted.withdraw()
    },
  }
}

export function exchange(of: { transport: Transport; box: Mailbox; system: ClientSystem }) {
  const { transport, box, system } = of
  const ask = (question: Question) =>
    new Promise<TransportMessage>((resolve, reject) => {
      const { subject, signal, waitMs } = question
      if (signal?.aborted === true) return reject(signal.reason)
      let over = false
      /** True: the question had left. */
      const end = (settle: () => void): boolean => {
        over = true
        const left = line.close()
        stopWaiting()
        signal?.removeEventListener('abort', onAbort)
        settle()
        return left
      }
      const fail = (error: unknown) => end(() => reject(error))
      const onAbort = () => {
        if (fail(signal?.reason)) question.left?.('aborted')
      }
      const open = question.open ?? ((ears) => openOnce({ transport, box, ...question }, ears))
      const line = open({
        fail,
        giveUp(error) {
          if (fail(error)) question.left?.('late')
        },
        on(message) {
          const error = message.nobody ? nobodyAt(subject, question.nobody) : errorIn(message)
          if (error === null) end(() => resolve(message))
          else fail(error)
        },
      })
      const giveUp = (waitedMs: number) => {
        if (fail(unanswered(line, waitedMs))) question.left?.('late')
      }
      const onTime = async (waitedMs: number) => {
        if (question.goOn === undefined || !line.left) return giveUp(waitedMs)
        const goOn = await question.goOn(waitedMs)
        if (over) return
        if (goOn) wait(waitedMs)
        else giveUp(waitedMs)
      }
      const wait = (waitedMs: number) => {
        stopWaiting = system.after(waitMs, () => void onTime(waitedMs + waitMs))
      }
      let stopWaiting = () => {}
      wait(0)
      signal?.addEventListener('abort', onAbort)
    })
  return { ask }
}

export interface Posted {
  readonly left: boolean
  /** It shall not leave any more; true if it has. */
  withdraw(): boolean
}

/** Sends as soon as the transport can, which may be now, unless it is withdrawn before; tells a moment later
 *  what kept it from leaving. */
export function post(
  transport: Transport,
  of: {
    subject: string
    data: RawBody
    headers?: TransportHeaders
    reply?: string
    fail?: (error: HeadgateError) => void
    /** It has left. */
    sent?: () => void
  },
): Posted {
  const { subject, data, headers = [], reply, fail = () => {}, sent = () => {} } = of
  let at: 'waiting' | 'left' | 'withdrawn' = 'waiting'
  const send = () => {
    if (at !== 'waiting') return
    checkSize(transport, { data, headers })
    transport.publish(subject, data, { headers, ...(reply === undefined ? {} : { reply }) })
    at = 'left'
    sent()
  }
  const leave = async () => {
    if (transport.isReady?.() !== true) await transport.ready()
    send()
  }
  leave().catch((error: unknown) => {
    if (error instanceof HeadgateError) return fail(error)
    fail(clientError('unreachable', messageOf(error), error))
  })
  return {
    get left() {
      return at === 'left'
    },
    withdraw() {
      if (at === 'waiting') at = 'withdrawn'
      return at === 'left'
    },
  }
}

/** A server ends the connection of whoever sends more; headers count. */
function checkSize(
  { maxPayload }: Transport,
  { data, headers }: { data: RawBody; headers: TransportHeaders },
): void {
  let bytes = typeof data === 'string' ? Buffer.byteLength(data) : data.length
  if (headers.length > 0) bytes += 'NATS/1.0\r\n\r\n'.length
  for (const [name, value] of headers) bytes += Buffer.byteLength(name + value) + ': \r\n'.length
  if (bytes > maxPayload)
    throw refusedHere(
      'payload_too_large',
      `the call has ${bytes} bytes; what carries it takes ${maxPayload} (max_payload of the NATS server)`,
    )
}

/** Why nothing came within `ms`: what never left was heard by nobody. */
export const unanswered = (
  posted: { left: boolean } | null,
  ms: number,
  how = `${ms} ms`,
): HeadgateError =>
  posted?.left === true
    ? clientError('no_answer', how)
    : clientError('unreachable', `no connection within ${ms} ms`)

export const nobodyAt = (subject: string, said = `no Headgate listens to ${subject}`) =>
  clientError('unreachable', said)
