/** A tenant's request events, as they are published. */
import { json } from './answer.ts'
import type { EventOptions, RequestEvent } from './contract.ts'
import { notPermitted, unreachable } from './errors.ts'
import type { Transport, TransportMessage } from './transport.ts'

/** Asks for the connection too; the answer stops it. */
export function listenTo(of: {
  transport: Transport
  subject: string
  listener: (event: RequestEvent) => void
  failed: EventOptions['failed']
}): () => void {
  const { transport, subject, listener, failed = () => {} } = of
  let over = false
  const fail = (error: unknown) => {
    if (!over) failed(unreachable(error))
  }
  const subscription = transport.subscribe(subject, (message) => {
    const event = eventOf(message)
    if (event !== null) listener(event)
  })
  const stopFaults = transport.onFault((fault) => {
    if (fault.subject === subject) fail(notPermitted(fault.detail))
  })
  transport.ready().catch(fail)
  return () => {
    if (over) return
    over = true
    subscription.close()
    if (typeof stopFaults === 'function') stopFaults()
  }
}

/** Null: no event of Headgate's. */
function eventOf(message: TransportMessage): RequestEvent | null {
  const header = (name: string) => message.header(name) ?? ''
  try {
    return {
      type: header('ce-type'),
      id: header('ce-id'),
      time: header('ce-time'),
      subject: header('ce-subject'),
      data: json(message),
    }
  } catch {
    return null
  }
}
