/** A fastify that faces strangers: bounded in connections, in what one of them may ask before it reads, in
 *  headers and bodies and the time they take, and silent about what it was sent. Both ports stand on it. */
import fastify, {
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type FastifyServerOptions,
} from 'fastify'
import { connections } from './connections.ts'
import { expectations } from './expectation.ts'
import type { Denial } from './guard.ts'
import {
  closeIdle,
  plainWords,
  refuseGarbage,
  refuseTunnel,
  type BareWords,
  type LastWords,
} from './last-word.ts'
import { lingerOver } from './lingering.ts'

export { hostGuard, isLoopback, originGuard, type Denial } from './guard.ts'
export type { BareWords } from './last-word.ts'
export { Outlet } from './outlet.ts'

export interface ListenerOptions {
  host: string
  /** 0: any free one. */
  port: number
  /** The variable that names the port, for the sentence that says why it cannot be had. */
  portName: string
  /** Other processes listen at the port too, and the kernel gives each connection to one of them; absent: no. */
  shared?: boolean
  /** PEM texts; null: plain HTTP. */
  tls: Tls | null
  limits: ListenerLimits
  /** A timer in ms; gives what stops it. */
  after: (ms: number, call: () => void) => () => void
  /** How a refusal is sent, in the words of this port. */
  deny: (reply: FastifyReply, denial: Denial) => FastifyReply
  /** The same for what is not even HTTP, so that there is nothing to reply to; absent: as the operator's. */
  bare?: ((denial: Denial) => BareWords) | undefined
  /** Hears of faults of ours, answered as 500. */
  onFault?: ((error: Error) => void) | undefined
  /** The path that is looked up for the one that was asked; absent: itself. */
  pathOf?: ((url: string) => string) | undefined
  /** What is told where a path leads nowhere; absent: that. */
  nothingAt?: ((method: string, url: string) => string) | undefined
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
    ...(of.pathOf === undefined
      ? {}
      : { rewriteUrl: ({ url = '/' }: { url?: string }) => of.pathOf?.(url) ?? url }),
    ...transportOf(of),
    clientErrorHandler: (error: ConnectionError, socket: Socket) =>
      refuseGarbage(words, error, socket),
    frameworkErrors: (_error, _request, reply) =>
      void of.deny(reply as unknown as FastifyReply, said(400, limits)),
  } as FastifyServerOptions) as FastifyInstance
  app.server.maxConnections = limits.connectionsMax
  const asked = connections(app)
  const { after, bare = plainWords } = of
  const words: LastWords = { asked, headerBytesMax: limits.headerBytesMax, after, bare }
  const expecting = expectations(app, limits.bodyBytesMax)
  app.server.on('timeout', (socket: Socket) => closeIdle(of, socket))
  app.server.on('connect', (_request, socket: Socket) => refuseTunnel(words, socket))
  // A body is read where a route says how, and by nobody else: not for a path that leads nowhere.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, _payload, done) => done(null))
  const ambiguous = new WeakSet<Socket>()
  app.addHook('onRequest', ({ raw }, reply, done) => {
    const { socket } = raw
    if (!asked.mayAsk(socket)) return void socket.destroy()
    // What follows a request that could be read in two ways may be a part of it: nobody acts on that.
    if (ambiguous.has(socket)) return void reply.hijack()
    if (hasOneHost(raw)) return done()
    ambiguous.add(socket)
    reply.raw.shouldKeepAlive = false
    of.deny(reply, { ...said(400, limits), message: 'expected one host header' })
  })
  app.addHook('onSend', ({ raw }, reply, payload, done) => {
    if (expecting.waits(raw)) reply.raw.shouldKeepAlive = false
    if (!reply.raw.shouldKeepAlive && !raw.complete) lingerOver(raw)
    done(null, payload)
  })
  app.setNotFoundHandler(({ method, originalUrl }, reply) => {
    const message = of.nothingAt?.(method, originalUrl) ?? 'nothing here'
    return of.deny(reply, { status: 404, type: 'not_found_error', message })
  })
  app.setErrorHandler<FastifyError>((error, { raw }, reply) => {
    const status = error.statusCode ?? 500
    if (status >= 500) of.onFault?.(error)
    // The rest is read and dropped then too.
    const goesOn = reply.raw.shouldKeepAlive && !expecting.waits(raw)
    if (status === 413 && goesOn) reply.header('connection', 'keep-alive')
    return of.deny(reply, said(status, limits))
  })
  return app
}

/** Where it answers. Rejects with a sentence that names the knob when the address cannot be had. */
export async function listen(app: FastifyInstance, of: ListenerOptions): Promise<string> {
  const { host, port, portName } = of
  try {
    // Fastify hands on what Node's own `listen` takes.
    const address: { host: string; port: number; reusePort?: boolean } = { host, port }
    if (of.shared === true) address.reusePort = true
    await app.listen(address)
  } catch (error) {
    await app.close()
    const code = (error as NodeJS.ErrnoException).code
    const known: Record<string, string> = {
      EADDRINUSE: `${portName}: port ${port} on ${host} is in use; choose another, or 0 for any`,
      EACCES: `${portName}: port ${port} needs privileges; choose one above 1023`,
      EADDRNOTAVAIL: `HEADGATE_HOST: ${host} is no address of this machine`,
      ENOTFOUND: `HEADGATE_HOST: ${host} is not known`,
      ENOTSUP: `${portName}: this system lets no two processes share a port; use one worker`,
    }
    throw new Error(known[code ?? ''] ?? `cannot listen on ${host}:${port} (${code})`, {
      cause: error,
    })
  }
  return urlOf(app, of)
}

function transportOf({ tls, limits }: ListenerOptions): object {
  const server = {
    // Where it were the longer one, Node would take it for the other.
    headersTimeout: Math.min(limits.headersMs, limits.requestMs),
    maxHeaderSize: limits.headerBytesMax,
    connectionsCheckingInterval: Math.min(CHECK_MS, limits.headersMs, limits.requestMs),
    // Told in the words of this port.
    requireHostHeader: false,
  }
  if (tls === null) return { http: server }
  // A connection that never ends its handshake has sent no header either.
  return { https: { ...server, ...tls, handshakeTimeout: limits.headersMs } }
}

/** How often Node looks for senders that are too slow, where they have as long. */
const CHECK_MS = 5_000

/** Never the library's own text: it may quote the request. */
function said(status: number, { bodyBytesMax }: ListenerLimits): Denial {
  if (status === 413)
    return { status, type: 'request_too_large', message: `the body is over ${bodyBytesMax} bytes` }
  if (status >= 400 && status < 500)
    return { status, type: 'invalid_request_error', message: 'not a request that can be read' }
  return { status: 500, type: 'api_error', message: 'a fault of the scheduler; its log says more' }
}

/** RFC 9112, section 3.2: none, or two of which a proxy before us may have read the other, is no request. */
function hasOneHost({ rawHeaders, httpVersionMinor }: FastifyRequest['raw']): boolean {
  let hosts = 0
  for (let i = 0; i < rawHeaders.length; i += 2)
    if (rawHeaders[i]?.length === 4 && rawHeaders[i]?.toLowerCase() === 'host') hosts++
  return hosts === 1 || (hosts === 0 && httpVersionMinor === 0)
}

type Socket = FastifyRequest['raw']['socket']
type ConnectionError = Error & { code?: string }

function urlOf(app: FastifyInstance, { host, tls }: ListenerOptions): string {
  const address = app.server.address()
  const port = typeof address === 'object' ? address?.port : undefined
  const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host
  const name = reachable.includes(':') ? `[${reachable}]` : reachable
  return `${tls === null ? 'http' : 'https'}://${name}:${port}`
}
