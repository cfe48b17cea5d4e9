/** What HTTP doors ask about batches. */
import { BATCH_OPS, type BatchOp } from '#contracts/batches'
import { type Refusal, refusal } from '#contracts/messages'
import { twoTokens } from '#contracts/subjects'
import type { Batches } from '#ports'
import { type Desk, QUEUE, addressOf } from './intake-desk.ts'
import { readHeaders } from './request-parse.ts'

/** What HTTP doors ask about batches. */
export function serveBatches(desk: Desk): void {
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
