/** `--inspect`: the running machines for Stately's inspector, on loopback only and on a port of its own. `/` is a
 *  page that shows Stately's inspector in a frame and hands it what `/events` streams; the frame is Stately's own
 *  hosted page, so this door stands beside the dashboard, whose page takes nothing from outside.
 *  Bound: `READERS_MAX` readers; one that reads too slowly is let go, and hears of every actor when it returns. */
import fastify, { type FastifyInstance, type FastifyReply } from 'fastify'
import { deny } from './admin.ts'
import { hostGuard, originGuard } from '#platform/http/guard'

export interface InspectSource {
  /** Each message is JSON; the answer ends it. */
  listen(tell: (message: object) => void): () => void
}

export const READERS_MAX = 8
/** What may wait for one reader. */
const BACKLOG_BYTES_MAX = 1_000_000
const LOOPBACK = '127.0.0.1'
const INSPECTOR = 'https://stately.ai'

export async function startInspectDoor(of: {
  port: number
  source: InspectSource
}): Promise<{ url: string; close(): Promise<void> }> {
  const app = fastify({ forceCloseConnections: true })
  const checkHost = hostGuard(LOOPBACK)
  const open = new Set<() => void>()
  app.addHook('onRequest', async (request, reply) => {
    reply.headers({
      'content-security-policy': `default-src 'self'; frame-src ${INSPECTOR}; frame-ancestors 'none'; base-uri 'none'`,
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
      'cache-control': 'no-store',
    })
    const denial = checkHost(request.headers.host) ?? originGuard(request.headers)
    if (denial !== null) return deny(reply, denial)
  })
  app.get('/', (_request, reply) => reply.type('text/html; charset=utf-8').send(PAGE))
  app.get('/bridge.js', (_request, reply) =>
    reply.type('text/javascript; charset=utf-8').send(SCRIPT),
  )
  app.get('/bridge.css', (_request, reply) => reply.type('text/css; charset=utf-8').send(STYLE))
  app.get('/events', { exposeHeadRoute: false }, (_request, reply) => {
    if (open.size < READERS_MAX) return stream(of.source, reply, open)
    const message = `${READERS_MAX} readers are connected; no more are served`
    return deny(reply, { status: 503, type: 'api_error', message })
  })
  await app.listen({ host: LOOPBACK, port: of.port })
  return {
    url: urlOf(app),
    async close() {
      for (const end of open) end()
      await app.close()
    },
  }
}

function stream(source: InspectSource, reply: FastifyReply, open: Set<() => void>): void {
  reply.hijack()
  const to = reply.raw
  for (const [name, value] of Object.entries(reply.getHeaders()))
    if (value !== undefined) to.setHeader(name, value)
  to.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' })
  to.write(': headgate\n\n')
  const deaf = source.listen((message) => {
    if (to.writableLength > BACKLOG_BYTES_MAX) to.destroy()
    else to.write(`data: ${JSON.stringify(message)}\n\n`)
  })
  const end = (): void => void to.destroy()
  open.add(end)
  to.once('close', () => {
    deaf()
    open.delete(end)
  })
}

function urlOf(app: FastifyInstance): string {
  const address = app.server.address()
  return `http://${LOOPBACK}:${typeof address === 'object' && address !== null ? address.port : 0}`
}

const PAGE = `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Headgate: machines</title>
<link rel="stylesheet" href="/bridge.css">
<iframe id="inspector" title="Stately's inspector" src="${INSPECTOR}/inspect"></iframe>
<script type="module" src="/bridge.js"></script>
</html>
`

const STYLE = 'html,body,iframe{margin:0;border:0;width:100%;height:100%;display:block}\n'

/** The inspector says when it listens; each message it gets then is one of `/events`. */
const SCRIPT = `const frame = document.getElementById('inspector')
let events = null
addEventListener('message', ({ origin, data }) => {
  if (origin !== '${INSPECTOR}' || data?.type !== '@statelyai.connected') return
  events?.close()
  events = new EventSource('/events')
  events.onmessage = ({ data }) => frame.contentWindow.postMessage(JSON.parse(data), '${INSPECTOR}')
})
`
