/** `/healthz`: the process is up. `/readyz`: it should get work; if not, why not. */
import type { FastifyInstance } from 'fastify'

/** What keeps this instance from being ready, one line each; none: it is. */
export type Ready = () => readonly string[]

export function health(app: FastifyInstance, ready: Ready): void {
  app.get('/healthz', () => ({ status: 'ok' }))
  app.get('/readyz', (_request, reply) => {
    const reasons = ready()
    reply.code(reasons.length === 0 ? 200 : 503)
    return { ready: reasons.length === 0, reasons }
  })
}
