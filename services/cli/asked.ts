/** What is asked of one request: as its tenant, or as the operator, who may ask of anybody's. */
import type { CancelAnswer, StatusAnswer } from '#contracts/messages'
import { OPERATOR_USER } from '#contracts/permissions'
import { withHeadgate, type DialFlags } from './dialing.ts'
import { env } from './terminal.ts'

interface Answers {
  status: StatusAnswer
  cancel: CancelAnswer
}

export function asked<Op extends keyof Answers>(
  flags: DialFlags,
  op: Op,
  of: { tenant: string; id: string },
): Promise<Answers[Op]> {
  const isOperator = env('NATS_USER') === OPERATOR_USER
  return withHeadgate(
    { ...flags, tenant: isOperator ? OPERATOR_USER : of.tenant },
    (headgate) =>
      (isOperator ? headgate.admin(op, of) : headgate[op](of.id)) as Promise<Answers[Op]>,
  )
}
