/** `POST /api/admin/<op>`: the admin subjects of the contract, for an operator with the token. */
import type { FastifyInstance, FastifyReply } from 'fastify'
import { readAdmin } from '#contracts/admin'
import { faultAsk, faultProblem, type FaultAsk } from '#contracts/dashboard'
import { plainWords } from '#contracts/plain-words'
import { ADMIN_OPS } from '#contracts/subjects'
import { obey, OperatorError, type Operator } from '#ports'
import { originGuard, tokenGuard, type Denial } from '#platform/http/guard'

/** As large as a configuration may be. */
export const ADMIN_BODY_BYTES_MAX = 1_000_000

export function admin(
  app: FastifyInstance,
  of: {
    operator: Operator
    token: string | null
    /** Absent: no simulated provider is in use. */
    fault?: ((ask: FaultAsk) => Promise<unknown>) | undefined
  },
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
    scope.post('/api/admin/fault', async (request, reply) => {
      if (of.fault === undefined) {
        const message = 'faults are for the simulated provider, and none is in use'
        return deny(reply, { status: 404, type: 'not_found_error', message })
      }
      const read = faultAsk.safeParse(jsonOf(request.body), { error: plainWords })
      if (!read.success) return deny(reply, invalid(faultProblem(read.error)))
      try {
        return reply.send(await of.fault(read.data))
      } catch (error) {
        if (!(error instanceof OperatorError)) throw error
        return deny(reply, { status: 502, type: 'api_error', message: error.message })
      }
    })
    scope.post<{ Params: { op: string } }>('/api/admin/:op', async (request, reply) => {
      const op = ADMIN_OPS.find((one) => one === request.params.op)
      if (op === undefined) {
        const message = `no such operation; there are ${ADMIN_OPS.join(', ')}`
        return deny(reply, { status: 404, type: 'not_found_error', message })
      }
      const read = readAdmin(op, typeof request.body === 'string' ? request.body : '')
      if ('problem' in read) return deny(reply, invalid(read.problem))
      try {
        const answer = await obey(of.operator, read.ask, `HTTP, ${request.ip}`)
        if (answer != null) return reply.send(answer)
        if (op === 'cancel') return reply.send({ cancelled: false, reason: 'unknown_id' })
        return deny(reply, {
          status: 404,
          type: 'not_found_error',
          message: 'this instance does not know the id',
        })
      } catch (error) {
        if (!(error instanceof OperatorError)) throw error
        return deny(reply, invalid(error.message))
      }
    })
  })
}

/** Undefined: none. */
function jsonOf(body: unknown): unknown {
  try {
    return JSON.parse(typeof body === 'string' ? body : '')
  } catch {
    return undefined
  }
}

const invalid = (message: string): Denial => ({
  status: 400,
  type: 'invalid_request_error',
  message,
})

export function deny(reply: FastifyReply, { status, type, message }: Denial): FastifyReply {
  if (status === 401) reply.header('www-authenticate', 'Bearer')
  return reply.code(status).send({ type: 'error', error: { type, message } })
}
