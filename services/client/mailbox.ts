/** One inbox for all calls of a client: each waits at an address of its own. Bounded by `callsMax`. */
import { clientError, type HeadgateError } from './errors.ts'
import type { Transport, TransportMessage } from './transport.ts'

export interface MailboxSlot {
  readonly address: string
  /** Nothing more is heard at the address. */
  close(): void
}

export interface Mailbox {
  /** `subject` is what will be asked, so that a refusal to carry it finds its way here. */
  open(of: {
    subject: string
    on: (message: TransportMessage) => void
    fail: (error: HeadgateError) => void
  }): MailboxSlot
  /** Fails whoever still waits. */
  close(): void
}

export function mailbox(of: { transport: Transport; inbox: string; callsMax: number }): Mailbox {
  const { transport, inbox } = of
  const waiting = new Map<
    string,
    {
      subject: string
      on: (message: TransportMessage) => void
      fail: (error: HeadgateError) => void
    }
  >()
  let count = 0
  let closed = false
  const everywhere = `${inbox}.*`

  const subscription = transport.subscribe(everywhere, (message) => {
    waiting.get(message.subject)?.on(message)
  })
  const failAll = (error: HeadgateError, whose: (subject: string) => boolean) => {
    for (const [address, { subject, fail }] of waiting) {
      if (!whose(subject)) continue
      waiting.delete(address)
      fail(error)
    }
  }
  const stopFaults = transport.onFault(({ subject, detail }) => {
    const inboxRefused = subject === everywhere
    const error = clientError('unreachable', detail)
    failAll(error, (asked) => inboxRefused || asked === subject)
  })

  return {
    open(call) {
      if (closed) throw clientError('closed', 'make another one')
      if (waiting.size >= of.callsMax) throw clientError('client_full', `${of.callsMax} calls`)
      const address = `${inbox}.${(count++).toString(36)}`
      waiting.set(address, call)
      return { address, close: () => void waiting.delete(address) }
    },
    close() {
      closed = true
      subscription.close()
      if (typeof stopFaults === 'function') stopFaults()
      failAll(clientError('closed', 'the answer will not be heard'), () => true)
    },
  }
}
