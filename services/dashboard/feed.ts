/** What the dashboard's page reads: fed by events and a snapshot a second, read as one stream and a few
 *  questions. Per event a handful of look-ups; all else once a second, or when somebody asks. */
import { charts as drawn } from '#contracts/generated/charts'
import {
  FRAME_MS,
  REQUESTS_MAX,
  TENANTS_PAGE_MAX,
  type Frame,
  type Hello,
  type JobLife,
  type RequestsPage,
} from '#contracts/dashboard'
import type { HeadgateEvent } from '#contracts/events'
import type { RequestState } from '#contracts/outcome'
import { runbook, RUNBOOK_KINDS } from '#contracts/runbook'
import type { Snapshot } from '#contracts/snapshot'
import { waitReasons } from '#contracts/waiting'
import type { WholeFleet } from '#contracts/whole-fleet'
import { Dials } from './dials.ts'
import { Frames, type MachineView } from './frames.ts'
import { HistoryRings } from './history.ts'
import { Lives, SETTLED_MAX } from './lives.ts'
import { questions, type Questions } from './questions.ts'
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
  /** What is stored of a durable job; null: nothing. Null itself: none are kept. */
  job: ((tenant: string, id: string) => Promise<JobLife | null>) | null
  /** What all members of the fleet do just now; null: this instance works alone. */
  fleet: (() => Promise<WholeFleet>) | null
  quantiles: (windowMs: number) => QuantileWindow
  guardrailWindowMs: () => number
  admin: Hello['admin']
  /** Null: the upstream is not simulated. */
  faults: (() => Frame['faults']) | null
  /** A frame that could not be made: the scheduler goes on without it. */
  onError: (error: unknown) => void
}

export interface Feed extends Questions {
  record(event: HeadgateEvent): void
  /** False: too many readers. Sends hello and the last frame. */
  connect(reader: Reader): boolean
  disconnect(reader: Reader): void
  close(): void
}

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
    try {
      const frame = frames.next()
      rings.add(frames.second(frame))
      last = null
      if (readers.open > 0) readers.send((last = encode(sse('frame', frame))))
    } catch (error) {
      of.onError(error)
    }
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
    runbook: Object.fromEntries(RUNBOOK_KINDS.map((kind) => [kind, runbook[kind].act])),
    wait_reasons: waitReasons,
    admin: of.admin,
    simulated: of.faults !== null,
  })

  return {
    record(event) {
      const now = clock.now()
      tallies.note(event, now)
      tenants.note(event, now)
      if (event.name === 'guardrail') dials.note(event.data, Math.round(event.at))
      else if ('id' in event.data && !event.name.startsWith('job.'))
        lives.note(event as Parameters<Lives['note']>[0])
    },
    connect(reader) {
      const first = encode(kept('hello', () => sse('hello', hello())))
      const frame = frames.last()
      if (frame !== null) last ??= encode(sse('frame', frame))
      return readers.add(reader, joined(first, last))
    },
    disconnect: (reader) => readers.remove(reader),
    ...questions({ ...of, lives, tenants, rings, kept }),
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
const sse = (name: string, data: unknown): string =>
  `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`

const joined = (a: Uint8Array, b: Uint8Array | null): Uint8Array =>
  b === null ? a : Buffer.concat([a, b])

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
