/** Requests and jobs, as they come in. */
import type { Refusal } from '#contracts/messages'
import { twoTokens } from '#contracts/subjects'
import type { Jobs, Subscription } from '#ports'
import { type Desk, QUEUE, addressOf, badSubject, counted, shapedTokens } from './intake-desk.ts'
import { STORED_OVERHEAD_BYTES } from './stored-job.ts'
import { parseRequest } from './request-parse.ts'

export function serveRequests(desk: Desk): Subscription {
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
export function serveSubmit(desk: Desk, jobs: Jobs): Subscription {
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
