/** A transport that a test moves by hand: it writes down what is asked of it, and what it carries. */
import type { Transport, TransportFault, TransportHeaders, TransportMessage } from '#client'
import { heard } from './heard.ts'

export interface Letter {
  subject: string
  text: string
  headers: TransportHeaders
  reply: string | undefined
}

export function handTransport(of: { ready?: () => Promise<void> } = {}) {
  const sent = heard<Letter>()
  const subscriptions = new Set<{ subject: string; on: (message: TransportMessage) => void }>()
  const faults = new Set<(fault: TransportFault) => void>()
  const returns = new Set<() => void>()
  /** What happened, in order. */
  const log: string[] = []
  let closed = 0

  const transport: Transport = {
    maxPayload: 5_000,
    ready: of.ready ?? (async () => {}),
    publish(subject, data, { headers = [], reply } = {}) {
      log.push(`publish ${subject}`)
      const text = typeof data === 'string' ? data : new TextDecoder().decode(data)
      sent.add({ subject, text, headers, reply })
    },
    subscribe(subject, on) {
      log.push(`subscribe ${subject}`)
      const one = { subject, on }
      subscriptions.add(one)
      return { close: () => void subscriptions.delete(one) }
    },
    onFault(listener) {
      faults.add(listener)
      return () => void faults.delete(listener)
    },
    onReturn(listener) {
      returns.add(listener)
      return () => void returns.delete(listener)
    },
    async close() {
      closed += 1
    },
  }

  const arrive = (message: TransportMessage): void => {
    for (const one of [...subscriptions]) {
      const prefix = one.subject.replace(/[*>]$/, '')
      if (
        one.subject === message.subject ||
        (prefix !== one.subject && message.subject.startsWith(prefix))
      )
        one.on(message)
    }
  }

  return {
    transport,
    sent,
    log,
    /** How often it was closed. */
    closed: () => closed,
    subjects: () => [...subscriptions].map(({ subject }) => subject),
    faultListeners: () => faults.size,
    returnListeners: () => returns.size,
    /** The connection was lost, and is there again. */
    returned() {
      for (const listener of [...returns]) listener()
    },
    /** A message arrives. */
    deliver(subject: string, text: string, headers: Record<string, string> = {}) {
      arrive({
        subject,
        data: new TextEncoder().encode(text),
        nobody: false,
        header: (name) => headers[name],
      })
    },
    /** The server's word that nobody listens to what was asked. */
    nobody: (subject: string) =>
      arrive({ subject, data: new Uint8Array(0), nobody: true, header: () => undefined }),
    /** The server refuses to carry something. */
    refuse(fault: TransportFault) {
      for (const listener of faults) listener(fault)
    },
  }
}

export type HandTransport = ReturnType<typeof handTransport>
