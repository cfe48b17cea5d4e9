/** A connection to Headgate for one tenant. */
import { makeId, TOKEN_SHAPE } from '#contracts/ids'
import { subjects } from '#contracts/subjects'
import { checkToken } from './call.ts'
import { calls } from './calls.ts'
import type { Headgate, HeadgateOptions } from './contract.ts'
import { clientError, unreachable } from './errors.ts'
import type { Inside } from './inside.ts'
import { jobWaits } from './job-waits.ts'
import { lazyTransport } from './lazy-transport.ts'
import { mailbox, type Mailbox } from './mailbox.ts'
import { natsDialer } from './nats-transport.ts'
import { checkNames, checkValues } from './options.ts'
import { questions } from './questions.ts'
import { listenTo } from './request-events.ts'
import { clientSystem, type ClientSystem } from './system.ts'
import { borrowed, busTransport, type Transport } from './transport.ts'
import { watchCalls } from './watch.ts'

/** Connects first, and fails first: with `unreachable`. */
export async function connectHeadgate(options: HeadgateOptions): Promise<Headgate> {
  const opened = openHeadgate(options, 'connectHeadgate')
  try {
    await opened.ready()
    return opened
  } catch (error) {
    await opened.close()
    throw error
  }
}

/** Connects when it is first needed. */
export function openHeadgate(
  options: HeadgateOptions,
  where: 'HeadgateClient' | 'connectHeadgate',
): Headgate {
  checkNames('headgate', where, options)
  checkNames('tls', `${where}: tls`, options?.tls)
  if (options === undefined) throw new TypeError(`tenant: expected ${TOKEN_SHAPE}`)
  const { tenant, bus, system = clientSystem } = options
  checkToken('tenant', tenant)
  checkValues(options)
  const given = bus === undefined ? options.transport : busTransport(bus)
  const transport = given === undefined ? overNats(options, system) : borrowed(given)
  const box = openMailbox({ transport, options, tenant, system })
  const to = subjects(options.subjectPrefix ?? 'llm')
  const release = async () => {
    box.close()
    await transport.close()
  }
  const onReturn = transport.onReturn?.bind(transport)
  const watch =
    bus === undefined ? watchCalls({ system, everyMs: options.watchMs, onReturn }) : null
  return headgate({ ...options, transport, box, system, watch, to, release, isOpen: () => true })
}

const overNats = (options: HeadgateOptions, system: ClientSystem): Transport =>
  lazyTransport(
    natsDialer({
      servers: options.servers ?? 'nats://127.0.0.1:4222',
      user: options.user,
      password: options.password,
      creds: options.creds,
      tls: options.tls,
      name: options.name,
      system,
    }),
  )

function openMailbox(of: {
  transport: Transport
  options: HeadgateOptions
  tenant: string
  system: ClientSystem
}): Mailbox {
  const prefix = of.options.inboxPrefix ?? `_INBOX_${of.tenant}`
  return mailbox({
    transport: of.transport,
    inbox: `${prefix}.${makeId(() => of.system.random())}`,
    callsMax: of.options.callsMax ?? 10_000,
  })
}

function headgate(inside: Inside): Headgate {
  const { transport, tenant, to } = inside
  const children = new Map<string, Headgate>()
  const listening = new Set<() => void>()
  let closing: Promise<void> | null = null

  const isOpen = () => closing === null && inside.isOpen()
  const checkOpen = () => {
    if (!isOpen()) throw clientError('closed', 'make another one')
  }
  const close = async () => {
    for (const stop of listening) stop()
    for (const child of children.values()) await child.close()
    await inside.release()
  }

  return {
    tenant,

    async ready() {
      checkOpen()
      try {
        await transport.ready()
      } catch (error) {
        checkOpen()
        throw unreachable(error)
      }
      checkOpen()
    },

    ...calls(inside),
    ...questions(inside),
    jobs: jobWaits(inside),

    events(listener, options = {}) {
      checkNames('events', 'events', options)
      const { lane, failed } = options
      checkOpen()
      if (typeof listener !== 'function')
        throw new TypeError('events: listener: expected a function')
      if (lane !== undefined) checkToken('lane', lane)
      const subject = to.requestEvent(tenant, lane ?? '*')
      const stopListening = listenTo({ transport, subject, listener, failed })
      const stop = () => {
        listening.delete(stop)
        stopListening()
      }
      listening.add(stop)
      return stop
    },

    as(other) {
      checkOpen()
      return children.get(other) ?? sibling({ ...inside, isOpen }, other, children)
    },

    close: () => (closing ??= close()),
  }
}

/** Another tenant on this connection, the same one each time it is asked for until it is closed: with the
 *  same inbox where one was chosen, else with its own. */
function sibling(inside: Inside, tenant: string, siblings: Map<string, Headgate>): Headgate {
  checkToken('tenant', tenant)
  const { transport, system, inboxPrefix } = inside
  const shared = inboxPrefix !== undefined
  const box = shared
    ? inside.box.part()
    : openMailbox({ transport, options: inside, tenant, system })
  const release = async () => {
    siblings.delete(tenant)
    box.close()
  }
  const self = headgate({ ...inside, tenant, box, release })
  siblings.set(tenant, self)
  return self
}
