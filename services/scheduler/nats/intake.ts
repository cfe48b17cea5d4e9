/** Listens to the contract's subjects and hands each message over parsed, once, at the border.
 *
 *  Requests go to one instance (queue group). Cancel, status and fetch go to all, since only one holds the
 *  id: it answers at once, the others only after a while that no, they do not know it. */
import { BATCH_OPS, type BatchOp } from '#contracts/batches'
import { TOKEN, TOKEN_SHAPE } from '#contracts/ids'
import { LONGEST_MS } from '#contracts/jobs'
import {
  HEADER,
  ONLY_HOLDER,
  refusal,
  type CancelAnswer,
  type Refusal,
  type StatusAnswer,
} from '#contracts/messages'
import { AUX_KINDS, oneToken, SHARED_OPS, twoTokens, type Subjects } from '#contracts/subjects'
import { JobStoreError } from '#ports'
import type {
  Batches,
  Jobs,
  Reply,
  Bus,
  BusHeaders,
  BusMessage,
  Clock,
  Millis,
  Operator,
  Scheduler,
  Subscription,
} from '#ports'
import { adminDesk } from './admin-desk.ts'
import type { AuxCalls } from './aux-calls.ts'
import { auxDesk } from './aux-desk.ts'
import { lateAnswers, type LateAnswers } from './late-answers.ts'
import type { Outbox } from './outbox.ts'
import { STORED_OVERHEAD_BYTES } from './job-store.ts'
import { operatorReplyAllowed, replyAllowed } from './reply-address.ts'
import type { ScanLimits } from './body-scan.ts'
import { parseRequest, readHeaders } from './request-parse.ts'

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
    scan?: ScanLimits
    /** Whether bodies are looked at for prefixes; absent: no. */
    prefixes?: boolean
    replyPrefixes: readonly string[]
  }
  /** Shared by all doors of an instance. */
  aux: AuxCalls
  /** Durable jobs; null or absent: nobody listens to `submit`. */
  jobs?: Jobs | null
  /** Batches of them; null or absent: who asks is told that there are none. */
  batches?: Batches | null
  /** Hears what a message or an operator's act threw: a fault of ours, and no reason to stop. */
  onError?: (error: unknown) => void
  /** Runs the handling of each message; absent: as it is. */
  run?: (handle: () => void) => void
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
  /** No further request is taken, nor a call outside lanes; cancel, status and the rest still are. */
  drainRequests(): Promise<void>
  /** Nothing is taken any more. */
  close(): Promise<void>
}

export function intake(options: IntakeOptions): Intake {
  const endpoints: Endpoint[] = []
  const subscriptions: Subscription[] = []
  const { bus, clock } = options
  const serve: Desk['serve'] = ({ name, subject, queue }, handle) => {
    const counts = { requests: 0, errors: 0, lastError: '', processingMs: 0 }
    const endpoint: Endpoint = { name, subject, queue, ...counts }
    const listener = listenerOf({ desk, endpoint, options }, handle)
    const subscription = bus.subscribe(subject, listener, queue === null ? {} : { queue })
    endpoints.push(endpoint)
    subscriptions.push(subscription)
    return subscription
  }
  const late = lateAnswers({
    clock,
    delayMs: UNKNOWN_AFTER_MS,
    waitingMax: UNKNOWN_WAITING_MAX,
    onError: options.onError,
  })
  const desk = deskOf(options, { serve, late })
  const requests = serveRequests(desk)
  const submits = options.jobs == null ? [] : [serveSubmit(desk, options.jobs)]
  serveQueries(desk)
  serveBatches(desk)
  const outside = serveAux(desk)
  serveAdmin(desk)

  return {
    endpoints,
    async drainRequests() {
      await Promise.all(
        [requests, ...submits, ...outside].map((subscription) => subscription.drain()),
      )
    },
    async close() {
      await Promise.all(subscriptions.map((subscription) => subscription.drain()))
      late.flush()
    },
  }
}

function deskOf(options: IntakeOptions, of: Pick<Desk, 'serve' | 'late'>): Desk {
  const { bus, limits } = options
  const root = options.subjects.root
  const desk: Desk = {
    ...options,
    ...of,
    subjectPrefix: root.slice(0, root.indexOf('.')),
    bytesMax: () => Math.min(limits().requestBytes, bus.maxPayload),
    bytesBy: () =>
      bus.maxPayload < limits().requestBytes
        ? "the NATS server's max_payload"
        : 'limits.request_bytes',
    fault(message, error) {
      options.onError?.(error)
      answerFault(desk, message)
    },
  }
  return desk
}

/** Hands a message over, and counts it with how it ended and how long it took. */
function listenerOf(
  of: { desk: Desk; endpoint: Endpoint; options: IntakeOptions },
  handle: Parameters<Desk['serve']>[1],
): (message: BusMessage) => void {
  const { desk, endpoint, options } = of
  const { clock, run } = options
  const failed = (why: string) => {
    endpoint.errors += 1
    endpoint.lastError = why
  }
  return (message) => {
    const startedAt = clock.now()
    endpoint.requests += 1
    const took = (): void => void (endpoint.processingMs += clock.now() - startedAt)
    let open = false
    const later = () => {
      open = true
      return (why: string | null): void => {
        took()
        if (why !== null) failed(why)
      }
    }
    try {
      if (run === undefined) handle(message, failed, later)
      else run(() => handle(message, failed, later))
    } catch (error) {
      // What one message brings about is that message's: its sender hears of it, and nobody else does.
      failed('fault')
      desk.fault(message, error)
    }
    if (!open) took()
  }
}

/** Its answer comes later: what is given hears of it, with why it is an error, or null. */
type Later = () => (why: string | null) => void

/** The same reply, whose one outcome is counted. */
const counted = (reply: Reply, told: (why: string | null) => void): Reply => ({
  event: (data) => reply.event(data),
  ping: () => reply.ping(),
  answer(body, accounting) {
    reply.answer(body, accounting)
    told(null)
  },
  end(accounting) {
    reply.end(accounting)
    told(null)
  },
  refuse(refused, accounting, upstreamBody) {
    reply.refuse(refused, accounting, upstreamBody)
    told(refused.code)
  },
})

/** What the four kinds of subject have in common. */
interface Desk extends IntakeOptions {
  serve(
    at: { name: string; subject: string; queue: string | null },
    handle: (message: BusMessage, failed: (why: string) => void, later: Later) => void,
  ): Subscription
  late: LateAnswers
  /** First token of every subject. */
  subjectPrefix: string
  bytesMax: () => number
  /** Whose bound that is. */
  bytesBy: () => string
  /** What handling a message brought about later: its sender hears of it, and nobody else does. */
  fault: (message: BusMessage, error: unknown) => void
}

function serveRequests(desk: Desk): Subscription {
  const { subjects, scheduler, outbox, makeId } = desk
  const at = { name: 'request', subject: subjects.every.request, queue: QUEUE }
  return desk.serve(at, (message, failed, later) => {
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
    const parsed = parseRequest({
      message,
      makeId,
      bytesMax: desk.bytesMax(),
      bytesBy: desk.bytesBy(),
      scan: desk.limits().scan,
      prefixes: desk.limits().prefixes,
    })
    const { tenant } = whose
    const sent = outbox.reply({ tenant, id: parsed.id, to, stream: parsed.stream })
    const reply = counted(sent, later())
    if (parsed.ok) {
      const { ok: _, job: __, ...request } = parsed
      return scheduler.request({ ...whose, ...request, reply })
    }
    const { id, model, refusal } = parsed
    scheduler.malformed({ ...whose, id, model, refusal, reply })
  })
}

/** A job is answered with its receipt, when it is stored. */
function serveSubmit(desk: Desk, jobs: Jobs): Subscription {
  const { subjects, scheduler, outbox, makeId } = desk
  const at = { name: 'submit', subject: subjects.every.submit, queue: QUEUE }
  return desk.serve(at, (message, failed, later) => {
    const names = twoTokens(subjects, message.subject)
    const { to, reason } = addressOf(desk, message, names?.tenant)
    if (reason === 'reply_not_allowed' || names === null) {
      failed(reason ?? 'bad_subject')
      if (to !== null) outbox.error({ to, id: makeId(), refusal: badSubject('lane') })
      const whose = names ?? shapedTokens(message.subject)
      return scheduler.dropped({
        tenant: whose.tenant,
        lane: 'lane' in whose ? whose.lane : whose.last,
        reason: reason ?? 'bad_subject',
      })
    }
    const { tenant, last: lane } = names
    const parsed = parseRequest({
      ...{ message, makeId, scan: desk.limits().scan, as: 'job' },
      bytesMax: Math.min(desk.bytesMax(), desk.bus.maxPayload - STORED_OVERHEAD_BYTES),
      bytesBy: desk.bytesBy(),
    })
    const told = later()
    const no = (refused: Refusal): void => {
      told(refused.code)
      if (to !== null) outbox.error({ to, id: parsed.id, refusal: refused })
    }
    if (!parsed.ok) return no(parsed.refusal)
    const { ok: _, job, ...request } = parsed
    const done = jobs.submit({ ...request, ...job, tenant, lane }).then((said) => {
      if ('refused' in said) return no(said.refused)
      told(null)
      if (to !== null) outbox.json(to, said.receipt)
    })
    done.catch((error: unknown) => desk.fault(message, error))
  })
}

/** Cancel, status and fetch: questions about one id, which one instance holds, or the store of jobs. */
function serveQueries(desk: Desk): void {
  const { scheduler, outbox, jobs = null } = desk
  // Who hears all answers knows who is there.
  const headers: BusHeaders = [[HEADER.instance, desk.instance]]
  const unknownId = (to: string, id: string) => {
    const message = 'no live instance and no store knows this id'
    outbox.error({ to, id, refusal: refusal('unknown_id', message), headers })
  }
  serveQuery(desk, 'cancel', {
    ask: (tenant, id) => desk.aux.cancel(tenant, id) ?? scheduler.cancel(tenant, id),
    stored: jobs === null ? null : (tenant, id) => jobs.cancel(tenant, id),
    unknown: (to) => outbox.json(to, { cancelled: false, reason: 'unknown_id' }),
  })
  serveQuery(desk, 'status', {
    ask(tenant, id, brief) {
      const found = scheduler.status(tenant, id, brief)
      return found === null ? null : { ...found, instance: desk.instance }
    },
    headers,
    stored: jobs === null ? null : (tenant, id) => jobs.status(tenant, id),
    unknown: unknownId,
  })
  serveFetch(desk, unknownId)
}

/** Any instance can look into the store. */
function serveFetch(desk: Desk, unknown: (to: string, id: string) => void): void {
  const { outbox, bus, jobs = null } = desk
  serveOfId(desk, { name: 'fetch', queue: QUEUE }, ({ message, tenant, id, to, failed }) => {
    if (to === null) return
    if (jobs === null) return desk.late.join(() => unknown(to, id))
    const asked = message.header(HEADER.waitMs) ?? '0'
    const waitMs = /^[0-9]{1,9}$/.test(asked) ? Number(asked) : NaN
    if (!(waitMs <= LONGEST_MS)) {
      failed('invalid_request')
      const expected = `${HEADER.waitMs}: expected an integer from 0 to ${LONGEST_MS}`
      return outbox.error({ to, id, refusal: refusal('invalid_request', expected) })
    }
    const pending = (why: string): void =>
      outbox.error({ to, id, refusal: refusal('pending', why) })
    const done = jobs.fetch(tenant, id, waitMs).then((found) => {
      if (found === null) unknown(to, id)
      else if (found === 'pending') pending('the job is not settled yet')
      else bus.publish(to, found.body, { headers: found.headers })
    })
    done.catch((error: unknown) => {
      // Whether it is settled nobody can say just now; the same question may be answered later.
      if (error instanceof JobStoreError) return pending('the store of jobs does not answer')
      desk.fault(message, error)
    })
  })
}

function serveQuery(
  desk: Desk,
  name: 'cancel' | 'status',
  how: {
    /** Null: this instance does not know the id. `brief`: only whether it has it. */
    ask: (tenant: string, id: string, brief: boolean) => CancelAnswer | StatusAnswer | null
    /** Of the answer. */
    headers?: BusHeaders
    /** What the store of jobs says; null: it does not know the id; `elsewhere`: another instance answers. */
    stored: ((tenant: string, id: string) => Promise<unknown>) | null
    unknown: (to: string, id: string) => void
  },
): void {
  const { outbox } = desk
  serveOfId(desk, { name, queue: null }, ({ message, tenant, id, to }) => {
    const brief = name === 'status' && message.header(HEADER.only) === ONLY_HOLDER
    const answer = how.ask(tenant, id, brief)
    const say = (said: unknown): void => {
      if (to !== null) outbox.json(to, said, how.headers)
    }
    const unknown = (): void => {
      if (answer !== null) say(answer)
      else if (to !== null) desk.late.join(() => how.unknown(to, id))
    }
    // Over here, a job may have gone back to the store, or into a batch of the provider's.
    if (answer !== null && !isOver(answer)) return say(answer)
    if (brief || how.stored === null) return unknown()
    const done = how.stored(tenant, id).then((stored) => {
      if (stored === null) unknown()
      else if (stored !== 'elsewhere') say(stored)
    })
    done.catch((error: unknown) => desk.fault(message, error))
  })
}

const isOver = (answer: CancelAnswer | StatusAnswer): boolean =>
  'cancelled' in answer
    ? !answer.cancelled && answer.reason === 'already_settled'
    : answer.state === 'settled'

/** A question about one id of one tenant; `to` is null where nobody waits for an answer. */
function serveOfId(
  desk: Desk,
  of: { name: 'cancel' | 'status' | 'fetch'; queue: string | null },
  handle: (asked: {
    message: BusMessage
    tenant: string
    id: string
    to: string | null
    failed: (why: string) => void
  }) => void,
): void {
  const { subjects, scheduler, outbox } = desk
  desk.serve({ ...of, subject: subjects.every[of.name] }, (message, failed) => {
    const names = twoTokens(subjects, message.subject)
    const { to, reason } = addressOf(desk, message, names?.tenant)
    if (reason === 'reply_not_allowed') {
      failed(reason)
      return scheduler.dropped({ tenant: names?.tenant ?? '-', lane: '-', reason })
    }
    if (names === null) {
      failed('bad_subject')
      if (to !== null) outbox.error({ to, id: desk.makeId(), refusal: badSubject('id') })
      return
    }
    handle({ message, tenant: names.tenant, id: names.last, to, failed })
  })
}

function serveAux(desk: Desk): Subscription[] {
  const { subjects, scheduler, outbox } = desk
  const ask = auxDesk({ ...desk, calls: desk.aux })
  return AUX_KINDS.map((kind) => {
    const at = { name: kind, subject: subjects.every.aux(kind), queue: QUEUE }
    return desk.serve(at, (message, failed) => {
      const tenant = oneToken(subjects, message.subject)
      const { to, reason } = addressOf(desk, message, tenant)
      if (to === null) {
        failed(reason)
        return scheduler.dropped({ tenant: tenant ?? '-', lane: '-', reason })
      }
      if (tenant !== null) return ask({ kind, tenant, to, message, failed })
      failed('bad_subject')
      outbox.error({ to, id: desk.makeId(), refusal: badSubject('tenant') })
    })
  })
}

/** What HTTP doors ask about batches. */
function serveBatches(desk: Desk): void {
  const { subjects, scheduler, outbox, bus, batches = null } = desk
  const at = { name: 'batch', subject: subjects.every.batch, queue: QUEUE }
  desk.serve(at, (message, failed, later) => {
    const names = twoTokens(subjects, message.subject)
    const { to, reason } = addressOf(desk, message, names?.tenant)
    const tenant = names?.tenant ?? '-'
    if (to === null) {
      failed(reason)
      return scheduler.dropped({ tenant, lane: '-', reason })
    }
    const op = BATCH_OPS.find((one) => one === names?.last)
    const said = readHeaders(message)
    const refused = batchRefusal({ op, batches, wrong: said.wrong })
    const told = later()
    const no = (why: Refusal): void => {
      told(why.code)
      outbox.error({ to, id: desk.makeId(), refusal: why })
    }
    if (refused !== null || batches === null || op === undefined) return no(refused ?? NO_BATCHES)
    const { data } = message
    const done = batches.ask(op, { tenant, data, said: batchSaid(said) }).then((answer) => {
      if ('refused' in answer) return no(answer.refused)
      told(null)
      if ('json' in answer) outbox.json(to, answer.json)
      else bus.publish(to, answer.bytes)
    })
    done.catch((error: unknown) => desk.fault(message, error))
  })
}

const batchSaid = (of: ReturnType<typeof readHeaders>) => {
  const { version, beta } = of.upstream
  return {
    ...{ deadlineMs: of.deadlineMs, degrade: of.degrade, maxAttempts: of.maxAttempts },
    headers: {
      ...(version === undefined ? {} : { version }),
      ...(beta === undefined ? {} : { beta }),
    },
  }
}

function batchRefusal(of: {
  op: BatchOp | undefined
  batches: Batches | null
  wrong: string | null
}): Refusal | null {
  if (of.op === undefined)
    return refusal('invalid_request', `subject: expected one of ${BATCH_OPS.join(', ')} at its end`)
  if (of.batches === null) return NO_BATCHES
  return of.wrong === null ? null : refusal('invalid_request', of.wrong)
}

const NO_BATCHES: Refusal = {
  ...refusal(
    'invalid_request',
    'no message batches here: they need durable jobs, which need a NATS server with JetStream and jobs.enabled',
  ),
  ...{ status: 501, type: 'api_error' },
}

function serveAdmin(desk: Desk): void {
  const { subjects, scheduler, subjectPrefix } = desk
  const perform = adminDesk({ ...desk, onError: desk.onError ?? (() => {}) })
  const handle = (message: BusMessage, failed: (why: string) => void): void => {
    const { reply } = message
    const { replyPrefixes: prefixes } = desk.limits()
    if (reply !== undefined && !operatorReplyAllowed({ reply, prefixes, subjectPrefix })) {
      failed('reply_not_allowed')
      return scheduler.dropped({ tenant: '-', lane: '-', reason: 'reply_not_allowed' })
    }
    const op = message.subject.slice(subjects.root.length + '.admin.'.length)
    perform({ op, to: reply ?? null, body: message.data, failed })
  }
  const shared = new Set(SHARED_OPS.map((op) => subjects.admin(op)))
  desk.serve({ name: 'admin', subject: subjects.every.admin, queue: null }, (message, failed) => {
    if (!shared.has(message.subject)) handle(message, failed)
  })
  // What is stored is everybody's: one instance looks, and one acts.
  for (const op of SHARED_OPS)
    desk.serve({ name: `admin_${op}`, subject: subjects.admin(op), queue: QUEUE }, handle)
}

/** The last word to a message that something of ours failed on, where it may be answered. */
function answerFault(desk: Desk, message: BusMessage): void {
  const { reply } = message
  const tenant = twoTokens(desk.subjects, message.subject)?.tenant ?? null
  const { to } = addressOf(desk, message, tenant)
  if (reply === undefined || to === null) return
  const said = refusal('invalid_request', 'Headgate failed on this message; its log says more')
  desk.outbox.error({ to, id: desk.makeId(), refusal: { ...said, status: 500, type: 'api_error' } })
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
