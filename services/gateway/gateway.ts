/** The Anthropic-compatible HTTP door: what an unmodified SDK posts goes over the bus as everybody's does,
 *  and what comes back is said as the API would. It schedules nothing and knows no prompt. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { ConfigFile } from '#contracts/config'
import { unknownHeader } from '#contracts/header-names'
import { makeId } from '#contracts/ids'
import { refusal, type Refusal } from '#contracts/messages'
import { readyzAnswer } from '#contracts/readiness'
import type { ClientSystem, Headgate } from '#client'
import { createListener, isLoopback, listen, type Denial, type Tls } from '#platform/http/listener'
import { doorStops, refusalAnswer, type HttpAnswer } from './answer.ts'
import { askAux } from './aux-call.ts'
import { BATCH_PATHS, serveBatches } from './serve-batches.ts'
import { callers, type Caller } from './callers.ts'
import { nothingAt, servedPath } from './paths.ts'
import { readers } from './readers.ts'
import { JOB_PATH, serveJobs } from './serve-jobs.ts'
import { serveMessages } from './serve-messages.ts'
import { uploads } from './uploads.ts'

export { errorAnswer, streamHead, wholeAnswer, type HttpAnswer, refusalAnswer } from './answer.ts'
export { readCall } from './call-headers.ts'
export { connectDoor } from './door-client.ts'
export { errorFrame, frameOf, pingFrame } from './sse.ts'

type Socket = FastifyRequest['raw']['socket']

export interface GatewayOptions {
  host: string
  /** 0: any free one. */
  port: number
  tls: Tls | null
  /** Serves every tenant by `as`; with a `waitMs` beyond any deadline. Stays open when the door closes. */
  client: Headgate
  /** True while no key is configured: the door is for this machine only, any key, tenant `default`. A key
   *  that comes later shuts it for good. */
  keyless: () => boolean
  /** The tenant that holds a key; null: nobody does. */
  tenantOf: (key: string) => string | null
  /** The lanes a tenant may use; null: all. The scheduler says so too, where NATS carries the question. */
  lanesOf: (tenant: string) => readonly string[] | null
  /** The deadline of a call of that lane that names none, in ms; null: no such lane; absent: not known. */
  timeoutOf?: (lane: string) => number | null
  /** Other doors listen at the same port; absent: no. */
  shared?: boolean
  settings: () => ConfigFile['gateway']
  /** Largest body, and who says so; read once. */
  requestBytesMax: number
  requestBytesBy: 'limits.request_bytes' | "the NATS server's max_payload"
  /** Why it should get no work; none: it should. */
  ready: () => readonly string[]
  /** Where schedulers go on while this door closes: calls under way may end within `drainMs` (ms), then `say` ends
   *  each in words. Absent: the scheduler has ended them all before. */
  lastWords?: { drainMs: () => number; say: () => void }
  system: ClientSystem & { now(): number }
  /** Hears of faults of ours, answered as 500. */
  onFault: (error: Error) => void
}

export interface Gateway {
  readonly url: string
  /** Of all callers, unread. */
  readonly unreadBytes: number
  /** Takes no further connection; what was answered has left when it resolves. */
  close(): Promise<void>
}

/** Rejects with a sentence when it may not serve there. */
export async function startGateway(of: GatewayOptions): Promise<Gateway> {
  if (of.keyless() && !isLoopback(of.host))
    throw new Error(
      `HEADGATE_HOST: ${of.host} is no loopback address and no tenant has a key; configure tenants.<name>.keys, or serve on 127.0.0.1`,
    )
  const facing = facingOf(of)
  const app = createListener(facing)
  const calls = countCalls(app)
  const waiting = readers({
    limits: () => {
      const { stream_buffer_bytes, buffer_bytes, stall_ms } = of.settings()
      return { eachBytesMax: stream_buffer_bytes, allBytesMax: buffer_bytes, stallMs: stall_ms }
    },
    after: of.system.after,
  })
  app.server.on(of.tls === null ? 'connection' : 'secureConnection', (socket: Socket) => {
    const watched = waiting.watch(socket, () => socket.destroy())
    socket.once('close', () => watched.close())
  })
  health(app, of.ready)
  let forget = () => {}
  void app.register(async (scope) => {
    scope.addHook('onRequest', (_request, reply, done) => {
      if (calls.closing) return void send(reply, refusalAnswer(doorStops(), newId(of)))
      done()
    })
    forget = serveApi(scope, of, waiting)
  })
  const url = await listen(app, facing)
  return {
    url,
    get unreadBytes() {
      return waiting.bytes
    },
    async close() {
      calls.lastOfTheirConnections()
      app.server.closeIdleConnections()
      const { lastWords } = of
      if (lastWords !== undefined && !(await answered(calls, of.system, lastWords.drainMs())))
        lastWords.say()
      await answered(calls, of.system, CLOSING_MS)
      forget()
      await app.close()
      waiting.close()
    },
  }
}

/** Answers may still be on their way to slow readers, and who asked an instance that died is told so after some
 *  seconds; but not for ever. */
const CLOSING_MS = 8_000

/** Whether, within so many ms, nobody waits for an answer any more. */
function answered(calls: OpenCalls, system: ClientSystem, mostMs: number): Promise<boolean> {
  if (calls.open.size === 0) return Promise.resolve(true)
  return new Promise((resolve) => {
    const stop = system.after(mostMs, () => resolve(false))
    calls.onNone = () => {
      stop()
      resolve(true)
    }
  })
}

/** Requests whose answer has not left yet. */
class OpenCalls {
  readonly open = new Set<FastifyReply['raw']>()
  closing = false
  onNone: () => void = () => {}

  add(answer: FastifyReply['raw']): void {
    this.open.add(answer)
    if (this.closing) answer.shouldKeepAlive = false
    answer.once('close', () => {
      this.open.delete(answer)
      if (this.open.size === 0) this.onNone()
    })
  }

  /** Who keeps a connection hears with the next answer to ask the next thing on another one. */
  lastOfTheirConnections(): void {
    this.closing = true
    for (const answer of this.open) answer.shouldKeepAlive = false
  }
}

function countCalls(app: FastifyInstance): OpenCalls {
  const calls = new OpenCalls()
  app.addHook('onRequest', (_request, reply, done) => {
    calls.add(reply.raw)
    done()
  })
  return calls
}

function facingOf(of: GatewayOptions): Parameters<typeof createListener>[0] {
  const { host, port, tls, onFault } = of
  const { connections_max, headers_ms, request_ms, keep_alive_ms } = of.settings()
  return {
    host,
    port,
    portName: 'HEADGATE_GATEWAY_PORT',
    shared: of.shared === true,
    tls,
    limits: {
      connectionsMax: connections_max,
      bodyBytesMax: of.requestBytesMax,
      headerBytesMax: HEADER_BYTES_MAX,
      headersMs: headers_ms,
      requestMs: request_ms,
      keepAliveMs: keep_alive_ms,
      // A caller in the queue hears nothing for as long as its deadline allows.
      idleMs: 0,
      requestsPerConnection: 0,
    },
    after: of.system.after,
    deny: (reply, denial) => send(reply, refusalAnswer(refusalOf(denial, of), newId(of))),
    bare: (denial) => refusalAnswer(refusalOf(denial, of), newId(of)),
    onFault,
    pathOf: servedPath,
    nothingAt,
  }
}

/** Of a request; what goes on over the bus is less. */
export const HEADER_BYTES_MAX = 16_384

/** Of `gateway.upload_bytes` and `gateway.upload_queued_max`. */
const TENANT_SHARE = 0.25

function serveApi(
  scope: FastifyInstance,
  of: GatewayOptions,
  waiting: ReturnType<typeof readers>,
): () => void {
  const callerOf = callers(of)
  const refuse = (reply: FastifyReply, refused: Refusal) =>
    send(reply, refusalAnswer(refused, newId(of)))
  const callerBy = new WeakMap<FastifyRequest, string>()
  const tenantOf = (request: FastifyRequest): string => callerBy.get(request) ?? ''

  // Before a byte of the body is read.
  scope.addHook('onRequest', (request, reply, done) => {
    const caller: Caller = callerOf(request.headers)
    if ('refusal' in caller) return void refuse(reply, caller.refusal)
    callerBy.set(request, caller.tenant)
    const unknown = unknownHeader(Object.keys(request.headers), 'http')
    if (unknown !== null) return void refuse(reply, refusal('invalid_request', unknown))
    done()
  })
  // Without keys there is one tenant, and nobody to keep out.
  const tenantShare = () => (of.keyless() ? 1 : TENANT_SHARE)
  // Whatever it calls itself; the scheduler reads it once, and says what is wrong with it.
  scope.removeAllContentTypeParsers()
  // A batch is read as it comes, and counts in no store of bodies.
  void scope.register(async (apart) => {
    serveBatches(apart, {
      ...{ settings: of.settings, tenantOf, tenantShare, newId: () => newId(of), send },
      clientOf: (request) => of.client.as(tenantOf(request)),
      lanesOf: of.lanesOf,
      secure: of.tls !== null,
    })
    for (const path of BATCH_PATHS) otherMethods(apart, path, refuse)
  })
  let close = () => {}
  void scope.register(
    async (whole) =>
      void (close = serveWhole(whole, of, { waiting, tenantOf, tenantShare, refuse })),
  )
  return () => close()
}

/** What is asked in one piece. */
function serveWhole(
  scope: FastifyInstance,
  of: GatewayOptions,
  by: {
    waiting: ReturnType<typeof readers>
    tenantOf: (request: FastifyRequest) => string
    tenantShare: () => number
    refuse: (reply: FastifyReply, refused: Refusal) => FastifyReply
  },
): () => void {
  const { waiting, tenantOf, refuse } = by
  uploads(scope, {
    limits() {
      const { upload_bytes, upload_queued_max, upload_wait_ms } = of.settings()
      return { bytesMax: upload_bytes, queuedMax: upload_queued_max, waitMs: upload_wait_ms }
    },
    tenantOf,
    tenantShare: by.tenantShare,
    eachBytesMax: of.requestBytesMax,
    after: of.system.after,
    refuse,
  })
  scope.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))

  const close = serveMessages(scope, {
    ...of,
    readers: waiting,
    tenantOf,
    bodyOf,
    newId: () => newId(of),
    send,
  })
  askAux(scope, {
    clientOf: (request) => of.client.as(tenantOf(request)),
    bodyOf,
    newId: () => newId(of),
    send,
  })
  serveJobs(scope, {
    ...{ clientOf: (request) => of.client.as(tenantOf(request)), newId: () => newId(of), send },
    waitMaxMs: () => of.settings().job_wait_ms,
  })
  for (const path of [
    ...['/v1/messages', '/v1/messages/count_tokens', '/v1/models', '/v1/models/:id'],
    JOB_PATH,
  ])
    otherMethods(scope, path, refuse)
  return close
}

const bodyOf = (request: FastifyRequest): Uint8Array =>
  request.body instanceof Uint8Array ? request.body : NOTHING
const NOTHING = new Uint8Array(0)

/** A path that is served, asked in a way that is not. */
function otherMethods(
  scope: FastifyInstance,
  url: string,
  refuse: (reply: FastifyReply, refused: Refusal) => FastifyReply,
): void {
  const served = ['GET', 'POST', 'DELETE'].filter((method) => scope.hasRoute({ method, url }))
  const others = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'].filter(
    (one) => !served.includes(one),
  )
  scope.route({
    method: others,
    url,
    handler(_request, reply) {
      reply.header('allow', served.join(', '))
      const message = `expected ${served.join(' or ')} ${url}`
      return refuse(reply, { ...refusal('invalid_request', message), status: 405 })
    },
  })
}

function health(app: FastifyInstance, ready: () => readonly string[]): void {
  app.get('/healthz', () => ({ status: 'ok' }))
  app.get<{ Querystring: { door?: unknown } }>('/readyz', (request, reply) => {
    const { status, body } = readyzAnswer({ http: ready() }, request.query.door)
    return reply.code(status).send(body)
  })
}

function send(reply: FastifyReply, { status, headers, body }: HttpAnswer): FastifyReply {
  return reply.code(status).headers(headers).send(body)
}

/** A denial of the listener's, in the words of the contract. */
function refusalOf({ status, type, message }: Denial, of: GatewayOptions): Refusal {
  if (status !== 413) return { ...refusal('invalid_request', message), status, type }
  const said = `${message}, the bound of ${of.requestBytesBy}`
  return { ...refusal('payload_too_large', said), status, type }
}

const newId = ({ system }: GatewayOptions): string => makeId(() => system.random())
