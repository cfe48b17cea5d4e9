/** A fastify that faces strangers: bounded in connections, in what one of them may ask before it reads, in
 *  headers and bodies and the time they take, and silent about what it was sent. Both ports stand on it. */
import fastify, {
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyServerOptions,
} from 'fastify'
import type { Denial } from './guard.ts'

export { hostGuard, isLoopback, originGuard, type Denial } from './guard.ts'

export interface ListenerOptions {
  host: string
  /** 0: any free one. */
  port: number
  /** The variable that names the port, for the sentence that says why it cannot be had. */
  portName: string
  /** PEM texts; null: plain HTTP. */
  tls: Tls | null
  limits: ListenerLimits
  /** How a refusal is sent, in the words of this port. */
  deny: (reply: FastifyReply, denial: Denial) => FastifyReply
  /** Hears of faults of ours, answered as 500. */
  onFault?: ((error: Error) => void) | undefined
}

export interface Tls {
  cert: string
  key: string
}

/** Against senders that are slow on purpose, and against many of them. */
export interface ListenerLimits {
  connectionsMax: number
  bodyBytesMax: number
  headerBytesMax: number
  /** Until the headers are here. */
  headersMs: number
  /** Until the whole request is here. */
  requestMs: number
  /** Until a connection with nothing to do is closed. */
  keepAliveMs: number
  /** Until a connection on which nothing moves is closed, its request answered or not; 0: never. */
  idleMs: number
  /** After so many a connection is closed, so that no balance lasts for ever; 0: never. */
  requestsPerConnection: number
}

/** Requests of one connection that have no answer yet. */
const PIPELINED_MAX = 16

export function createListener(of: ListenerOptions): FastifyInstance {
  const { limits } = of
  const app = fastify({
    bodyLimit: limits.bodyBytesMax,
    requestTimeout: limits.requestMs,
    connectionTimeout: limits.idleMs,
    keepAliveTimeout: limits.keepAliveMs,
    maxRequestsPerSocket: limits.requestsPerConnection,
    forceCloseConnections: true,
    routerOptions: { maxParamLength: 128 },
    ...transportOf(of),
    clientErrorHandler: refuseGarbage,
    frameworkErrors: (_error, _request, reply) =>
      void of.deny(reply as unknown as FastifyReply, said(400, limits)),
  } as FastifyServerOptions) as FastifyInstance
  app.server.maxConnections = limits.connectionsMax
  const unanswered = new WeakMap<object, number>()
  app.addHook('onRequest', (request, reply, done) => {
    const { socket } = request.raw
    const waiting = (unanswered.get(socket) ?? 0) + 1
    unanswered.set(socket, waiting)
    reply.raw.once('close', () => unanswered.set(socket, (unanswered.get(socket) ?? 1) - 1))
    // Who asks faster than it reads is not served for it.
    if (waiting > PIPELINED_MAX) return void socket.destroy()
    done()
  })
  app.setNotFoundHandler((_request, reply) =>
    of.deny(reply, { status: 404, type: 'not_found_error', message: 'nothing here' }),
  )
  app.setErrorHandler<FastifyError>((error, _request, reply) => {
    const status = error.statusCode ?? 500
    if (status >= 500) of.onFault?.(error)
    return of.deny(reply, said(status, limits))
  })
  return app
}

/** Where it answers. Rejects with a sentence that names the knob when the address cannot be had. */
export async function listen(app: FastifyInstance, of: ListenerOptions): Promise<string> {
  const { host, port, portName } = of
  try {
    await app.listen({ host, port })
  } catch (error) {
    await app.close()
    const code = (error as NodeJS.ErrnoException).code
    const known: Record<string, string> = {
      EADDRINUSE: `${portName}: port ${port} on ${host} is in use; choose another, or 0 for any`,
      EACCES: `${portName}: port ${port} needs privileges; choose one above 1023`,
      EADDRNOTAVAIL: `HEADGATE_HOST: ${host} is no address of this machine`,
      ENOTFOUND: `HEADGATE_HOST: ${host} is not known`,
    }
    throw new Error(known[code ?? ''] ?? `cannot listen on ${host}:${port} (${code})`, {
      cause: error,
    })
  }
  return urlOf(app, of)
}

function transportOf({ tls, limits }: ListenerOptions): object {
  const server = {
    headersTimeout: limits.headersMs,
    maxHeaderSize: limits.headerBytesMax,
    connectionsCheckingInterval: CHECK_MS,
  }
  return tls === null ? { http: server } : { https: { ...server, ...tls } }
}

/** How often Node looks for senders that are too slow. */
const CHECK_MS = 5_000

/** Never the library's own text: it may quote the request. */
function said(status: number, { bodyBytesMax }: ListenerLimits): Denial {
  if (status === 413)
    return { status, type: 'request_too_large', message: `the body is over ${bodyBytesMax} bytes` }
  if (status >= 400 && status < 500)
    return { status, type: 'invalid_request_error', message: 'not a request that can be read' }
  return { status: 500, type: 'api_error', message: 'a fault of the scheduler; its log says more' }
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

function urlOf(app: FastifyInstance, { host, tls }: ListenerOptions): string {
  const address = app.server.address()
  const port = typeof address === 'object' ? address?.port : undefined
  const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host
  const name = reachable.includes(':') ? `[${reachable}]` : reachable
  return `${tls === null ? 'http' : 'https'}://${name}:${port}`
}
