/** `/metrics`, for Prometheus. */
import type { FastifyInstance } from 'fastify'

export interface MetricsSource {
  page(): Promise<{ contentType: string; body: string }>
}

export function metricsPage(app: FastifyInstance, metrics: MetricsSource): void {
  /** The page that is being made; who asks meanwhile gets the same. */
  let making: ReturnType<MetricsSource['page']> | null = null
  const made = (): ReturnType<MetricsSource['page']> =>
    (making ??= metrics.page().finally(() => (making = null)))
  app.get('/metrics', async (_request, reply) => {
    const { contentType, body } = await made()
    return reply.type(contentType).send(body)
  })
}
