/** `/metrics`, for Prometheus. */
import type { FastifyInstance } from 'fastify'

export interface MetricsSource {
  page(): Promise<{ contentType: string; body: string }>
}

export function metricsPage(app: FastifyInstance, metrics: MetricsSource): void {
  app.get('/metrics', async (_request, reply) => {
    const { contentType, body } = await metrics.page()
    return reply.type(contentType).send(body)
  })
}
