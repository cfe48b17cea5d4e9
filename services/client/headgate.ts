/** A connection to Headgate for one tenant. */
import type { Message } from '@anthropic-ai/sdk/resources/messages'
import { isToken, makeId, TOKEN_SHAPE } from '#contracts/ids'
import { cancelAnswer, HEADER, statusAnswer } from '#contracts/messages'
import { subjects } from '#contracts/subjects'
import { readAccounting } from './accounting.ts'
import type {
  Answer,
  CallOptions,
  Headgate,
  HeadgateOptions,
  RawBody,
  RequestEvent,
} from './contract.ts'
import { clientError } from './errors.ts'
import { exchange, post } from './exchange.ts'
import { mailbox, type Mailbox } from './mailbox.ts'
import { natsTransport } from './nats-transport.ts'
import { openStream, SILENCE_MS } from './open-stream.ts'
import { openRelay } from './relay.ts'
import { clientSystem, type ClientSystem } from './system.ts'
import { busTransport, type Transport, type TransportMessage } from './transport.ts'

const WAIT_MS = 600_000
const SHORT_WAIT_MS = 2_000
const AUX_WAIT_MS = 65_000
/** What an answer may take on the way, beyond the deadline. */
const GRACE_MS = 5_000

export async function connectHeadgate(options: HeadgateOptions): Promise<Headgate> {
  const { tenant, bus, system = clientSystem } = options
  checkToken('tenant', tenant)
  const given = bus === undefined ? options.transport : busTransport(bus)
  const transport =
    given ??
    (await natsTransport({
      servers: options.servers ?? 'nats://127.0.0.1:4222',
      user: options.user,
      password: options.password,
      creds: options.creds,
      name: options.name,
      system,
    }))
  const box = openMailbox({ transport, options, tenant, system })
  const close = async () => {
    box.close()
    if (given === undefined) await transport.close()
  }
  return headgate({ ...options, transport, box, system, tenant, close })
}

interface Inside extends HeadgateOptions {
  transport: Transport
  box: Mailbox
  system: ClientSystem
  close: () => Promise<void>
}

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
  const { transport, tenant, waitMs = WAIT_MS } = inside
  const to = subjects(inside.subjectPrefix ?? 'llm')
  const children = new Set<Headgate>()

  const { ask } = exchange(inside)
  const query = async (subject: string) =>
    json(await ask({ subject, data: '', waitMs: SHORT_WAIT_MS }))
  const forget = (id: string) => void post(transport, { subject: to.cancel(tenant, id), data: '' })

  return {
    tenant,

    async request(body, options = {}) {
      const call = prepare(inside, options)
      const message = await ask({
        subject: to.request(tenant, call.lane),
        data: encode(body),
        headers: call.headers,
        waitMs: (options.deadlineMs ?? waitMs) + GRACE_MS,
        signal: options.signal,
        left: () => forget(call.id),
      })
      return answerOf<Message>(message)
    },

    stream(body, options = {}) {
      const call = prepare(inside, options)
      return openStream({
        ...inside,
        id: call.id,
        subject: to.request(tenant, call.lane),
        data: isRaw(body) ? body : encode({ ...body, stream: true }),
        headers: call.headers,
        signal: options.signal,
        forget: () => forget(call.id),
      })
    },

    relay(body, sink, options = {}) {
      const call = prepare(inside, options)
      return openRelay({
        ...inside,
        id: call.id,
        subject: to.request(tenant, call.lane),
        data: body,
        headers: call.headers,
        sink,
        waitMs: (options.deadlineMs ?? waitMs) + GRACE_MS,
        silenceMs: inside.silenceMs ?? SILENCE_MS,
        forget: () => forget(call.id),
      })
    },

    async cancel(id) {
      checkToken('id', id)
      return cancelAnswer.parse(await query(to.cancel(tenant, id)))
    },

    async status(id) {
      checkToken('id', id)
      return statusAnswer.parse(await query(to.status(tenant, id)))
    },

    async aux(kind, body = '', { headers = {}, signal } = {}) {
      const subject = to.aux(kind, tenant)
      const asked = { subject, data: encode(body), headers: Object.entries(headers), signal }
      return answerOf<unknown>(await ask({ ...asked, waitMs: AUX_WAIT_MS }))
    },

    events: (listener, { lane = '*' } = {}) =>
      listen({ transport, subject: to.requestEvent(tenant, lane), listener }),

    admin: (op, body = {}) =>
      ask({ subject: to.admin(op), data: encode(body), waitMs: GRACE_MS }).then(json),

    as: (other) => sibling(inside, other, children),

    async close() {
      for (const child of [...children]) await child.close()
      await inside.close()
    },
  }
}

/** Another tenant on this connection: with the same inbox where one was chosen, else with its own. */
function sibling(inside: Inside, tenant: string, siblings: Set<Headgate>): Headgate {
  checkToken('tenant', tenant)
  const { transport, system, inboxPrefix } = inside
  if (inboxPrefix !== undefined) return headgate({ ...inside, tenant, close: async () => {} })
  const box = openMailbox({ transport, options: inside, tenant, system })
  const close = async () => {
    siblings.delete(self)
    box.close()
  }
  const self = headgate({ ...inside, tenant, box, close })
  siblings.add(self)
  return self
}

function listen(of: {
  transport: Transport
  subject: string
  listener: (event: RequestEvent) => void
}): () => void {
  const subscription = of.transport.subscribe(of.subject, (message) => {
    const event = eventOf(message)
    if (event !== null) of.listener(event)
  })
  return () => subscription.close()
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

/** Lane, id and headers of a call, checked before they become a subject. */
function prepare(inside: Inside, options: CallOptions) {
  const lane = options.lane ?? inside.lane ?? 'interactive'
  const id = options.id ?? makeId(() => inside.system.random())
  checkToken('lane', lane)
  checkToken('id', id)
  const headers: [string, string][] = [[HEADER.id, id]]
  if (options.deadlineMs !== undefined) {
    headers.push([HEADER.deadline, String(Math.ceil(options.deadlineMs))])
  }
  if (options.degrade !== undefined && options.degrade.length > 0) {
    headers.push([HEADER.degrade, options.degrade.join(',')])
  }
  headers.push(...Object.entries(options.headers ?? {}))
  return { lane, id, headers }
}

function checkToken(what: string, text: string): void {
  if (!isToken(text)) throw new TypeError(`${what}: expected ${TOKEN_SHAPE}`)
}

const isRaw = (body: object | RawBody): body is RawBody =>
  typeof body === 'string' || body instanceof Uint8Array

const encode = (body: object | RawBody): RawBody => (isRaw(body) ? body : JSON.stringify(body))

function answerOf<Body>(message: TransportMessage): Answer<Body> {
  let parsed: { body: Body } | null = null
  return {
    get body() {
      parsed ??= { body: json(message) as Body }
      return parsed.body
    },
    bytes: message.data,
    accounting: readAccounting(message),
  }
}

function json(message: TransportMessage): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(message.data)) as unknown
  } catch (error) {
    throw clientError('bad_answer', 'it is not JSON', error)
  }
}
