/** Listens to the contract's subjects and hands each message over parsed, once, at the border. Nothing here
 *  subscribes to `submit`: durable jobs have a room of their own.
 *
 *  Requests go to one instance (queue group). Cancel, status and fetch go to all, since only one holds the
 *  id: it answers at once, the others only after a while that no, they do not know it. */
import { TOKEN, TOKEN_SHAPE } from '#contracts/ids'
import { refusal } from '#contracts/messages'
import { AUX_KINDS, oneToken, twoTokens, type Subjects } from '#contracts/subjects'
import type { Bus, BusMessage, Clock, Millis, Operator, Scheduler, Subscription } from '#ports'
import { adminDesk } from './admin-desk.ts'
import { auxDesk, type AuxCall } from './aux-desk.ts'
import { lateAnswers, type LateAnswers } from './late-answers.ts'
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
  const endpoints: Endpoint[] = []
  const subscriptions: Subscription[] = []
  const { bus, clock } = options

  const serve: Desk['serve'] = ({ name, subject, queue }, handle) => {
    const endpoint = {
      name,
      subject,
      queue,
      requests: 0,
      errors: 0,
      lastError: '',
      processingMs: 0,
    }
    const failed = (why: string) => {
      endpoint.errors += 1
      endpoint.lastError = why
    }
    const listener = (message: BusMessage) => {
      const startedAt = clock.now()
      endpoint.requests += 1
      handle(message, failed)
      endpoint.processingMs += clock.now() - startedAt
    }
    const subscription = bus.subscribe(subject, listener, queue === null ? {} : { queue })
    endpoints.push(endpoint)
    subscriptions.push(subscription)
    return subscription
  }

  const late = lateAnswers({ clock, delayMs: UNKNOWN_AFTER_MS, waitingMax: UNKNOWN_WAITING_MAX })
  const root = options.subjects.root
  const desk: Desk = {
    ...options,
    serve,
    late,
    subjectPrefix: root.slice(0, root.indexOf('.')),
    bytesMax: () => Math.min(options.limits().requestBytes, bus.maxPayload),
  }
  const requests = serveRequests(desk)
  serveQueries(desk)
  serveAux(desk)
  serveAdmin(desk)

  return {
    endpoints,
    drainRequests: () => requests.drain(),
    async close() {
      await Promise.all(subscriptions.map((subscription) => subscription.drain()))
      late.flush()
    },
  }
}

/** What the four kinds of subject have in common. */
interface Desk extends IntakeOptions {
  serve(
    at: { name: string; subject: string; queue: string | null },
    handle: (message: BusMessage, failed: (why: string) => void) => void,
  ): Subscription
  late: LateAnswers
  /** First token of every subject. */
  subjectPrefix: string
  bytesMax: () => number
}

function serveRequests(desk: Desk): Subscription {
  const { subjects, scheduler, outbox, makeId } = desk
  const at = { name: 'request', subject: subjects.every.request, queue: QUEUE }
  return desk.serve(at, (message, failed) => {
    const names = twoTokens(subjects, message.subject)
    const whose =
      names === null ? shapedTokens(message.subject) : { tenant: names.tenant, lane: names.last }
    const { to, reason } = addressOf(desk, message, names?.tenant)
    if (to === null) {
      failed(reason)
      return scheduler.dropped({ ...whose, reason })
    }
    if (names === null) {
      failed('bad_subject')
      outbox.error({ to, id: makeId(), refusal: badSubject('lane') })
      return scheduler.dropped({ ...whose, reason: 'bad_subject' })
    }
    const parsed = parseRequest({ message, makeId, bytesMax: desk.bytesMax() })
    const { tenant } = whose
    const reply = outbox.reply({ tenant, id: parsed.id, to, stream: parsed.stream })
    if (parsed.ok) {
      const { ok: _, ...request } = parsed
      return scheduler.request({ ...whose, ...request, reply })
    }
    const { id, model, refusal } = parsed
    failed(refusal.code)
    scheduler.malformed({ ...whose, id, model, refusal, reply })
  })
}

/** Cancel, status and fetch: questions about one id, which one instance holds. */
function serveQueries(desk: Desk): void {
  const { scheduler, outbox } = desk
  const unknownId = (to: string, id: string) => {
    const message = 'no live instance and no store knows this id'
    outbox.error({ to, id, refusal: refusal('unknown_id', message) })
  }
  serveQuery(desk, 'cancel', {
    ask: (tenant, id) => scheduler.cancel(tenant, id),
    unknown: (to) => outbox.json(to, { cancelled: false, reason: 'unknown_id' }),
  })
  serveQuery(desk, 'status', {
    ask: (tenant, id) => scheduler.status(tenant, id),
    unknown: unknownId,
  })
  if (desk.fetch !== false) serveQuery(desk, 'fetch', { ask: () => null, unknown: unknownId })
}

function serveQuery(
  desk: Desk,
  name: 'cancel' | 'status' | 'fetch',
  how: {
    /** Null: this instance does not know the id. */
    ask: (tenant: string, id: string) => unknown
    unknown: (to: string, id: string) => void
  },
): void {
  const { subjects, scheduler, outbox } = desk
  desk.serve({ name, subject: subjects.every[name], queue: null }, (message, failed) => {
    const names = twoTokens(subjects, message.subject)
    const { to, reason } = addressOf(desk, message, names?.tenant)
    if (reason === 'reply_not_allowed') {
      failed(reason)
      return scheduler.dropped({ tenant: names?.tenant ?? '-', lane: '-', reason })
    }
    if (names === null) {
      failed('bad_subject')
      if (to !== null) outbox.error({ to, id: '-', refusal: badSubject('id') })
      return
    }
    const { tenant, last: id } = names
    const answer = how.ask(tenant, id)
    if (to === null) return
    if (answer !== null) outbox.json(to, answer)
    else desk.late.join(() => how.unknown(to, id))
  })
}

function serveAux(desk: Desk): void {
  const { subjects, scheduler, outbox } = desk
  const ask = auxDesk({ ...desk, call: desk.aux })
  for (const kind of AUX_KINDS) {
    const at = { name: kind, subject: subjects.every.aux(kind), queue: QUEUE }
    desk.serve(at, (message, failed) => {
      const tenant = oneToken(subjects, message.subject)
      const { to, reason } = addressOf(desk, message, tenant)
      if (to === null) {
        failed(reason)
        return scheduler.dropped({ tenant: tenant ?? '-', lane: '-', reason })
      }
      if (tenant !== null) return ask({ kind, tenant, to, message, failed })
      failed('bad_subject')
      outbox.error({ to, id: '-', refusal: badSubject('tenant') })
    })
  }
}

function serveAdmin(desk: Desk): void {
  const { subjects, scheduler, subjectPrefix } = desk
  const perform = adminDesk({ ...desk, onError: desk.onError ?? (() => {}) })
  const at = { name: 'admin', subject: subjects.every.admin, queue: null }
  desk.serve(at, (message, failed) => {
    const { reply } = message
    const { replyPrefixes: prefixes } = desk.limits()
    if (reply !== undefined && !operatorReplyAllowed({ reply, prefixes, subjectPrefix })) {
      failed('reply_not_allowed')
      return scheduler.dropped({ tenant: '-', lane: '-', reason: 'reply_not_allowed' })
    }
    const op = message.subject.slice(subjects.root.length + '.admin.'.length)
    perform({ op, to: reply ?? null, body: message.data, failed })
  })
}

/** The address to answer to; null when there is none, or none that we may use. */
function addressOf(
  desk: Desk,
  message: BusMessage,
  tenant: string | null | undefined,
): { to: string; reason: null } | { to: null; reason: 'no_reply' | 'reply_not_allowed' } {
  const { reply } = message
  if (reply === undefined) return { to: null, reason: 'no_reply' }
  const { replyPrefixes: prefixes } = desk.limits()
  const { subjectPrefix } = desk
  return replyAllowed({ reply, tenant: tenant ?? '', prefixes, subjectPrefix })
    ? { to: reply, reason: null }
    : { to: null, reason: 'reply_not_allowed' }
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
