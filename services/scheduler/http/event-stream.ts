/** `/api/events`: recorded events as server-sent ones. First what is still kept, or with `Last-Event-ID` what
 *  came after that; then each as it comes.
 *  Bound: `STREAMS_MAX` readers, and `QUEUE_MAX` events waiting for each; a slow one is told `lost`. */
import type { FastifyInstance, FastifyReply } from 'fastify'
import type { Clock, HeadgateEvent, Millis } from '#ports'

type ServerResponse = FastifyReply['raw']

export interface EventSource {
  listen(of: { queueMax: number; after: number | 'kept' }): {
    next(): Promise<{
      lost: number
      events: readonly { seq: number; event: HeadgateEvent }[]
    } | null>
    close(): void
  }
}

export const STREAMS_MAX = 32
export const QUEUE_MAX = 1_000
export const HEARTBEAT_MS: Millis = 15_000

/** The answer ends every stream. */
export function eventStream(
  app: FastifyInstance,
  of: { source: EventSource; clock: Clock },
): { close(): void } {
  const open = new Set<() => void>()
  app.get('/api/events', { exposeHeadRoute: false }, (request, reply) => {
    if (open.size >= STREAMS_MAX) {
      const message = `${STREAMS_MAX} readers are connected; no more are served`
      reply.code(503)
      return reply.send({ type: 'error', error: { type: 'api_error', message } })
    }
    const listener = of.source.listen({
      queueMax: QUEUE_MAX,
      after: lastSeen(request.headers['last-event-id']),
    })
    reply.hijack()
    const to = reply.raw
    for (const [name, value] of Object.entries(reply.getHeaders()))
      if (value !== undefined) to.setHeader(name, value)
    to.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'x-accel-buffering': 'no',
    })
    to.write(': headgate\n\n')
    const stop = (): void => listener.close()
    open.add(stop)
    const heart = heartbeat(to, of.clock)
    to.once('close', stop)
    void pour(listener, to).finally(() => {
      heart()
      open.delete(stop)
      to.end()
    })
  })
  return { close: () => open.forEach((stop) => stop()) }
}

async function pour(from: ReturnType<EventSource['listen']>, to: ServerResponse): Promise<void> {
  for (let batch = await from.next(); batch !== null; batch = await from.next()) {
    const lost = batch.lost > 0 ? `event: lost\ndata: {"lost":${batch.lost}}\n\n` : ''
    // Not until it has room: what comes meanwhile waits in the listener, which has a bound.
    if (!to.write(lost + batch.events.map(frame).join(''))) await roomIn(to)
  }
}

const frame = (of: { seq: number; event: HeadgateEvent }): string => {
  const { name, at, data } = of.event
  const body = JSON.stringify({ name, time: new Date(at).toISOString(), data })
  return `id: ${of.seq}\nevent: ${name}\ndata: ${body}\n\n`
}

const roomIn = (to: ServerResponse): Promise<void> =>
  new Promise((resolve) => {
    if (to.destroyed) return resolve()
    const done = (): void => {
      to.off('drain', done)
      to.off('close', done)
      resolve()
    }
    to.on('drain', done)
    to.on('close', done)
  })

/** A comment now and then, so that proxies and readers see a living connection. */
function heartbeat(to: ServerResponse, clock: Clock): () => void {
  const beat = (): void => {
    if (!to.writableNeedDrain) to.write(': ping\n\n')
    cancel = clock.after(HEARTBEAT_MS, beat)
  }
  let cancel = clock.after(HEARTBEAT_MS, beat)
  return () => cancel()
}

function lastSeen(header: string | string[] | undefined): number | 'kept' {
  return typeof header === 'string' && /^\d{1,15}$/.test(header) ? Number(header) : 'kept'
}
