/** `/healthz`: the process is up. `/readyz`: it takes requests by one door at least; `/readyz?door=nats`: by that
 *  one. If not, why not. */
import type { FastifyInstance } from 'fastify'
import { readyzAnswer, type Doors } from '#contracts/readiness'

/** What keeps each door from taking requests. */
export type Ready = () => Doors

export function health(app: FastifyInstance, ready: Ready): void {
  app.get('/healthz', () => ({ status: 'ok' }))
  app.get<{ Querystring: { door?: unknown } }>('/readyz', (request, reply) => {
    const { status, body } = readyzAnswer(ready(), request.query.door)
    return reply.code(status).send(body)
  })
}
