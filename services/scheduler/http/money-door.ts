/** `GET /api/usage` and `GET /api/budgets`: what was used and what it costs, and how far budgets are used, for whoever
 *  reads the operator's port. */
import type { FastifyInstance, FastifyReply } from 'fastify'
import { readBudgetsQuery } from '#contracts/budget-ask'
import { readUsageAsk, usageQuery } from '#contracts/usage-report'
import { OperatorError, type Operator } from '#ports'
import { deny } from './admin.ts'

export function moneyDoor(
  app: FastifyInstance,
  operator: Pick<Operator, 'usage' | 'budgets'>,
): void {
  app.get('/api/usage', async ({ query }, reply) => {
    const ask = readUsageAsk(usageQuery(query as Record<string, unknown>))
    return typeof ask === 'string' ? wrong(reply, ask) : answered(reply, operator.usage(ask))
  })
  app.get('/api/budgets', async ({ query }, reply) => {
    const ask = readBudgetsQuery(query)
    return typeof ask === 'string' ? wrong(reply, ask) : answered(reply, operator.budgets(ask))
  })
}

const wrong = (reply: FastifyReply, message: string): FastifyReply =>
  deny(reply, { status: 400, type: 'invalid_request_error', message })

/** The store that it stands in may be away. */
async function answered(reply: FastifyReply, asked: Promise<object>): Promise<FastifyReply> {
  try {
    return reply.send(await asked)
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error
    return deny(reply, { status: 503, type: 'api_error', message: error.message })
  }
}
