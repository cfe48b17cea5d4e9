/** Bodies on their way in, together: what one announces counts from its first byte until it is handed over,
 *  and one that announces nothing counts as the largest that may come. No tenant holds more than a share of
 *  it, so that none can keep the others out by announcing what it never sends. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { refusal, type Refusal } from '#contracts/messages'

export function uploads(
  scope: FastifyInstance,
  of: {
    bytesMax: () => number
    tenantOf: (request: FastifyRequest) => string
    /** Of all of it, the most that one tenant may hold, 0 to 1; one body it may always send. */
    tenantShare: () => number
    /** The largest body. */
    eachBytesMax: number
    refuse: (reply: FastifyReply, refused: Refusal) => void
  },
): void {
  const held = new WeakMap<FastifyRequest, number>()
  const byTenant = new Map<string, number>()
  let bytes = 0
  const take = (request: FastifyRequest, announced: number) => {
    const tenant = of.tenantOf(request)
    bytes += announced
    const own = (byTenant.get(tenant) ?? 0) + announced
    if (own === 0) byTenant.delete(tenant)
    else byTenant.set(tenant, own)
  }
  const give = (request: FastifyRequest) => {
    const announced = held.get(request)
    if (announced === undefined) return
    held.delete(request)
    take(request, -announced)
  }
  const isTooMuch = (request: FastifyRequest, announced: number): boolean => {
    const own = byTenant.get(of.tenantOf(request)) ?? 0
    const most = of.bytesMax()
    return (
      (bytes > 0 && bytes + announced > most) ||
      (own > 0 && own + announced > most * of.tenantShare())
    )
  }
  scope.addHook('preParsing', (request, reply, _payload, done) => {
    const announced = announcedBytes(request, of.eachBytesMax)
    if (announced === 0) return done()
    if (isTooMuch(request, announced)) {
      const message = 'the bodies that are being received hold all they may (gateway.upload_bytes)'
      return of.refuse(reply, refusal('queue_full', message))
    }
    take(request, announced)
    held.set(request, announced)
    reply.raw.once('close', () => give(request))
    done()
  })
  scope.addHook('preHandler', (request, _reply, done) => {
    give(request)
    done()
  })
}

function announcedBytes({ headers }: FastifyRequest, most: number): number {
  if (headers['transfer-encoding'] !== undefined) return most
  const length = Number(headers['content-length'] ?? 0)
  return Number.isFinite(length) ? Math.min(length, most) : most
}
