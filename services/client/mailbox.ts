/** One inbox for all calls of a client: each waits at an address of its own. Bounded by `callsMax`. */
import { clientError, notPermitted, type HeadgateError } from './errors.ts'
import type { Transport, TransportMessage } from './transport.ts'

export interface MailboxSlot {
  readonly address: string
  /** Nothing more is heard at the address. */
  close(): void
}

export interface Mailbox {
  /** `subject` is what will be asked, so that a refusal to carry it finds its way here. `beside`: it belongs to a
   *  call that waits already, and is no other one. */
  open(of: {
    subject: string
    on: (message: TransportMessage) => void
    fail: (error: HeadgateError) => void
    beside?: true
  }): MailboxSlot
  /** The same inbox and the same bound; closed alone, or with the whole. */
  part(): Mailbox
  /** Fails whoever still waits. */
  close(): void
}

type Call = Parameters<Mailbox['open']>[0]
interface Waiting {
  call: Call
  whose: object
}

export function mailbox(of: { transport: Transport; inbox: string; callsMax: number }): Mailbox {
  const { transport, inbox } = of
  const waiting = new Map<string, Waiting>()
  /** What belongs to those that wait: a few for each. */
  const beside = new Map<string, Waiting>()
  let count = 0
  let closed = false
  const everywhere = `${inbox}.*`

  const listen = () =>
    transport.subscribe(everywhere, (message) => {
      const one = waiting.get(message.subject) ?? beside.get(message.subject)
      one?.call.on(message)
    })
  let subscription = listen()
  /** A server that refused it once may have learnt better since. */
  let refused = false
  const failAll = (error: HeadgateError, which: (of: Waiting) => boolean) => {
    for (const places of [beside, waiting])
      for (const [address, one] of places) {
        if (!which(one)) continue
        places.delete(address)
        one.call.fail(error)
      }
  }
  const stopFaults = transport.onFault(({ subject, detail }) => {
    const inboxRefused = subject === everywhere
    refused ||= inboxRefused
    const error = notPermitted(detail)
    failAll(error, ({ call }) => inboxRefused || call.subject === subject)
  })

  const part = (): Mailbox => {
    const own = { closed: false }
    return {
      open(call) {
        if (closed || own.closed) throw clientError('closed', 'make another one')
        const places = call.beside === true ? beside : waiting
        if (waiting.size >= of.callsMax && places === waiting)
          throw clientError('client_full', `${of.callsMax} calls`)
        if (refused) {
          refused = false
          subscription.close()
          subscription = listen()
        }
        const address = `${inbox}.${(count++).toString(36)}`
        places.set(address, { call, whose: own })
        return { address, close: () => void places.delete(address) }
      },
      part,
      close() {
        own.closed = true
        failAll(unheard(), ({ whose }) => whose === own)
      },
    }
  }

  return {
    ...part(),
    close() {
      if (closed) return
      closed = true
      subscription.close()
      if (typeof stopFaults === 'function') stopFaults()
      failAll(unheard(), () => true)
    },
  }
}

const unheard = () => clientError('closed', 'the answer will not be heard')
