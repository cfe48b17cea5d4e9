/** The operator's port: health, metrics, snapshot, events, administration, and a page to start from. */
import fastify, {
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyServerOptions,
} from 'fastify'
import type { FaultAsk } from '#contracts/dashboard'
import type { Clock, Operator } from '#ports'
import { admin, ADMIN_BODY_BYTES_MAX, deny } from './admin.ts'
import { eventStream, type EventSource } from './event-stream.ts'
import { hostGuard } from './guard.ts'
import { health, type Ready } from './health.ts'
import { metricsPage, type MetricsSource } from './metrics-page.ts'

export interface HttpOptions {
  host: string
  /** 0: any free one. */
  port: number
  operator: Operator
  recorder: EventSource
  metrics: MetricsSource
  ready: Ready
  /** Null: every administration request is refused. */
  adminToken: string | null
  clock: Clock
  /** Sets a fault of the simulated provider; absent: none is in use. */
  fault?: (ask: FaultAsk) => Promise<unknown>
  /** Adds routes of its own, the dashboard's; may take `/`. Its replies may replace the strict headers. */
  mount?: (app: FastifyInstance) => void | Promise<void>
  /** Hears of faults of ours, answered as 500. */
  onFault?: (error: Error) => void
}

/** Rejects with a sentence that names the knob when the address cannot be had. */
export async function startHttp(of: HttpOptions): Promise<{ url: string; close(): Promise<void> }> {
  const app = fastify({
    ...LIMITS,
    clientErrorHandler: refuseGarbage,
    frameworkErrors: refuseOddUrl,
  })
  app.server.maxConnections = CONNECTIONS_MAX
  const checkHost = hostGuard(of.host)
  const unanswered = new WeakMap<object, number>()
  app.addHook('onRequest', async (request, reply) => {
    const { socket } = request.raw
    const waiting = (unanswered.get(socket) ?? 0) + 1
    unanswered.set(socket, waiting)
    reply.raw.once('close', () => unanswered.set(socket, (unanswered.get(socket) ?? 1) - 1))
    // Who asks faster than it reads is not served for it.
    if (waiting > PIPELINED_MAX) return void socket.destroy()
    reply.headers(STRICT)
    const denial = checkHost(request.headers.host)
    if (denial !== null) return deny(reply, denial)
  })
  app.setNotFoundHandler((_request, reply) =>
    deny(reply, { status: 404, type: 'not_found_error', message: 'nothing here' }),
  )
  app.setErrorHandler<FastifyError>((error, _request, reply) => {
    const status = error.statusCode ?? 500
    if (status >= 500) of.onFault?.(error)
    return deny(reply, said(status))
  })
  health(app, of.ready)
  metricsPage(app, of.metrics)
  app.get('/api/snapshot', () => of.operator.snapshot())
  const streams = eventStream(app, { source: of.recorder, clock: of.clock })
  admin(app, { operator: of.operator, token: of.adminToken, fault: of.fault })
  await of.mount?.(app)
  if (!app.hasRoute({ method: 'GET', url: '/' })) {
    app.get('/', (_request, reply) => reply.type('text/html; charset=utf-8').send(PAGE))
  }
  await listen(app, of)
  return {
    url: urlOf(app, of.host),
    async close() {
      streams.close()
      await app.close()
    },
  }
}

/** Against senders that are slow on purpose, and against many of them. A page holds one for its feed and up to
 *  five for what it asks. */
const CONNECTIONS_MAX = 1_600
/** Requests of one connection that have no answer yet. */
const PIPELINED_MAX = 16
const LIMITS = {
  bodyLimit: ADMIN_BODY_BYTES_MAX,
  requestTimeout: 10_000,
  /** Longer than the heartbeat of an event stream. */
  connectionTimeout: 60_000,
  keepAliveTimeout: 20_000,
  maxRequestsPerSocket: 1_000,
  forceCloseConnections: true,
  routerOptions: { maxParamLength: 64 },
  http: { headersTimeout: 10_000, maxHeaderSize: 16_384, connectionsCheckingInterval: 5_000 },
} as const

const STRICT = {
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'; form-action 'none'",
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'cache-control': 'no-store',
}

const LINKS = ['/healthz', '/readyz', '/metrics', '/api/snapshot', '/api/events']

const PAGE = `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Headgate</title>
<h1>Headgate</h1>
<ul>
${LINKS.map((path) => `<li><a href="${path}">${path}</a></li>`).join('\n')}
</ul>
`

/** Never the library's own text: it may quote the request. */
function said(status: number): { status: number; type: string; message: string } {
  if (status === 413) {
    const message = `the body is over ${ADMIN_BODY_BYTES_MAX} bytes`
    return { status, type: 'request_too_large', message }
  }
  if (status >= 400 && status < 500)
    return { status, type: 'invalid_request_error', message: 'not a request that can be read' }
  return { status: 500, type: 'api_error', message: 'a fault of the scheduler; its log says more' }
}

/** A path that the router cannot read. */
const refuseOddUrl: NonNullable<FastifyServerOptions['frameworkErrors']> = (
  _error,
  _request,
  reply,
) => {
  void deny(reply as unknown as FastifyReply, said(400))
}

/** What is not even HTTP, or came too slowly. */
const refuseGarbage: NonNullable<FastifyServerOptions['clientErrorHandler']> = (error, socket) => {
  if (error.code === 'ECONNRESET' || socket.destroyed) return
  const line =
    error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
      ? '408 Request Timeout'
      : error.code === 'HPE_HEADER_OVERFLOW'
        ? '431 Request Header Fields Too Large'
        : '400 Bad Request'
  if (socket.writable) socket.write(`HTTP/1.1 ${line}\r\nconnection: close\r\n\r\n`)
  socket.destroy()
}

async function listen(app: FastifyInstance, { host, port }: HttpOptions): Promise<void> {
  try {
    await app.listen({ host, port })
  } catch (error) {
    await app.close()
    const code = (error as NodeJS.ErrnoException).code
    const said: Record<string, string> = {
      EADDRINUSE: `HEADGATE_HTTP_PORT: port ${port} on ${host} is in use; choose another, or 0 for any`,
      EACCES: `HEADGATE_HTTP_PORT: port ${port} needs privileges; choose one above 1023`,
      EADDRNOTAVAIL: `HEADGATE_HOST: ${host} is no address of this machine`,
      ENOTFOUND: `HEADGATE_HOST: ${host} is not known`,
    }
    throw new Error(said[code ?? ''] ?? `cannot listen on ${host}:${port} (${code})`, {
      cause: error,
    })
  }
}

function urlOf(app: FastifyInstance, host: string): string {
  const address = app.server.address()
  const port = typeof address === 'object' ? address?.port : undefined
  const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host
  return `http://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`
}
