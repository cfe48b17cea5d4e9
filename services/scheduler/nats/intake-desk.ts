/** What all that listen to the contract's subjects have in common. */
import { TOKEN, TOKEN_SHAPE } from '#contracts/ids'
import { refusal } from '#contracts/messages'
import type { Subjects } from '#contracts/subjects'
import type {
  Batches,
  Bus,
  BusMessage,
  Clock,
  Jobs,
  Millis,
  Operator,
  Reply,
  Scheduler,
  Subscription,
} from '#ports'
import type { AuxCalls } from './aux-calls.ts'
import type { ScanLimits } from './body-scan.ts'
import type { LateAnswers } from './late-answers.ts'
import type { Outbox } from './outbox.ts'
import { replyAllowed } from './reply-address.ts'

export const QUEUE = 'headgate'
/** Well inside the contract's 500 ms, and long after the owner's answer. */
export const UNKNOWN_AFTER_MS: Millis = 250
export const UNKNOWN_WAITING_MAX = 10_000

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

/** Its answer comes later: what is given hears of it, with why it is an error, or null. */
type Later = () => (why: string | null) => void

/** The same reply, whose one outcome is counted. */
export const counted = (reply: Reply, told: (why: string | null) => void): Reply => ({
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
export interface Desk extends IntakeOptions {
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

/** The address to answer to; null when there is none, or none that we may use. */
export function addressOf(
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

export const badSubject = (last: 'lane' | 'id' | 'tenant') => {
  const names = last === 'tenant' ? '<tenant>' : `<tenant>.<${last}>`
  return refusal('invalid_request', `subject: expected a last part ${names}, each ${TOKEN_SHAPE}`)
}

/** Tenant and lane of a subject that does not fit, made fit for a label. */
export function shapedTokens(subject: string): { tenant: string; lane: string } {
  const [tenant = '', lane = ''] = subject.split('.').slice(-2)
  const shape = (text: string) =>
    TOKEN.test(text) ? text : text.replace(/[^A-Za-z0-9_-]/g, '_').slice(0, 64) || '_'
  return { tenant: shape(tenant), lane: shape(lane) }
}
