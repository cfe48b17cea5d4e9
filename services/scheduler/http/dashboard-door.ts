/** The dashboard: its page's files, its feed as server-sent events, and the questions it answers. Reads only;
 *  what an operator does goes through `/api/admin`. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { unacknowledged, type Unacknowledged } from './unacknowledged.ts'

/** An answer as JSON text. */
interface Said {
  status: number
  body: string
}
type Query = Readonly<Record<string, unknown>>

interface Reader {
  ready(): boolean
  unread(): number
  send(bytes: Uint8Array): void
  end(): void
}

interface PageFile {
  readonly type: string
  readonly etag: string
  readonly plain: Buffer
  readonly gzip: Buffer
  readonly br: Buffer
}

export interface DashboardSource {
  files: ReadonlyMap<string, PageFile>
  feed: {
    /** False: too many readers. */
    connect(reader: Reader): boolean
    disconnect(reader: Reader): void
    history(query: Query): Said
    tenants(query: Query): Said
    tenant(name: string): Said
    requests(query: Query): Said
    request(tenant: string, id: string): Said
    job(tenant: string, id: string): Promise<Said>
    fleet(): Promise<Said>
    close(): void
  }
}

/** Nothing inline, nothing from elsewhere; the empty icon of the page is data. */
const PAGE_POLICY =
  "default-src 'self'; img-src 'self' data:; base-uri 'none'; object-src 'none'; frame-ancestors 'none'; form-action 'none'"

/** What may be on its way to a page when a frame comes; one that owes more misses it, so that it never sees what
 *  is minutes old. */
const ON_ITS_WAY_BYTES_MAX = 65_536

export function dashboardDoor(app: FastifyInstance, { files, feed }: DashboardSource): void {
  // So that a browser fetches them side by side and not import by import.
  const link = [...files.keys()]
    .filter((path) => path.startsWith('/page/') && path.endsWith('.js'))
    .map((path) => `<${path}>; rel=modulepreload`)
    .join(', ')
  for (const [path, file] of files)
    app.get(path, (request, reply) => {
      if (path === '/' && link !== '') reply.header('link', link)
      return sendFile(file, request, reply)
    })
  const say = (reply: FastifyReply, { status, body }: Said): FastifyReply =>
    reply.code(status).type('application/json; charset=utf-8').send(body)
  const queryOf = (request: FastifyRequest): Query => request.query as Query

  const table = unacknowledged()
  // A HEAD of what never ends would hold a reader for ever.
  app.get('/api/feed', { exposeHeadRoute: false }, (_request, reply) =>
    openFeed(feed, reply, table),
  )
  app.get('/api/history', (request, reply) => say(reply, feed.history(queryOf(request))))
  app.get('/api/tenants', (request, reply) => say(reply, feed.tenants(queryOf(request))))
  app.get<{ Params: { name: string } }>('/api/tenants/:name', (request, reply) =>
    say(reply, feed.tenant(request.params.name)),
  )
  app.get('/api/requests', (request, reply) => say(reply, feed.requests(queryOf(request))))
  app.get<{ Params: { tenant: string; id: string } }>(
    '/api/requests/:tenant/:id',
    (request, reply) => say(reply, feed.request(request.params.tenant, request.params.id)),
  )
  app.get<{ Params: { tenant: string; id: string } }>(
    '/api/jobs/:tenant/:id',
    async ({ params: { tenant, id } }, reply) => say(reply, await feed.job(tenant, id)),
  )
  app.get('/api/fleet', { exposeHeadRoute: false }, async (_request, reply) =>
    say(reply, await feed.fleet()),
  )
}

function sendFile(file: PageFile, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  reply.headers({
    'content-security-policy': PAGE_POLICY,
    // Asked for each time, sent only when it has changed: a new version shows at once.
    'cache-control': 'no-cache',
    etag: file.etag,
    vary: 'accept-encoding',
  })
  if (request.headers['if-none-match'] === file.etag) return reply.code(304).send()
  const accepted = new Set(
    (request.headers['accept-encoding'] ?? '').split(',').map((one) => one.trim().split(';')[0]),
  )
  reply.type(file.type)
  if (accepted.has('br')) return reply.header('content-encoding', 'br').send(file.br)
  if (accepted.has('gzip')) return reply.header('content-encoding', 'gzip').send(file.gzip)
  return reply.send(file.plain)
}

/** Connections with a feed: a second one on the same would never be written. */
const fed = new WeakSet<object>()

function openFeed(
  feed: DashboardSource['feed'],
  reply: FastifyReply,
  table: Unacknowledged,
): FastifyReply | undefined {
  const to = reply.raw
  const { socket } = reply.request.raw
  if (fed.has(socket)) {
    const message = 'this connection has a feed already'
    return reply
      .code(400)
      .send({ type: 'error', error: { type: 'invalid_request_error', message } })
  }
  let begun = false
  const reader: Reader = {
    ready: () => !to.writableNeedDrain && table.of(socket) <= ON_ITS_WAY_BYTES_MAX,
    unread() {
      table.look()
      return table.of(socket)
    },
    send(bytes) {
      if (!begun) begin()
      to.write(bytes)
    },
    end: () => void to.destroy(),
  }
  const begin = (): void => {
    begun = true
    reply.hijack()
    for (const [name, value] of Object.entries(reply.getHeaders()))
      if (value !== undefined) to.setHeader(name, value)
    to.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'x-accel-buffering': 'no',
    })
    to.once('close', () => feed.disconnect(reader))
  }
  if (feed.connect(reader)) {
    fed.add(socket)
    return
  }
  const message = 'as many pages are connected as are served'
  return reply.code(503).send({ type: 'error', error: { type: 'api_error', message } })
}
