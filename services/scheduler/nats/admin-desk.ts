/** The operator's subjects. Every instance hears every operation, so that an emergency reaches all of them;
 *  `"instance":"<id>"` in the body speaks to one alone. */
import { refusal } from '#contracts/messages'
import { ADMIN_OPS, type AdminOp } from '#contracts/subjects'
import { OperatorError, type Operator } from '#ports'
import type { Outbox } from './outbox.ts'

export function adminDesk(of: {
  operator: Operator
  outbox: Outbox
  instance: string
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
        outbox.error({ to, id: '-', refusal: refusal('invalid_request', message) })
      }
    }
    const body = readBody(asked.body)
    if (body === null) return refuse('body: expected a JSON object, or nothing')
    const { instance } = body
    if (instance !== undefined && typeof instance !== 'string') {
      return refuse('instance: expected the id of one instance')
    }
    if (instance !== undefined && instance !== of.instance) return
    if (!isAdminOp(op)) return refuse(`operation: expected one of ${ADMIN_OPS.join(', ')}`)

    perform(operator, op, body).then(
      (answer) => {
        if (to !== null) outbox.json(to, answer ?? null)
      },
      (error: unknown) => {
        if (error instanceof OperatorError) return refuse(error.message)
        of.onError(error)
        asked.failed('bug')
        if (to === null) return
        const message = 'the operation failed, and that is a bug; the log says more'
        const internal = { ...refusal('invalid_request', message), status: 500, type: 'api_error' }
        outbox.error({ to, id: '-', refusal: internal })
      },
    )
  }
}

type Body = Record<string, unknown>

async function perform(operator: Operator, op: AdminOp, body: Body): Promise<unknown> {
  switch (op) {
    case 'snapshot':
      return operator.snapshot()
    case 'config': {
      const { yaml } = body
      if (yaml === undefined) return operator.config(null)
      if (typeof yaml !== 'string') throw new OperatorError('yaml: expected the file as a string')
      return operator.config(yaml)
    }
    case 'emergency': {
      const { on } = body
      if (typeof on !== 'boolean') throw new OperatorError('on: expected true or false')
      return operator.emergency(on)
    }
    case 'lane': {
      const { lane, paused } = body
      if (typeof lane !== 'string') throw new OperatorError('lane: expected the name of a lane')
      if (typeof paused !== 'boolean') throw new OperatorError('paused: expected true or false')
      return operator.lane({ lane, paused })
    }
    case 'drain':
      return operator.drain()
  }
}

const isAdminOp = (op: string): op is AdminOp => ADMIN_OPS.some((known) => known === op)

/** Null: not an object. */
function readBody(data: Uint8Array): Body | null {
  if (data.length === 0) return {}
  try {
    const json: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(data))
    const isObject = typeof json === 'object' && json !== null && !Array.isArray(json)
    return isObject ? (json as Body) : null
  } catch {
    return null
  }
}
