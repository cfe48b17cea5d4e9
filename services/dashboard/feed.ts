/** What the dashboard's page reads: fed by events and a snapshot a second, read as one stream and a few
 *  questions. Per event a handful of look-ups; all else once a second, or when somebody asks. */
import { charts as drawn } from '#contracts/charts'
import {
  FRAME_MS,
  historyQuery,
  REQUESTS_MAX,
  requestsQuery,
  TENANTS_PAGE_MAX,
  tenantsQuery,
  type Frame,
  type Hello,
  type RequestsPage,
} from '#contracts/dashboard'
import type { HeadgateEvent } from '#contracts/events'
import type { RequestState } from '#contracts/outcome'
import type { Snapshot } from '#contracts/snapshot'
import { Dials } from './dials.ts'
import { Frames, type MachineView } from './frames.ts'
import { HistoryRings } from './history.ts'
import { Lives, SETTLED_MAX } from './lives.ts'
import { Readers, type Reader } from './readers.ts'
import { Tallies, TRANSITIONS_MAX, WAIT_WINDOW_MS, type QuantileWindow } from './tallies.ts'
import { Tenants, type TenantLoad } from './tenants.ts'

export { pageFiles, type PageFile, type PageFiles } from './page-files.ts'
export type { Reader } from './readers.ts'

/** What wire hands in. */
export interface FeedOptions {
  instance: string
  version: string
  clock: { now(): number; wall(): number; after(ms: number, call: () => void): () => void }
  snapshot: () => Snapshot
  /** Where each route's machines stand. */
  machines: () => ReadonlyMap<string, { breaker: MachineView; limit: MachineView }>
  /** Moves of the request lifecycle by edge, in the order of its chart. */
  lifecycleCounts: () => readonly number[]
  requests: (of: {
    state: RequestState | null
    route: string | null
    tenant: string | null
    limit: number
  }) => RequestsPage
  /** Those that have something queued or in flight. */
  loads: () => Iterable<TenantLoad>
  quantiles: (windowMs: number) => QuantileWindow
  guardrailWindowMs: () => number
  admin: Hello['admin']
  /** Null: the upstream is not simulated. */
  faults: (() => Frame['faults']) | null
}

/** An answer to a question, as JSON text. */
export interface Said {
  status: number
  body: string
}
type Query = Readonly<Record<string, unknown>>

export interface Feed {
  record(event: HeadgateEvent): void
  /** False: too many readers. Sends hello and the last frame. */
  connect(reader: Reader): boolean
  disconnect(reader: Reader): void
  history(query: Query): Said
  tenants(query: Query): Said
  tenant(name: string): Said
  requests(query: Query): Said
  request(tenant: string, id: string): Said
  close(): void
}

/** At most so many of a tenant's requests stand on its page. */
const TENANT_REQUESTS_MAX = 50
/** Answers that cost a walk over all tenants are kept this long, at most so many. */
const KEPT_FOR_MS = 1_000
const KEPT_MAX = 16

export function feed(of: FeedOptions): Feed {
  const { clock } = of
  const startedAt = Math.round(clock.wall())
  const tallies = new Tallies(of.quantiles)
  const lives = new Lives()
  const tenants = new Tenants()
  const rings = new HistoryRings()
  const readers = new Readers()
  const dials = new Dials({
    startedAt,
    culprits: (what) => tallies.culprits(what, clock.now()),
  })
  const frames = new Frames({ ...of, tallies, dials, readers })
  const kept = keptAnswers(() => clock.now())
  let last: Uint8Array | null = null

  const tick = (): void => {
    cancel = clock.after(FRAME_MS, tick)
    const frame = frames.next()
    rings.add(frames.second(frame))
    last = null
    if (readers.open > 0) readers.send((last = sse('frame', frame)))
  }
  let cancel = clock.after(FRAME_MS, tick)

  const hello = (): Hello => ({
    instance: of.instance,
    version: of.version,
    started_at: startedAt,
    at: Math.round(clock.wall()),
    charts: drawn.map(({ mermaid: _, config: __, ...chart }) => chart),
    lanes: of
      .snapshot()
      .lanes.map(({ name, weight, preemptible }) => ({ name, weight, preemptible })),
    knobs: {
      frame_ms: FRAME_MS,
      guardrail_window_ms: of.guardrailWindowMs(),
      wait_window_ms: WAIT_WINDOW_MS,
      transitions_max: TRANSITIONS_MAX,
      settled_lives_max: SETTLED_MAX,
      tenants_page_max: TENANTS_PAGE_MAX,
      requests_max: REQUESTS_MAX,
    },
    admin: of.admin,
    simulated: of.faults !== null,
  })

  return {
    record(event) {
      const now = clock.now()
      tallies.note(event, now)
      tenants.note(event, now)
      if (event.name === 'guardrail') dials.note(event.data, Math.round(event.at))
      else if ('id' in event.data) lives.note(event as Parameters<Lives['note']>[0])
    },
    connect(reader) {
      const first = kept('hello', () => new TextDecoder().decode(sse('hello', hello())))
      const frame = frames.last()
      if (frame !== null) last ??= sse('frame', frame)
      return readers.add(reader, joined(encode(first), last))
    },
    disconnect: (reader) => readers.remove(reader),
    history(query) {
      const read = historyQuery.safeParse(query)
      if (!read.success) return wrong('expected span=live or span=day, and a route')
      const { span, route = null } = read.data
      return fine(
        kept(`history ${span} ${route ?? ''}`, () => JSON.stringify(rings.read(span, route))),
      )
    },
    tenants(query) {
      const read = tenantsQuery.safeParse(query)
      if (!read.success)
        return wrong(`expected sort, dir, offset and limit (to ${TENANTS_PAGE_MAX}), and a search`)
      const asked = read.data
      return fine(
        kept(`tenants ${JSON.stringify(asked)}`, () =>
          JSON.stringify(tenants.page(asked, of.loads(), clock.now())),
        ),
      )
    },
    tenant(name) {
      let load: TenantLoad | undefined
      for (const one of of.loads()) if (one.name === name) load = one
      const page = tenants.one(name, load, clock.now())
      if (page === null) return missing('no tenant of this name is known')
      const asked = { state: null, route: null, tenant: name, limit: TENANT_REQUESTS_MAX }
      const live = of.requests(asked).rows
      const settled = lives.settledOf(name, TENANT_REQUESTS_MAX)
      return fine(JSON.stringify({ ...page, live, settled }))
    },
    requests(query) {
      const read = requestsQuery.safeParse(query)
      if (!read.success)
        return wrong(`expected a state, a route, a tenant and a limit (to ${REQUESTS_MAX})`)
      const { state = null, route = null, tenant = null, limit } = read.data
      return fine(JSON.stringify(of.requests({ state, route, tenant, limit })))
    },
    request(tenant, id) {
      const life = lives.life(tenant, id, clock.wall())
      return life === null
        ? missing(`this request is not kept; the last ${SETTLED_MAX} settled ones are`)
        : fine(JSON.stringify(life))
    },
    close() {
      cancel()
      readers.endAll()
    },
  }
}

// ---- small servants ----

const encoder = new TextEncoder()
const encode = (text: string): Uint8Array => encoder.encode(text)

/** JSON has no line breaks of its own, so one data line holds it. */
const sse = (name: string, data: unknown): Uint8Array =>
  encode(`event: ${name}\ndata: ${JSON.stringify(data)}\n\n`)

const joined = (a: Uint8Array, b: Uint8Array | null): Uint8Array =>
  b === null ? a : Buffer.concat([a, b])

const fine = (body: string): Said => ({ status: 200, body })
const wrong = (message: string): Said => said(400, 'invalid_request_error', message)
const missing = (message: string): Said => said(404, 'not_found_error', message)
const said = (status: number, type: string, message: string): Said => ({
  status,
  body: JSON.stringify({ type: 'error', error: { type, message } }),
})

/** Texts that are made at most once a second, however many ask. */
function keptAnswers(now: () => number): (key: string, make: () => string) => string {
  const all = new Map<string, { text: string; until: number }>()
  return (key, make) => {
    const at = now()
    const known = all.get(key)
    if (known !== undefined && at < known.until) return known.text
    const text = make()
    all.delete(key)
    if (all.size >= KEPT_MAX) {
      const [oldest] = all.keys()
      if (oldest !== undefined) all.delete(oldest)
    }
    all.set(key, { text, until: at + KEPT_FOR_MS })
    return text
  }
}
