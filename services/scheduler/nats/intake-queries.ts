/** Questions about one id, and calls outside lanes. */
import { LONGEST_MS } from '#contracts/jobs'
import {
  type CancelAnswer,
  HEADER,
  ONLY_HOLDER,
  type StatusAnswer,
  refusal,
} from '#contracts/messages'
import { AUX_KINDS, oneToken, twoTokens } from '#contracts/subjects'
import { type BusHeaders, type BusMessage, JobStoreError, type Subscription } from '#ports'
import { auxDesk } from './aux-desk.ts'
import { type Desk, QUEUE, addressOf, badSubject } from './intake-desk.ts'

/** Cancel, status and fetch: questions about one id, which one instance holds, or the store of jobs. */
export function serveQueries(desk: Desk): void {
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

export function serveAux(desk: Desk): Subscription[] {
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
