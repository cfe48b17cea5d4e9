/** The operator's port: health, metrics, snapshot, events, administration, and a page to start from. */
import type { FastifyInstance } from 'fastify'
import type { FaultAsk } from '#contracts/dashboard'
import type { Clock, Operator } from '#ports'
import { admin, ADMIN_BODY_BYTES_MAX, deny } from './admin.ts'
import { eventStream, type EventSource } from './event-stream.ts'
import { health, type Ready } from './health.ts'
import { createListener, hostGuard, listen, type Tls } from '#platform/http/listener'
import { metricsPage, type MetricsSource } from './metrics-page.ts'
import { moneyDoor } from './money-door.ts'

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
  /** Absent: plain HTTP. */
  tls?: Tls | null
  /** Hears of faults of ours, answered as 500. */
  onFault?: (error: Error) => void
}

/** Rejects with a sentence that names the knob when the address cannot be had. */
export async function startHttp(of: HttpOptions): Promise<{ url: string; close(): Promise<void> }> {
  const { host, port, tls = null, onFault } = of
  const { after } = of.clock
  const facing = {
    host,
    port,
    portName: 'HEADGATE_HTTP_PORT',
    tls,
    limits: LIMITS,
    after,
    deny,
    onFault,
  }
  const app = createListener(facing)
  const checkHost = hostGuard(host)
  app.addHook('onRequest', async (request, reply) => {
    reply.headers(STRICT)
    const denial = checkHost(request.headers.host)
    if (denial !== null) return deny(reply, denial)
  })
  health(app, of.ready)
  metricsPage(app, of.metrics)
  app.get('/api/snapshot', () => of.operator.snapshot())
  moneyDoor(app, of.operator)
  const streams = eventStream(app, { source: of.recorder, clock: of.clock })
  admin(app, { operator: of.operator, token: of.adminToken, fault: of.fault })
  await of.mount?.(app)
  if (!app.hasRoute({ method: 'GET', url: '/' })) {
    app.get('/', (_request, reply) => reply.type('text/html; charset=utf-8').send(PAGE))
  }
  const url = await listen(app, facing)
  return {
    url,
    async close() {
      streams.close()
      await app.close()
    },
  }
}

/** A page holds one connection for its feed and up to five for what it asks. */
const LIMITS = {
  connectionsMax: 1_600,
  bodyBytesMax: ADMIN_BODY_BYTES_MAX,
  headerBytesMax: 16_384,
  headersMs: 10_000,
  requestMs: 10_000,
  keepAliveMs: 20_000,
  /** Longer than the heartbeat of an event stream. */
  idleMs: 60_000,
  requestsPerConnection: 1_000,
}

const STRICT = {
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'; form-action 'none'",
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'cache-control': 'no-store',
}

const LINKS = [
  '/healthz',
  '/readyz',
  '/metrics',
  '/api/snapshot',
  '/api/usage',
  '/api/budgets',
  '/api/events',
]

const PAGE = `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Headgate</title>
<h1>Headgate</h1>
<ul>
${LINKS.map((path) => `<li><a href="${path}">${path}</a></li>`).join('\n')}
</ul>
`
