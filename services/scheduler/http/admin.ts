/** `POST /api/admin/<op>`: the admin subjects of the contract, for an operator with the token. */
import type { FastifyInstance, FastifyReply } from 'fastify'
import { ADMIN_OPS, type AdminOp } from '#contracts/subjects'
import { OperatorError, type Operator } from '#ports'
import { originGuard, tokenGuard, type Denial } from './guard.ts'

/** As large as a configuration may be. */
export const ADMIN_BODY_BYTES_MAX = 1_000_000

export function admin(
  app: FastifyInstance,
  of: { operator: Operator; token: string | null },
): void {
  const checkToken = tokenGuard(of.token)
  void app.register(async (scope) => {
    scope.addHook('onRequest', async (request, reply) => {
      const denial =
        originGuard(request.headers) ?? (await checkToken(request.headers.authorization))
      if (denial !== null) return deny(reply, denial)
    })
    // Any content type: `config` takes YAML, and curl calls whatever it sends a form.
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser(
      '*',
      { parseAs: 'string', bodyLimit: ADMIN_BODY_BYTES_MAX },
      (_request, body, done) => done(null, body),
    )
    scope.post<{ Params: { op: string } }>('/api/admin/:op', async (request, reply) => {
      const op = ADMIN_OPS.find((one) => one === request.params.op)
      if (op === undefined) {
        const message = `no such operation; there are ${ADMIN_OPS.join(', ')}`
        return deny(reply, { status: 404, type: 'not_found_error', message })
      }
      try {
        const text = typeof request.body === 'string' ? request.body : ''
        return reply.send((await perform(of.operator, op, text)) ?? {})
      } catch (error) {
        if (!(error instanceof OperatorError)) throw error
        return deny(reply, { status: 400, type: 'invalid_request_error', message: error.message })
      }
    })
  })
}

function perform(operator: Operator, op: AdminOp, text: string): unknown {
  switch (op) {
    case 'snapshot':
      return operator.snapshot()
    case 'config':
      return operator.config(yamlOf(text))
    case 'emergency': {
      const { on } = fieldsOf(text)
      if (typeof on !== 'boolean') throw new OperatorError('expected {"on": true} or {"on": false}')
      return operator.emergency(on)
    }
    case 'lane': {
      const { lane, paused } = fieldsOf(text)
      if (typeof lane !== 'string' || typeof paused !== 'boolean')
        throw new OperatorError('expected {"lane": "NAME", "paused": true or false}')
      return operator.lane({ lane, paused })
    }
    case 'drain':
      return operator.drain()
  }
}

/** The YAML as it is, or as `{"yaml": "…"}`; null, which asks for what is in force, when none is given. */
function yamlOf(text: string): string | null {
  if (text.trim() === '') return null
  const fields = json(text)
  if (typeof fields !== 'object' || fields === null) return text
  if ('yaml' in fields && typeof fields.yaml === 'string') return fields.yaml
  // `instance` is of the subject's bodies; here it is plain who is asked.
  return Object.keys(fields).every((key) => key === 'instance') ? null : text
}

function fieldsOf(text: string): Record<string, unknown> {
  const fields = json(text)
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields))
    throw new OperatorError('expected a JSON object')
  return { ...fields }
}

function json(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

export function deny(reply: FastifyReply, { status, type, message }: Denial): FastifyReply {
  if (status === 401) reply.header('www-authenticate', 'Bearer')
  return reply.code(status).send({ type: 'error', error: { type, message } })
}
