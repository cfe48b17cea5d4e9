/** A dashboard's feed with a hand on everything that it reads. */
import type { Frame, Hello } from '#contracts/dashboard'
import type { FleetNow, JobsNow, Snapshot } from '#contracts/snapshot'
import { feed, type Feed, type FeedOptions, type Reader } from '#dashboard'
import { quantileWindow } from '../../services/scheduler/observability/quantile-window.ts'
import { snapshotOf } from '../../services/scheduler/compose/snapshot.ts'
import { LoopWorld } from './loop-world.ts'
import { manualClock, type ManualClock } from './manual-clock.ts'

/** A reader that takes everything, unless told not to. */
export class Page implements Reader {
  readonly got: Uint8Array[] = []
  busy = false
  ended = false

  ready(): boolean {
    return !this.busy
  }

  send(bytes: Uint8Array): void {
    this.got.push(bytes)
  }

  end(): void {
    this.ended = true
  }

  messages(): { name: string; data: unknown }[] {
    const text = this.got.map((bytes) => new TextDecoder().decode(bytes)).join('')
    return [...text.matchAll(/^event: (\w+)\ndata: ([^\n]*)\n\n/gm)].map(
      ([, name = '', data = '']) => ({
        name,
        data: JSON.parse(data) as unknown,
      }),
    )
  }

  frames(): Frame[] {
    return this.messages().flatMap(({ name, data }) => (name === 'frame' ? [data as Frame] : []))
  }

  hello(): Hello {
    return this.messages().find(({ name }) => name === 'hello')?.data as Hello
  }
}

export const stillSnapshot = (of: Partial<Snapshot> = {}): Snapshot => ({
  instance: 'one',
  version: '0',
  at: '2026-01-01T00:00:00.000Z',
  uptime_ms: 0,
  draining: false,
  emergency: false,
  config_refused: false,
  bus: { kind: 'memory', connected: true },
  conditions: [],
  jobs: null,
  fleet: null,
  budgets: [],
  doors: {},
  global: { limit: 10, inflight: 0, queued: 0, backoff: 0, level: 0 },
  lanes: [],
  routes: [],
  tenants: [],
  waiting: [],
  requests_by_state: {
    queued: 0,
    running: 0,
    forwarding: 0,
    backoff: 0,
    aborting: 0,
    settled: 0,
  },
  guardrails: [],
  held: { requests: 0, slots: 0, probes: 0, timers: 0, replies: 0 },
  ...of,
})

/** Durable jobs of which there are none. */
export const stillJobs = (of: Partial<JobsNow> = {}): JobsNow => ({
  stored: 0,
  oldest_ms: null,
  states: { delayed: 0, stored: 0, waiting: 0, calling: 0, settling: 0, elsewhere: 0 },
  lanes: [],
  tenants: [],
  counts: {
    ...{ accepted: 0, ended: 0, taken_over: 0, returned: 0 },
    ...{ ambiguous: 0, late_results: 0, dead: 0, store_errors: 0 },
  },
  dead: { kept: 0, last_at: null },
  store: {
    ...{ reachable: true, full: false, bytes: 0, bytes_max: null },
    ...{ looked_at: 0, last_error: null },
  },
  ...of,
})

/** A fleet of this one alone, in step. */
export const stillFleet = (of: Partial<FleetNow> = {}): FleetNow => ({
  ...{ member: 'one', whole: 10, lapses: 0, lapsed: false, usable: 10, name_taken: null },
  ...{ trouble: null, at: 0 },
  members: [stillMember({ own: true })],
  ...of,
})

export const stillMember = (
  of: Partial<FleetNow['members'][number]> = {},
): FleetNow['members'][number] => ({
  ...{ member: 'one', instance: 'i-one', version: '0', standing: 'alive', own: false },
  ...{ share: 10, want: 0, inflight: 0, heard_ms: 0, config_differs: false },
  ...of,
})

/** Alone, on a clock that moves when told. */
export function fed(of: Partial<FeedOptions> = {}): { feed: Feed; clock: ManualClock; page: Page } {
  const clock = manualClock()
  const made = feed({
    instance: 'one',
    version: '0',
    clock,
    snapshot: () => stillSnapshot(),
    machines: () => new Map(),
    lifecycleCounts: () => [],
    requests: () => ({ matching: 0, rows: [] }),
    loads: () => [],
    job: null,
    fleet: null,
    quantiles: quantileWindow,
    guardrailWindowMs: () => 300_000,
    admin: 'off',
    faults: null,
    onError(error) {
      throw error
    },
    ...of,
  })
  const page = new Page()
  made.connect(page)
  return { feed: made, clock, page }
}

/** Over a real loop with real machines. */
export function fedByLoop(of: Omit<ConstructorParameters<typeof LoopWorld>[0], 'onEvent'>): {
  world: LoopWorld
  feed: Feed
  page: Page
} {
  let into: Feed | null = null
  const world = new LoopWorld({ ...of, onEvent: (event) => into?.record(event) })
  const { clock, loop } = world
  const made = fed({
    clock,
    snapshot: () =>
      snapshotOf({
        loop,
        guardrails: [],
        clock,
        instance: 'one',
        version: '0',
        startedAt: 0,
        bus: { kind: 'memory', connected: true },
        conditions: () => [],
      }),
    machines: () => loop.machines(),
    lifecycleCounts: () => loop.lifecycleCounts(),
    requests: (asked) => loop.requests(asked),
    loads: () => loop.state.active,
  })
  into = made.feed
  return { world, feed: made.feed, page: made.page }
}

/** A route at rest, as a snapshot has it. */
export const stillRoute = (
  id: string,
  of: Partial<Snapshot['routes'][number]> = {},
): Snapshot['routes'][number] => ({
  id,
  model: id,
  upstream: 'default',
  limit: 10,
  limit_state: 'steady',
  breaker: 'closed',
  breaker_cap: null,
  inflight: 0,
  queued: 0,
  paused_ms: 0,
  blocked_ms: 0,
  blocked: null,
  silent_ms: null,
  overdue: null,
  inflight_by_lane: {},
  quota: id,
  buckets: { requests: null, input_tokens: null, output_tokens: null },
  reserve: 0,
  peak: 10,
  ...of,
})
