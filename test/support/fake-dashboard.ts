/** A dashboard's server whose scheduler is a script: the real page's files, a feed that sends what a test
 *  says, answers out of fixtures. For what no real house does on demand: ten thousand tenants, hostile
 *  names, a feed too fast, a restart between two frames. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { charts } from '#contracts/generated/charts'
import type {
  Frame,
  FrameRoute,
  Hello,
  History,
  JobLife,
  Life,
  TenantRow,
} from '#contracts/dashboard'
import { runbook, RUNBOOK_KINDS } from '#contracts/runbook'
import { waitReasons } from '#contracts/waiting'
import { pageFiles } from '#dashboard'

export const HOSTILE = `<img src=x onerror="window.hacked=1"><script>window.hacked=2</script>'"&\u202e`
export const TOKEN = 'let-me-in'
const POLICY =
  "default-src 'self'; img-src 'self' data:; base-uri 'none'; object-src 'none'; frame-ancestors 'none'; form-action 'none'"

export interface FakeDashboard {
  readonly url: string
  /** Every act that was allowed, in order. */
  readonly acts: { op: string; body: unknown }[]
  /** Pages whose feed is open. */
  readers(): number
  send(frame: Frame): void
  /** Cuts every feed; `gone` refuses new ones until `back`. */
  cut(of: { gone: boolean }): void
  back(hello?: Partial<Hello>): void
  close(): Promise<void>
}

const START = 1_790_000_000_000
export const helloOf = (of: Partial<Hello> = {}): Hello => ({
  instance: 'fake',
  version: '0.0.0',
  started_at: START,
  at: START,
  charts: charts.map(({ name, title, svg, states, edges }) => ({
    name,
    title,
    svg,
    states,
    edges,
  })),
  lanes: [
    { name: 'premium', weight: 8, preemptible: false },
    { name: 'interactive', weight: 4, preemptible: false },
    { name: 'batch', weight: 1, preemptible: true },
  ],
  knobs: {
    frame_ms: 1_000,
    guardrail_window_ms: 300_000,
    wait_window_ms: 60_000,
    transitions_max: 200,
    settled_lives_max: 1_000,
    tenants_page_max: 200,
    requests_max: 200,
  },
  runbook: Object.fromEntries(RUNBOOK_KINDS.map((kind) => [kind, runbook[kind].act])),
  wait_reasons: waitReasons,
  admin: 'token',
  simulated: true,
  ...of,
})

/** A count for one edge of a chart, by its id. */
export function countsOf(name: string, of: Readonly<Record<string, number>> = {}): number[] {
  return (charts.find((one) => one.name === name)?.edges ?? []).map(({ id }) => of[id] ?? 0)
}

export const routeOf = (model: string, of: Partial<FrameRoute> = {}): FrameRoute => ({
  id: `anthropic-${model}`,
  model,
  upstream: 'anthropic',
  limit: 20,
  limit_state: 'steady',
  breaker: 'closed',
  breaker_cap: null,
  inflight: 6,
  queued: 0,
  paused_ms: 0,
  blocked_ms: 0,
  blocked: null,
  silent_ms: null,
  overdue: null,
  inflight_by_lane: { premium: 2, interactive: 3, batch: 1 },
  quota: 'q',
  buckets: { requests: null, input_tokens: null, output_tokens: null },
  reserve: 0,
  peak: 12,
  breaker_machine: { state: 'closed', since: START, counts: countsOf('breaker') },
  limit_machine: { state: 'steady', since: START, counts: countsOf('limit') },
  http_429: 0,
  http_529: 0,
  attempts: 100,
  failing: null,
  ...of,
})

let sent = 0
/** A calm one, but for what is said; each a second after the one before. */
export function frameOf(of: Partial<Frame> = {}): Frame {
  const seq = ++sent
  const lane = (name: string, weight: number, inflight: number) => ({
    name,
    weight,
    preemptible: name === 'batch',
    paused: false,
    guarantee: name === 'premium' ? 20 : 0,
    cap: 60,
    inflight,
    queued: 0,
    oldest_ms: null,
    wait_p50_ms: 3,
    wait_p95_ms: 12,
  })
  return {
    at: START + seq * 1_000,
    seq,
    uptime_ms: seq * 1_000,
    draining: false,
    emergency: false,
    bus: { kind: 'nats', connected: true },
    doors: { nats: { ready: true, reasons: [] } },
    global: { limit: 60, inflight: 18, queued: 0, backoff: 0, level: 0 },
    lanes: [lane('premium', 8, 6), lane('interactive', 4, 9), lane('batch', 1, 3)],
    routes: [routeOf('claude-sonnet-4-5'), routeOf('claude-opus-4-1')],
    tenants: [
      { tenant: 'acme', inflight: 9, queued: 2 },
      { tenant: HOSTILE, inflight: 4, queued: 0 },
    ],
    waiting: [],
    conditions: [],
    jobs: null,
    held: { requests: 18, slots: 18, probes: 0, timers: 0, replies: 0 },
    lifecycle: {
      states: { queued: 2, running: 11, forwarding: 7, backoff: 1, aborting: 0, settled: 0 },
      counts: countsOf('lifecycle'),
      flow: countsOf('lifecycle'),
    },
    rates: {
      accepted: 12,
      refused: 0,
      settled: 11,
      attempts: 12,
      retries: 0,
      preempted: 0,
      http_429: 0,
      http_529: 0,
      completed: 11,
      failed: 0,
    },
    concentration_429: { count: 0, routes: [], tenants: [] },
    guardrails: [
      { name: 'ratio_429', value: 0.001, bound: 0.02, met: true, since: START },
      { name: 'p95_e2e_ms', value: 2_400, bound: 8_000, met: true, since: START },
      { name: 'retry_amplification', value: 1.02, bound: 1.3, met: true, since: START },
    ],
    breaches: [],
    transitions: [],
    preemptions: [],
    alarms: [],
    job_moves: [],
    faults: [],
    fleet: null,
    budgets: [],
    readers: { open: 1, skipped: 0 },
    ...of,
  }
}

/** One that was overloaded, backed off, was preempted, and streamed in the end; or `id` for a hostile one. */
const lifeOf = (tenant: string, id: string): Life => ({
  tenant,
  lane: 'batch',
  id,
  model: 'claude-sonnet-4-5',
  route: 'anthropic-claude-sonnet-4-5',
  arrived_at: START,
  state: 'settled',
  stream: true,
  max_tokens: 256,
  deadline_ms: null,
  predicted_wait_ms: 20,
  outcome: 'completed',
  code: null,
  input_tokens: 40,
  output_tokens: 120,
  spans: [
    {
      kind: 'queued',
      from_ms: 0,
      to_ms: 120,
      attempt: null,
      verdict: null,
      status: null,
      reason: null,
    },
    {
      kind: 'attempt',
      from_ms: 120,
      to_ms: 480,
      attempt: 1,
      verdict: 'overloaded',
      status: 529,
      reason: 'upstream_overloaded',
    },
    {
      kind: 'backoff',
      from_ms: 480,
      to_ms: 900,
      attempt: null,
      verdict: null,
      status: null,
      reason: HOSTILE,
    },
    {
      kind: 'queued',
      from_ms: 900,
      to_ms: 950,
      attempt: null,
      verdict: null,
      status: null,
      reason: null,
    },
    {
      kind: 'attempt',
      from_ms: 950,
      to_ms: 1_300,
      attempt: 2,
      verdict: 'preempted',
      status: null,
      reason: 'someone_more_urgent',
    },
    {
      kind: 'preempted',
      from_ms: 1_300,
      to_ms: 1_300,
      attempt: null,
      verdict: null,
      status: null,
      reason: 'premium',
    },
    {
      kind: 'queued',
      from_ms: 1_300,
      to_ms: 1_400,
      attempt: null,
      verdict: null,
      status: null,
      reason: null,
    },
    {
      kind: 'attempt',
      from_ms: 1_400,
      to_ms: 3_000,
      attempt: 3,
      verdict: 'ok',
      status: 200,
      reason: null,
    },
    {
      kind: 'streaming',
      from_ms: 1_700,
      to_ms: 3_000,
      attempt: 3,
      verdict: null,
      status: null,
      reason: null,
    },
    {
      kind: 'settled',
      from_ms: 3_000,
      to_ms: 3_000,
      attempt: null,
      verdict: 'completed',
      status: null,
      reason: null,
    },
  ],
  cut: false,
})

/** Taken over once from an instance that died in a call, put back once, and then ended; times a minute apart. */
const jobLifeOf = (tenant: string, id: string): JobLife => ({
  ...{ tenant, lane: 'batch', id, state: 'ended' },
  ...{ accepted_at: START, due_at: null, deadline_at: null, ended_at: START + 240_000 },
  ...{ outcome: 'completed', attempts: 2, ambiguous: true },
  owners: [
    { instance: 'gone', since: START + 60_000, how: 'died', attempts: 1, calling: true },
    { instance: HOSTILE, since: START + 120_000, how: 'returned', attempts: 1, calling: false },
    { instance: 'fake', since: START + 180_000, how: 'ended', attempts: 2, calling: false },
  ],
})

const TENANTS: readonly TenantRow[] = Array.from({ length: 10_000 }, (_, at) => ({
  tenant: at === 7 ? HOSTILE : `tenant-${String(at).padStart(5, '0')}`,
  inflight: at % 13,
  queued: (at * 7) % 101,
  share: at / 100_000,
  settled: at,
  refused: at % 5,
  http_429: at % 3,
  tokens: at * 100,
  last_at: START,
}))

export async function fakeDashboard(): Promise<FakeDashboard> {
  const files = pageFiles()
  const feeds = new Set<ServerResponse>()
  const acts: { op: string; body: unknown }[] = []
  let hello = helloOf()
  let last: Frame | null = null
  let gone = false

  const openFeed = (response: ServerResponse): void => {
    if (gone) {
      response.writeHead(503).end()
      return
    }
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' })
    response.write(said('hello', hello))
    if (last !== null) response.write(said('frame', last))
    feeds.add(response)
    response.once('close', () => feeds.delete(response))
  }
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://fake')
    const file = files.get(url.pathname)
    if (file !== undefined) {
      response.writeHead(200, {
        'content-type': file.type,
        'content-encoding': 'br',
        'content-security-policy': POLICY,
        'cache-control': 'no-store',
      })
      response.end(file.br)
    } else if (url.pathname === '/api/feed') openFeed(response)
    else if (request.method === 'POST')
      void readAct(request).then((read) => answerAct(read, response, acts))
    else answer(url, response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    acts,
    readers: () => feeds.size,
    send(frame) {
      last = frame
      for (const one of feeds) one.write(said('frame', frame))
    },
    cut(of) {
      gone = of.gone
      for (const one of feeds) one.destroy()
    },
    back(of = {}) {
      hello = { ...hello, ...of }
      gone = false
    },
    close() {
      for (const one of feeds) one.destroy()
      server.closeAllConnections()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}

const said = (name: string, data: object): string =>
  `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`

const json = (response: ServerResponse, body: unknown, status = 200): void => {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(JSON.stringify(body))
}
const error = (type: string, message: string) => ({ type: 'error', error: { type, message } })

function answer(url: URL, response: ServerResponse): void {
  const parts = url.pathname.split('/').slice(2).map(decodeURIComponent)
  const [what, one, other] = parts
  if (what === 'history') return json(response, history(url.searchParams.get('route')))
  if (what === 'tenants' && one === undefined) return json(response, tenants(url.searchParams))
  if (what === 'tenants') {
    const row = TENANTS.find(({ tenant }) => tenant === one)
    if (row === undefined) return json(response, error('not_found_error', 'no such tenant'), 404)
    const live = [requestRow(row.tenant, 'r_live')]
    return json(response, {
      row,
      outcomes: { completed: 8, failed: 1 },
      codes: { queue_full: 2 },
      lanes: [{ name: 'batch', settled: 9 }],
      live,
      settled: [],
    })
  }
  if (what === 'jobs') return json(response, jobLifeOf(one ?? '', other ?? ''))
  if (what === 'requests' && other !== undefined) return json(response, lifeOf(one ?? '', other))
  if (what === 'requests')
    return json(response, {
      matching: 2,
      rows: [requestRow('acme', 'r_1'), requestRow(HOSTILE, HOSTILE)],
    })
  json(response, error('not_found_error', 'nothing here'), 404)
}

const requestRow = (tenant: string, id: string) => ({
  tenant,
  lane: 'batch',
  id,
  model: 'claude-sonnet-4-5',
  route: 'anthropic-claude-sonnet-4-5',
  state: 'running',
  since: START,
  arrived_at: START,
  attempts: 1,
  preemptions: 0,
  stream: true,
  waits_for: null,
})

function tenants(asked: URLSearchParams): object {
  const search = (asked.get('search') ?? '').toLowerCase()
  const sort = (asked.get('sort') ?? 'inflight') as keyof TenantRow
  const sign = asked.get('dir') === 'asc' ? 1 : -1
  const [offset, limit] = [Number(asked.get('offset') ?? 0), Number(asked.get('limit') ?? 50)]
  const found = TENANTS.filter(({ tenant }) => tenant.toLowerCase().includes(search)).toSorted(
    (a, b) => sign * (a[sort] < b[sort] ? -1 : a[sort] > b[sort] ? 1 : 0),
  )
  const rows = found.slice(offset, offset + limit)
  return { total: TENANTS.length, matching: found.length, offset, rows }
}

function history(route: string | null): History {
  const t = Array.from({ length: 300 }, (_, at) => START / 1_000 - 300 + at)
  const wave = (height: number): number[] => t.map((_, at) => height + Math.sin(at / 20) * height)
  const flat = (value: number): number[] => t.map(() => value)
  return {
    span: 'live',
    step_ms: 1_000,
    t,
    total: {
      limit: flat(60),
      inflight: wave(15),
      queued: wave(2),
      attempts: wave(6),
      settled: wave(6),
      http_429: flat(0),
      http_529: flat(0),
    },
    lanes: ['premium', 'interactive', 'batch'].map((name) => ({
      name,
      inflight: wave(5),
      queued: wave(1),
      wait_p50_ms: flat(3),
      wait_p95_ms: flat(12),
    })),
    jobs: {
      lanes: ['premium', 'interactive', 'batch'].map((name) => ({
        name,
        stored: wave(400),
        oldest_ms: flat(1_000),
      })),
      tenants: ['acme', HOSTILE].map((name) => ({ name, stored: wave(200) })),
    },
    routes: ['anthropic-claude-sonnet-4-5', 'anthropic-claude-opus-4-1'],
    route:
      route === null
        ? null
        : {
            id: route,
            limit: flat(20),
            inflight: wave(5),
            band: flat(0),
            http_429: flat(0),
            http_529: flat(0),
            requests: wave(0.5),
            input_tokens: flat(0.8),
            output_tokens: t.map(() => null),
          },
  }
}

// ---- acts ----

async function readAct(request: IncomingMessage) {
  let text = ''
  for await (const part of request) text += String(part)
  const op = (request.url ?? '').replace('/api/admin/', '')
  return { op, body: JSON.parse(text) as unknown, token: request.headers.authorization }
}

function answerAct(
  read: Awaited<ReturnType<typeof readAct>>,
  response: ServerResponse,
  acts: FakeDashboard['acts'],
): void {
  if (read.token !== `Bearer ${TOKEN}`)
    return json(
      response,
      error('authentication_error', 'expected Authorization: Bearer and the admin token'),
      401,
    )
  acts.push({ op: read.op, body: read.body })
  json(response, {})
}
