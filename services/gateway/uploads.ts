/** Bodies on their way in, together: what one announces counts from its first byte until it is handed over,
 *  and one that announces nothing counts as the largest that may come. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { refusal, type Refusal } from '#contracts/messages'

export function uploads(
  scope: FastifyInstance,
  of: {
    bytesMax: () => number
    /** The largest body. */
    eachBytesMax: number
    refuse: (reply: FastifyReply, refused: Refusal) => void
  },
): void {
  const held = new WeakMap<FastifyRequest, number>()
  let bytes = 0
  const give = (request: FastifyRequest) => {
    bytes -= held.get(request) ?? 0
    held.delete(request)
  }
  scope.addHook('preParsing', (request, reply, _payload, done) => {
    const announced = announcedBytes(request, of.eachBytesMax)
    if (announced === 0) return done()
    if (bytes > 0 && bytes + announced > of.bytesMax()) {
      const message = 'the bodies that are being received hold all they may (gateway.upload_bytes)'
      return of.refuse(reply, refusal('queue_full', message))
    }
    bytes += announced
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
