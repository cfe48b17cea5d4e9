/** Listens to the contract's subjects and hands each message over parsed, once, at the border.
 *
 *  Requests go to one instance (queue group). Cancel, status and fetch go to all, since only one holds the
 *  id: it answers at once, the others only after a while that no, they do not know it. */
import { refusal } from '#contracts/messages'
import { SHARED_OPS, twoTokens } from '#contracts/subjects'
import type { BusMessage, Subscription } from '#ports'
import { adminDesk } from './admin-desk.ts'
import { serveBatches } from './intake-batches.ts'
import {
  type Desk,
  type Endpoint,
  type IntakeOptions,
  QUEUE,
  UNKNOWN_AFTER_MS,
  UNKNOWN_WAITING_MAX,
  addressOf,
} from './intake-desk.ts'
import { serveAux, serveQueries } from './intake-queries.ts'
import { serveRequests, serveSubmit } from './intake-requests.ts'
import { lateAnswers } from './late-answers.ts'
import { operatorReplyAllowed } from './reply-address.ts'

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
