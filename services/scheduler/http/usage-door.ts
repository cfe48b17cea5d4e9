/** `GET /api/usage`: what was used and what it costs, for whoever reads the operator's port. */
import type { FastifyInstance } from 'fastify'
import { readUsageAsk, usageQuery } from '#contracts/usage-report'
import { OperatorError, type Operator } from '#ports'
import { deny } from './admin.ts'

export function usageDoor(app: FastifyInstance, operator: Pick<Operator, 'usage'>): void {
  app.get('/api/usage', async (request, reply) => {
    const ask = readUsageAsk(usageQuery(request.query as Record<string, unknown>))
    if (typeof ask === 'string')
      return deny(reply, { status: 400, type: 'invalid_request_error', message: ask })
    try {
      return await operator.usage(ask)
    } catch (error) {
      if (!(error instanceof OperatorError)) throw error
      return deny(reply, { status: 503, type: 'api_error', message: error.message })
    }
  })
}
