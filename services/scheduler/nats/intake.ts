/** Listens to the contract's subjects and hands each message over parsed, once, at the border. Nothing here
 *  subscribes to `submit`: durable jobs have a room of their own.
 *
 *  Requests go to one instance (queue group). Cancel, status and fetch go to all, since only one holds the
 *  id: it answers at once, the others only after a while that no, they do not know it. */
import { TOKEN, TOKEN_SHAPE } from '#contracts/ids'
import { refusal } from '#contracts/messages'
import { AUX_KINDS, oneToken, twoTokens, type AuxKind, type Subjects } from '#contracts/subjects'
import type { Bus, BusMessage, Clock, Millis, Operator, Scheduler, Subscription } from '#ports'
import { adminDesk } from './admin-desk.ts'
import { auxDesk, type AuxCall } from './aux-desk.ts'
import { lateAnswers } from './late-answers.ts'
import type { Outbox } from './outbox.ts'
import { operatorReplyAllowed, replyAllowed } from './reply-address.ts'
import { parseRequest } from './request-parse.ts'

export const QUEUE = 'headgate'
/** Well inside the contract's 500 ms, and long after the owner's answer. */
const UNKNOWN_AFTER_MS: Millis = 250
const UNKNOWN_WAITING_MAX = 10_000

export interface IntakeOptions {
  bus: Bus
  subjects: Subjects
  scheduler: Scheduler
  operator: Operator
  outbox: Outbox
  clock: Clock
  makeId: () => string
  /** This instance, as `$SRV` names it. */
  instance: string
  /** Read for each message, so that a changed configuration counts at once. */
  limits: () => {
    requestBytes: number
    replyPrefixes: readonly string[]
    auxInflightMax: number
  }
  aux: AuxCall
  /** False when the jobs room answers `fetch`. */
  fetch?: boolean
  /** Hears what an admin operation threw that was no OperatorError: a bug. */
  onError?: (error: unknown) => void
}

/** One subject that is served, with the counts of `$SRV.STATS`. */
export interface Endpoint {
  name: string
  subject: string
  queue: string | null
  requests: number
  errors: number
  lastError: string
  processingMs: Millis
}

export interface Intake {
  readonly endpoints: readonly Endpoint[]
  /** No further request is taken; cancel, status and the rest still are. */
  drainRequests(): Promise<void>
  /** Nothing is taken any more. */
  close(): Promise<void>
}

export function intake(options: IntakeOptions): Intake {
  const { bus, subjects, scheduler, outbox, clock, limits } = options
  const subjectPrefix = subjects.root.slice(0, subjects.root.indexOf('.'))
  const late = lateAnswers({ clock, delayMs: UNKNOWN_AFTER_MS, waitingMax: UNKNOWN_WAITING_MAX })
  const bytesMax = () => Math.min(limits().requestBytes, bus.maxPayload)
  const endpoints: Endpoint[] = []
  const subscriptions: Subscription[] = []

  const serve = (
    name: string,
    subject: string,
    queue: string | null,
    handle: (message: BusMessage, endpoint: Endpoint) => void,
  ): Subscription => {
    const endpoint = {
      name,
      subject,
      queue,
      requests: 0,
      errors: 0,
      lastError: '',
      processingMs: 0,
    }
    endpoints.push(endpoint)
    const listener = (message: BusMessage) => {
      const startedAt = clock.now()
      endpoint.requests += 1
      handle(message, endpoint)
      endpoint.processingMs += clock.now() - startedAt
    }
    const subscription = bus.subscribe(subject, listener, queue === null ? {} : { queue })
    subscriptions.push(subscription)
    return subscription
  }
  const failed = (endpoint: Endpoint, why: string) => {
    endpoint.errors += 1
    endpoint.lastError = why
  }

  /** The address to answer to; null when there is none, or none that we may use. */
  const addressOf = (message: BusMessage, whose: { tenant: string; lane: string }) => {
    const { reply } = message
    if (reply === undefined) return { to: null, reason: 'no_reply' } as const
    const { replyPrefixes: prefixes } = limits()
    const may = replyAllowed({ reply, tenant: whose.tenant, prefixes, subjectPrefix })
    return may
      ? ({ to: reply, reason: null } as const)
      : ({ to: null, reason: 'reply_not_allowed' } as const)
  }

  const requests = serve('request', subjects.every.request, QUEUE, (message, endpoint) => {
    const names = twoTokens(subjects, message.subject)
    const whose =
      names === null ? shapedTokens(message.subject) : { tenant: names.tenant, lane: names.last }
    const { to, reason } = addressOf(message, { ...whose, tenant: names?.tenant ?? '' })
    if (to === null) {
      failed(endpoint, reason)
      return scheduler.dropped({ ...whose, reason })
    }
    if (names === null) {
      failed(endpoint, 'bad_subject')
      outbox.error({ to, id: options.makeId(), refusal: badSubject('lane') })
      return scheduler.dropped({ ...whose, reason: 'bad_subject' })
    }
    const parsed = parseRequest({ message, makeId: options.makeId, bytesMax: bytesMax() })
    const { tenant } = whose
    const reply = outbox.reply({ tenant, id: parsed.id, to, stream: parsed.stream })
    if (parsed.ok) {
      const { ok: _, ...request } = parsed
      return scheduler.request({ ...whose, ...request, reply })
    }
    const { id, model, refusal } = parsed
    failed(endpoint, refusal.code)
    scheduler.malformed({ ...whose, id, model, refusal, reply })
  })

  /** A question about one id. `ask` answers null when this instance does not know it. */
  const query = (
    name: 'cancel' | 'status' | 'fetch',
    ask: (tenant: string, id: string) => unknown,
    unknown: (to: string, id: string) => void,
  ) =>
    serve(name, subjects.every[name], null, (message, endpoint) => {
      const names = twoTokens(subjects, message.subject)
      const { to, reason } = addressOf(message, { tenant: names?.tenant ?? '', lane: '-' })
      if (reason === 'reply_not_allowed') {
        failed(endpoint, reason)
        return scheduler.dropped({ tenant: names?.tenant ?? '-', lane: '-', reason })
      }
      if (names === null) {
        failed(endpoint, 'bad_subject')
        if (to !== null) outbox.error({ to, id: '-', refusal: badSubject('id') })
        return
      }
      const { tenant, last: id } = names
      const answer = ask(tenant, id)
      if (to === null) return
      if (answer !== null) outbox.json(to, answer)
      else late.join(() => unknown(to, id))
    })

  const unknownId = (to: string, id: string) => {
    const message = 'no live instance and no store knows this id'
    outbox.error({ to, id, refusal: refusal('unknown_id', message) })
  }
  query(
    'cancel',
    (tenant, id) => scheduler.cancel(tenant, id),
    (to) => outbox.json(to, { cancelled: false, reason: 'unknown_id' }),
  )
  query('status', (tenant, id) => scheduler.status(tenant, id), unknownId)
  if (options.fetch !== false) query('fetch', () => null, unknownId)

  const aux = auxDesk({ call: options.aux, bus, outbox, clock, limits, bytesMax })
  const serveAux = (kind: AuxKind) =>
    serve(kind, subjects.every.aux(kind), QUEUE, (message, endpoint) => {
      const tenant = oneToken(subjects, message.subject)
      const { to, reason } = addressOf(message, { tenant: tenant ?? '', lane: '-' })
      if (to === null) {
        failed(endpoint, reason)
        return scheduler.dropped({ tenant: tenant ?? '-', lane: '-', reason })
      }
      if (tenant === null) {
        failed(endpoint, 'bad_subject')
        return outbox.error({ to, id: '-', refusal: badSubject('tenant') })
      }
      aux({ kind, tenant, to, message, failed: (why) => failed(endpoint, why) })
    })
  for (const kind of AUX_KINDS) serveAux(kind)

  const admin = adminDesk({
    operator: options.operator,
    outbox,
    instance: options.instance,
    onError: options.onError ?? (() => {}),
  })
  serve('admin', subjects.every.admin, null, (message, endpoint) => {
    const { reply } = message
    const { replyPrefixes: prefixes } = limits()
    const may = reply === undefined || operatorReplyAllowed({ reply, prefixes, subjectPrefix })
    if (!may) {
      failed(endpoint, 'reply_not_allowed')
      return scheduler.dropped({ tenant: '-', lane: '-', reason: 'reply_not_allowed' })
    }
    const op = message.subject.slice(subjects.root.length + '.admin.'.length)
    admin({ op, to: reply ?? null, body: message.data, failed: (why) => failed(endpoint, why) })
  })

  return {
    endpoints,
    drainRequests: () => requests.drain(),
    async close() {
      await Promise.all(subscriptions.map((subscription) => subscription.drain()))
      late.flush()
    },
  }
}

const badSubject = (last: 'lane' | 'id' | 'tenant') => {
  const names = last === 'tenant' ? '<tenant>' : `<tenant>.<${last}>`
  return refusal('invalid_request', `subject: expected a last part ${names}, each ${TOKEN_SHAPE}`)
}

/** Tenant and lane of a subject that does not fit, made fit for a label. */
function shapedTokens(subject: string): { tenant: string; lane: string } {
  const [tenant = '', lane = ''] = subject.split('.').slice(-2)
  const shape = (text: string) =>
    TOKEN.test(text) ? text : text.replace(/[^A-Za-z0-9_-]/g, '_').slice(0, 64) || '_'
  return { tenant: shape(tenant), lane: shape(lane) }
}
