/** What `headgate record` writes, requests and no frames, as frames that the page can play: who waited, who ran,
 *  what ended how. Limits, breakers and quotas are in no such file, and none are shown. Pure.
 *  Bound: `ROWS_MAX` requests, `FRAMES_MAX` frames; of a longer recording each frame stands for more seconds. */
import type { Chart, Frame, FrameLane, Hello } from '#contracts/dashboard'
import type { RecordedRequest, RecordingHeader } from '#contracts/recording'

const ROWS_MAX = 1_000_000
const FRAMES_MAX = 20_000
const SECOND_MS = 1_000
const BUSIEST = 20

/** Its frames are made of requests: what a scheduler says of itself is missing. */
export type Rebuilt = Frame & { rebuilt: true }
export const isRebuilt = (frame: Frame): boolean => (frame as Partial<Rebuilt>).rebuilt === true

/** Null: another kind of file. */
export const requestHeader = (value: Record<string, unknown>): RecordingHeader | null =>
  value['headgate'] === 'recording' ? (value as unknown as RecordingHeader) : null

const NUMBERS = ['at_ms', 'queue_ms', 'upstream_ms', 'total_ms', 'attempts'] as const
const TEXTS = ['tenant', 'lane', 'outcome'] as const

/** Null: no request. */
export function requestOf(value: Record<string, unknown>): RecordedRequest | null {
  const whole =
    NUMBERS.every((name) => Number.isFinite(value[name]) && Number(value[name]) >= 0) &&
    TEXTS.every((name) => typeof value[name] === 'string')
  return whole ? (value as unknown as RecordedRequest) : null
}

export function tooMany(rows: readonly RecordedRequest[]): boolean {
  return rows.length >= ROWS_MAX
}

export function framesOf(
  rows: readonly RecordedRequest[],
  header: RecordingHeader,
  charts: readonly Chart[],
): { hello: Hello; frames: Frame[] } {
  const started = Date.parse(header.started ?? '')
  const startedAt = Number.isNaN(started) ? 0 : started
  const lastMs = rows.reduce((most, row) => Math.max(most, row.at_ms + row.total_ms), 0)
  const seconds = Math.max(1, Math.ceil(lastMs / SECOND_MS / FRAMES_MAX))
  const stepMs = seconds * SECOND_MS
  const lanes = [...new Set(rows.map(({ lane }) => lane))].sort()
  const at = (ms: number): number => Math.floor(ms / stepMs)
  const steps = Array.from({ length: at(lastMs) + 1 }, emptyStep)
  for (const row of rows) {
    const ran = row.attempts > 0 && row.upstream_ms > 0
    const endMs = row.at_ms + row.total_ms
    steps[at(row.at_ms)]?.arrived.push(row)
    if (ran) steps[at(Math.min(endMs, row.at_ms + row.queue_ms))]?.began.push(row)
    steps[at(endMs)]?.ended.push(row)
  }
  const now = new Standing(lanes)
  const frames = steps.map((step, index) => {
    now.pass(step)
    return now.frame({ step, seq: index + 1, at: startedAt + (index + 1) * stepMs, seconds })
  })
  for (const frame of frames) frame.global.limit = Math.max(1, now.peak)
  return { hello: helloOf(lanes, startedAt, charts), frames }
}

interface Step {
  arrived: RecordedRequest[]
  began: RecordedRequest[]
  ended: RecordedRequest[]
}
const emptyStep = (): Step => ({ arrived: [], began: [], ended: [] })

interface Load {
  queued: number
  inflight: number
}

/** Who waits and who runs, step by step. */
class Standing {
  peak = 0
  readonly #lanes: ReadonlyMap<string, Load>
  readonly #tenants = new Map<string, Load>()
  readonly #running = new Set<RecordedRequest>()
  readonly #waiting = new Set<RecordedRequest>()

  constructor(lanes: readonly string[]) {
    this.#lanes = new Map(lanes.map((name) => [name, { queued: 0, inflight: 0 }]))
  }

  pass({ arrived, began, ended }: Step): void {
    for (const row of arrived) {
      this.#waiting.add(row)
      this.#count(row, { queued: 1, inflight: 0 })
    }
    for (const row of began) {
      this.#waiting.delete(row)
      this.#running.add(row)
      this.#count(row, { queued: -1, inflight: 1 })
    }
    this.peak = Math.max(this.peak, this.#running.size)
    for (const row of ended) {
      if (this.#running.delete(row)) this.#count(row, { queued: 0, inflight: -1 })
      else if (this.#waiting.delete(row)) this.#count(row, { queued: -1, inflight: 0 })
    }
  }

  frame(of: { step: Step; seq: number; at: number; seconds: number }): Rebuilt {
    const { step, seq, at, seconds } = of
    const ends = (...outcomes: string[]): number =>
      step.ended.filter(({ outcome }) => outcomes.includes(outcome)).length
    const rate = (count: number): number => Math.round(count / seconds)
    const attempts = step.ended.reduce((sum, row) => sum + row.attempts, 0)
    const tried = step.ended.filter((row) => row.attempts > 0).length
    const [queued, inflight] = [this.#waiting.size, this.#running.size]
    return {
      rebuilt: true,
      at,
      seq,
      uptime_ms: seq * seconds * SECOND_MS,
      draining: false,
      emergency: false,
      bus: { kind: 'nats', connected: true },
      doors: {},
      global: { limit: 1, inflight, queued, backoff: 0, level: 0 },
      lanes: [...this.#lanes].map(([name, load]) => laneOf(name, load, step)),
      routes: [],
      tenants: [...this.#tenants]
        .map(([tenant, load]) => ({ tenant, ...load }))
        .toSorted((a, b) => b.inflight + b.queued - (a.inflight + a.queued))
        .slice(0, BUSIEST),
      waiting: [],
      conditions: [],
      jobs: null,
      job_moves: [],
      held: { requests: queued + inflight, slots: inflight, probes: 0, timers: 0, replies: 0 },
      lifecycle: {
        states: { queued, running: inflight, forwarding: 0, backoff: 0, aborting: 0, settled: 0 },
        counts: [],
        flow: [],
      },
      rates: {
        accepted: rate(step.arrived.length),
        refused: rate(ends('refused')),
        settled: rate(step.ended.length),
        attempts: rate(attempts),
        retries: rate(attempts - tried),
        preempted: 0,
        http_429: 0,
        http_529: 0,
        completed: rate(ends('completed')),
        failed: rate(ends('failed', 'expired')),
      },
      concentration_429: { count: 0, routes: [], tenants: [] },
      guardrails: [],
      breaches: [],
      transitions: [],
      preemptions: [],
      alarms: [],
      faults: [],
      fleet: null,
      budgets: [],
      readers: { open: 0, skipped: 0 },
    }
  }

  #count({ lane, tenant }: RecordedRequest, by: Load): void {
    const one = this.#tenants.get(tenant) ?? { queued: 0, inflight: 0 }
    this.#tenants.set(tenant, one)
    for (const load of [this.#lanes.get(lane), one]) {
      if (load === undefined) continue
      load.queued += by.queued
      load.inflight += by.inflight
    }
    if (one.queued + one.inflight === 0) this.#tenants.delete(tenant)
  }
}

/** Waits of those that began in this step. */
function laneOf(name: string, load: Load, { began }: Step): FrameLane {
  const waits = began
    .filter(({ lane }) => lane === name)
    .map(({ queue_ms }) => queue_ms)
    .sort((a, b) => a - b)
  const quantile = (p: number): number | null =>
    waits[Math.min(waits.length - 1, Math.floor(p * waits.length))] ?? null
  return {
    name,
    weight: 1,
    preemptible: false,
    paused: false,
    guarantee: 0,
    cap: 0,
    ...load,
    oldest_ms: null,
    wait_p50_ms: quantile(0.5),
    wait_p95_ms: quantile(0.95),
  }
}

const helloOf = (lanes: readonly string[], startedAt: number, charts: readonly Chart[]): Hello => ({
  instance: 'recorded requests',
  version: 'rebuilt',
  started_at: startedAt,
  at: startedAt,
  charts: [...charts],
  lanes: lanes.map((name) => ({ name, weight: 1, preemptible: false })),
  knobs: {
    frame_ms: SECOND_MS,
    guardrail_window_ms: 0,
    wait_window_ms: SECOND_MS,
    transitions_max: 0,
    settled_lives_max: 0,
    tenants_page_max: 0,
    requests_max: 0,
  },
  runbook: {},
  wait_reasons: {},
  admin: 'off',
  simulated: false,
})
