/** The operator's subjects. Every instance hears every operation, so that an emergency reaches all of them;
 *  `"instance":"<id>"` in the body speaks to one alone. */
import { readAdmin } from '#contracts/admin'
import { TOKEN } from '#contracts/ids'
import { refusal } from '#contracts/messages'
import { ADMIN_OPS, type AdminOp } from '#contracts/subjects'
import { obey, OperatorError, type Operator } from '#ports'
import type { LateAnswers } from './late-answers.ts'
import type { Outbox } from './outbox.ts'

export function adminDesk(of: {
  operator: Operator
  outbox: Outbox
  instance: string
  late: LateAnswers
  makeId: () => string
  onError: (error: unknown) => void
}) {
  const { operator, outbox } = of

  return (asked: {
    op: string
    to: string | null
    body: Uint8Array
    failed: (why: string) => void
  }): void => {
    const { op, to } = asked
    const refuse = (message: string) => {
      asked.failed('invalid_request')
      if (to !== null) {
        outbox.error({ to, id: of.makeId(), refusal: refusal('invalid_request', message) })
      }
    }
    if (!isAdminOp(op)) return refuse(`operation: expected one of ${ADMIN_OPS.join(', ')}`)
    const read = readAdmin(op, Buffer.from(asked.body).toString())
    if ('problem' in read) return refuse(read.problem)
    if (read.instance !== null && read.instance !== of.instance) return

    obey(operator, read.ask, askerOf(to)).then(
      (answer) => {
        if (to === null) return
        if (answer != null) return outbox.json(to, answer)
        // The one that knows it is heard first.
        of.late.join(() => {
          if (op === 'cancel') return outbox.json(to, { cancelled: false, reason: 'unknown_id' })
          const message = 'no live instance and no store knows this id'
          outbox.error({ to, id: of.makeId(), refusal: refusal('unknown_id', message) })
        })
      },
      (error: unknown) => {
        if (error instanceof OperatorError) return refuse(error.message)
        of.onError(error)
        asked.failed('bug')
        if (to === null) return
        const message = 'the operation failed, and that is a bug; the log says more'
        const internal = { ...refusal('invalid_request', message), status: 500, type: 'api_error' }
        outbox.error({ to, id: of.makeId(), refusal: internal })
      },
    )
  }
}

/** NATS tells nobody who published; whose inbox is to hear the answer is the nearest to it. */
function askerOf(to: string | null): string {
  const inbox = to?.slice(0, to.indexOf('.')) ?? ''
  return TOKEN.test(inbox) ? `NATS, ${inbox}` : 'NATS'
}

const isAdminOp = (op: string): op is AdminOp => ADMIN_OPS.some((known) => known === op)
