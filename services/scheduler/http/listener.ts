/** A fastify that faces strangers: bounded in connections, in what one of them may ask before it reads, in
 *  headers and bodies and the time they take, and silent about what it was sent. Both ports stand on it. */
import fastify, {
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type FastifyServerOptions,
} from 'fastify'
import { connections, type Connections } from './connections.ts'
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
  /** The same for what is not even HTTP, so that there is nothing to reply to; absent: as the operator's. */
  bare?: ((denial: Denial) => BareWords) | undefined
  /** Hears of faults of ours, answered as 500. */
  onFault?: ((error: Error) => void) | undefined
}

/** What goes over a socket as it is; header values on one line each. */
export interface BareWords {
  headers: Readonly<Record<string, string>>
  body: string
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
    ...transportOf(of),
    clientErrorHandler: (error: ConnectionError, socket: Socket) =>
      refuseGarbage({ ...of, asked }, error, socket),
    frameworkErrors: (_error, _request, reply) =>
      void of.deny(reply as unknown as FastifyReply, said(400, limits)),
  } as FastifyServerOptions) as FastifyInstance
  app.server.maxConnections = limits.connectionsMax
  const asked = connections(app)
  app.server.on('checkContinue', (request, answer) => {
    // One that waits behind another would have it written into its answer, between head and body.
    if (answer.socket !== null) answer.writeContinue()
    app.server.emit('request', request, answer)
  })
  // Node would answer these two without a word; an expectation that is not known may be overlooked.
  app.server.on('checkExpectation', (request, answer) =>
    app.server.emit('request', request, answer),
  )
  app.server.on('connect', (_request, socket: Socket) => {
    socket.on('error', () => {})
    lastWord({ ...of, asked }, said(400, limits), socket)
  })
  // A body is read where a route says how, and by nobody else: not for a path that leads nowhere.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, _payload, done) => done(null))
  app.addHook('onRequest', (request, reply, done) => {
    if (!asked.mayAsk(request.raw.socket)) return void request.raw.socket.destroy()
    if (hasOneHost(request.raw)) return done()
    of.deny(reply, { ...said(400, limits), message: 'expected one host header' })
  })
  app.setNotFoundHandler((_request, reply) =>
    of.deny(reply, { status: 404, type: 'not_found_error', message: 'nothing here' }),
  )
  app.setErrorHandler<FastifyError>((error, _request, reply) => {
    const status = error.statusCode ?? 500
    if (status >= 500) of.onFault?.(error)
    // What is still on its way is read and dropped, within the time that a request has: to close on a
    // caller that sends is to have it see a reset, and not this answer.
    if (status === 413 && reply.raw.shouldKeepAlive) reply.header('connection', 'keep-alive')
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
    // Where it were the longer one, Node would take it for the other.
    headersTimeout: Math.min(limits.headersMs, limits.requestMs),
    maxHeaderSize: limits.headerBytesMax,
    connectionsCheckingInterval: CHECK_MS,
    // Told in the words of this port.
    requireHostHeader: false,
  }
  if (tls === null) return { http: server }
  // A connection that never ends its handshake has sent no header either.
  return { https: { ...server, ...tls, handshakeTimeout: limits.headersMs } }
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

/** RFC 9112, section 3.2: none, or two of which a proxy before us may have read the other, is no request. */
function hasOneHost({ rawHeaders, httpVersionMinor }: FastifyRequest['raw']): boolean {
  let hosts = 0
  for (let i = 0; i < rawHeaders.length; i += 2)
    if (rawHeaders[i]?.length === 4 && rawHeaders[i]?.toLowerCase() === 'host') hosts++
  return hosts === 1 || (hosts === 0 && httpVersionMinor === 0)
}

type Socket = FastifyRequest['raw']['socket']
type ConnectionError = Error & { code?: string }
type Refusing = ListenerOptions & { asked: Connections }

/** What is not even HTTP, or came too slowly. */
function refuseGarbage(of: Refusing, { code }: ConnectionError, socket: Socket): void {
  if (code === 'ECONNRESET' || socket.destroyed) return
  const { limits } = of
  const denial = said(400, limits)
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT')
    Object.assign(denial, { status: 408, message: 'the request did not come in time' })
  else if (code === 'HPE_HEADER_OVERFLOW')
    Object.assign(denial, {
      status: 431,
      message: `the headers are over ${limits.headerBytesMax} bytes`,
    })
  lastWord(of, denial, socket)
}

const LINES: Record<number, string> = {
  400: 'Bad Request',
  408: 'Request Timeout',
  431: 'Request Header Fields Too Large',
}

/** Never amid another answer, nor where an earlier request would take it for its own. */
function lastWord({ bare = plainWords, asked }: Refusing, denial: Denial, socket: Socket): void {
  if (socket.writable && asked.mayHear(socket)) {
    const { headers, body } = bare(denial)
    const lines = Object.entries({
      ...headers,
      'content-length': String(Buffer.byteLength(body)),
      connection: 'close',
    }).map(([name, value]) => `${name}: ${value}\r\n`)
    const { status } = denial
    socket.write(`HTTP/1.1 ${status} ${LINES[status]}\r\n${lines.join('')}\r\n${body}`)
  }
  socket.destroy()
}

const plainWords = ({ type, message }: Denial): BareWords => ({
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ type: 'error', error: { type, message } }),
})

function urlOf(app: FastifyInstance, { host, tls }: ListenerOptions): string {
  const address = app.server.address()
  const port = typeof address === 'object' ? address?.port : undefined
  const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host
  const name = reachable.includes(':') ? `[${reachable}]` : reachable
  return `${tls === null ? 'http' : 'https'}://${name}:${port}`
}
