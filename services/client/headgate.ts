/** A connection to Headgate for one tenant. */
import type {
  Message,
  MessageCreateParams,
  MessageCreateParamsNonStreaming,
} from '@anthropic-ai/sdk/resources/messages'
import { isToken, makeId, TOKEN_SHAPE } from '#contracts/ids'
import {
  cancelAnswer,
  HEADER,
  statusAnswer,
  type CancelAnswer,
  type DegradeStep,
  type StatusAnswer,
} from '#contracts/messages'
import { subjects, type AdminOp, type AuxKind } from '#contracts/subjects'
import { readAccounting, type AnswerAccounting } from './accounting.ts'
import { AnswerStream } from './answer-stream.ts'
import { clientError, errorIn, HeadgateError } from './errors.ts'
import { mailbox, type Mailbox, type MailboxSlot } from './mailbox.ts'
import { natsTransport } from './nats-transport.ts'
import { clientSystem, type ClientSystem } from './system.ts'
import {
  busTransport,
  type BusLike,
  type Transport,
  type TransportHeaders,
  type TransportMessage,
} from './transport.ts'

export interface HeadgateOptions {
  /** Who is served. With permissions in force, the tenant of the NATS user. */
  tenant: string
  /** One URL, several, or several separated by commas; default `nats://127.0.0.1:4222`. */
  servers?: string | readonly string[] | undefined
  user?: string | undefined
  password?: string | undefined
  /** The content of a `.creds` file. */
  creds?: Uint8Array | undefined
  name?: string | undefined
  /** The bus of an embedded Headgate, instead of a server. */
  bus?: BusLike
  /** A transport of your own, instead of a server; it stays open when we close. */
  transport?: Transport
  /** Where answers come; default `_INBOX_<tenant>`, which the shipped permissions allow. */
  inboxPrefix?: string | undefined
  /** First token of every subject; default `llm`. */
  subjectPrefix?: string
  /** Default `interactive`. */
  lane?: string
  /** Calls that may wait at once; default 10,000. */
  callsMax?: number
  /** Unread bytes of one stream; default 16 MB. */
  bufferBytesMax?: number
  /** Longest wait for an answer of a call without a deadline; default 10 minutes. */
  waitMs?: number
  /** A stream that says nothing for so long, not even a ping, has failed; default 15 s. */
  silenceMs?: number
  system?: ClientSystem
}

export interface CallOptions {
  lane?: string | undefined
  /** For cancel and status; made if absent. */
  id?: string | undefined
  /** Remaining budget: queue, retries and answer together. */
  deadlineMs?: number | undefined
  /** What may be done instead when the call cannot be made in time. */
  degrade?: readonly DegradeStep[] | undefined
  /** `anthropic-version`, `anthropic-beta`, `traceparent`, `tracestate`. */
  headers?: Readonly<Record<string, string>> | undefined
  /** Aborting cancels the request wherever it is. */
  signal?: AbortSignal | undefined
}

export interface Answer<Body = Message> {
  /** Parsed when first asked for. */
  readonly body: Body
  /** The upstream's bytes. */
  readonly bytes: Uint8Array
  readonly accounting: AnswerAccounting
}

export interface RequestEvent {
  /** `dev.headgate.request.queued` and so on. */
  type: string
  id: string
  time: string
  /** `<tenant>/<id>`. */
  subject: string
  data: unknown
}

/** JSON text, or its bytes: sent as it is. */
export type RawBody = Uint8Array | string

export interface Headgate {
  readonly tenant: string
  request(
    body: MessageCreateParamsNonStreaming | RawBody,
    options?: CallOptions,
  ): Promise<Answer<Message>>
  /** A raw body must say `"stream": true` itself. */
  stream(body: Omit<MessageCreateParams, 'stream'> | RawBody, options?: CallOptions): AnswerStream
  cancel(id: string): Promise<CancelAnswer>
  /** Fails with `unknown_id` when nobody knows it. */
  status(id: string): Promise<StatusAnswer>
  /** The upstream's own answer, outside lanes. */
  aux(kind: AuxKind, body?: object | RawBody, options?: AuxOptions): Promise<Answer<unknown>>
  /** This tenant's request events; the answer stops them. */
  events(listener: (event: RequestEvent) => void, options?: { lane?: string }): () => void
  /** For operators, whom NATS permits it. */
  admin(op: AdminOp, body?: object): Promise<unknown>
  /** The same connection for another tenant, where permissions allow it. */
  as(tenant: string): Headgate
  close(): Promise<void>
}

export type AuxOptions = Pick<CallOptions, 'headers' | 'signal'>

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
  const { transport, box, system, tenant } = inside
  const to = subjects(inside.subjectPrefix ?? 'llm')
  const { waitMs = 600_000, silenceMs = 15_000, bufferBytesMax = 16_000_000 } = inside
  const children = new Set<Headgate>()

  /** Asks once and waits for the first message that comes back. */
  const ask = (asked: {
    subject: string
    data: RawBody
    headers?: TransportHeaders
    waitMs: number
    signal?: AbortSignal | undefined
    /** When the caller goes before the answer. */
    left?: () => void
  }): Promise<TransportMessage> =>
    new Promise((resolve, reject) => {
      const { signal } = asked
      const end = (settle: () => void) => {
        slot.close()
        stopWaiting()
        signal?.removeEventListener('abort', onAbort)
        settle()
      }
      const fail = (error: unknown) => end(() => reject(error))
      const leave = (error: unknown) => {
        fail(error)
        asked.left?.()
      }
      const onAbort = () => leave(signal?.reason)
      const slot = box.open({
        subject: asked.subject,
        fail,
        on(message) {
          const error = message.nobody ? nobodyAt(asked.subject) : errorIn(message)
          if (error === null) end(() => resolve(message))
          else fail(error)
        },
      })
      const stopWaiting = system.after(asked.waitMs, () =>
        leave(clientError('no_answer', `${asked.waitMs} ms`)),
      )
      if (signal?.aborted === true) return fail(signal.reason)
      signal?.addEventListener('abort', onAbort)
      send({ ...asked, reply: slot.address }).catch(fail)
    })

  const send = async (of: {
    subject: string
    data: RawBody
    headers?: TransportHeaders
    reply: string
  }) => {
    const { subject, data, headers = [], reply } = of
    try {
      await transport.ready()
      transport.publish(subject, data, { headers, reply })
    } catch (error) {
      throw clientError('unreachable', error instanceof Error ? error.message : 'no reason', error)
    }
  }

  const forget = (id: string) => {
    void transport
      .ready()
      .then(() => transport.publish(to.cancel(tenant, id), ''))
      .catch(() => {})
  }

  const self: Headgate = {
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
      const subject = to.request(tenant, call.lane)
      const { signal } = options
      let heard = true
      let slot: MailboxSlot | null = null
      let stopListening = () => {}
      const stream = new AnswerStream({
        id: call.id,
        bufferBytesMax,
        leave(why) {
          slot?.close()
          stopListening()
          signal?.removeEventListener('abort', onAbort)
          if (why === 'abandoned') forget(call.id)
        },
      })
      const onAbort = () => stream.fail(signal?.reason, 'abandoned')
      try {
        slot = box.open({
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
      const listen = () => {
        if (!heard) {
          const silence = clientError('no_answer', `silence for ${silenceMs} ms`)
          return stream.fail(silence, 'abandoned')
        }
        heard = false
        stopListening = system.after(silenceMs, listen)
      }
      listen()
      if (signal?.aborted === true) {
        stream.fail(signal.reason)
        return stream
      }
      signal?.addEventListener('abort', onAbort)
      const data = isRaw(body) ? body : encode({ ...body, stream: true })
      send({ subject, data, headers: call.headers, reply: slot.address }).catch((error: unknown) =>
        stream.fail(error),
      )
      return stream
    },

    async cancel(id) {
      checkToken('id', id)
      const subject = to.cancel(tenant, id)
      return cancelAnswer.parse(json(await ask({ subject, data: '', waitMs: SHORT_WAIT_MS })))
    },

    async status(id) {
      checkToken('id', id)
      const subject = to.status(tenant, id)
      return statusAnswer.parse(json(await ask({ subject, data: '', waitMs: SHORT_WAIT_MS })))
    },

    async aux(kind, body, options = {}) {
      const message = await ask({
        subject: to.aux(kind, tenant),
        data: body === undefined ? '' : encode(body),
        headers: Object.entries(options.headers ?? {}),
        waitMs: AUX_WAIT_MS,
        signal: options.signal,
      })
      return answerOf<unknown>(message)
    },

    events(listener, { lane = '*' } = {}) {
      const subscription = transport.subscribe(to.requestEvent(tenant, lane), (message) => {
        if (message.data.length === 0) return
        const header = (name: string) => message.header(name) ?? ''
        listener({
          type: header('ce-type'),
          id: header('ce-id'),
          time: header('ce-time'),
          subject: header('ce-subject'),
          data: json(message),
        })
      })
      return () => subscription.close()
    },

    async admin(op, body = {}) {
      const data = JSON.stringify(body)
      return json(await ask({ subject: to.admin(op), data, waitMs: GRACE_MS }))
    },

    as(other) {
      checkToken('tenant', other)
      const shared = inside.inboxPrefix !== undefined
      const theirs = shared
        ? box
        : openMailbox({ transport, options: inside, tenant: other, system })
      const child = headgate({
        ...inside,
        tenant: other,
        box: theirs,
        async close() {
          children.delete(child)
          if (!shared) theirs.close()
        },
      })
      children.add(child)
      return child
    },

    async close() {
      for (const child of [...children]) await child.close()
      await inside.close()
    },
  }
  return self
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

const nobodyAt = (subject: string): HeadgateError =>
  clientError('unreachable', `no Headgate listens to ${subject}`)

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
