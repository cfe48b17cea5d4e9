/** History as columns that grow: learnt from the server, then fed by frames; or all of a recording's. */
import { BAND_OF, BANDS } from './bands.ts'
import type { Frame, FrameRoute, History } from '#contracts/dashboard'

export interface Series {
  history(): History | null
  learn(history: History): void
  /** Adds a frame's point; false: frames are missing, learn again. */
  add(frame: Frame): boolean
  forget(): void
}

type Column = (number | null)[]
type Bucket = FrameRoute['buckets']['requests']

/** Columns are cut to it. */
const POINTS_MAX = 900
const GAP_STEPS = 5

export function series(): Series {
  let kept: History | null = null
  let last: Frame | null = null
  return {
    history: () => kept,
    learn(history) {
      kept = history
      last = null
    },
    add(frame) {
      if (kept === null || kept.span !== 'live') return true
      const t = frame.at / 1_000
      const newest = kept.t.at(-1) ?? 0
      if (newest > 0 && t - newest > GAP_STEPS) return false
      if (t <= newest) return true
      push(kept, { t, frame, before: last })
      last = frame
      return true
    },
    forget() {
      kept = null
      last = null
    },
  }
}

/** All frames of a recording as one history of one route. */
export function historyOf(frames: readonly Frame[], route: string | null): History {
  const made = empty(frames[0], route)
  let before: Frame | null = null
  for (const frame of frames) {
    const t = frame.at / 1_000
    if (t <= (made.t.at(-1) ?? 0)) continue
    push(made, { t, frame, before, most: Infinity })
    before = frame
  }
  return made
}

function empty(frame: Frame | undefined, route: string | null): History {
  const column = (): Column => []
  return {
    span: 'live',
    step_ms: 1_000,
    t: [],
    total: {
      limit: column(),
      inflight: column(),
      queued: column(),
      attempts: column(),
      settled: column(),
      http_429: column(),
      http_529: column(),
    },
    lanes: (frame?.lanes ?? []).map(({ name }) => ({
      name,
      inflight: column(),
      queued: column(),
      wait_p50_ms: column(),
      wait_p95_ms: column(),
    })),
    jobs: { lanes: [], tenants: [] },
    routes: (frame?.routes ?? []).map(({ id }) => id),
    route:
      route === null
        ? null
        : {
            id: route,
            limit: column(),
            inflight: column(),
            band: column(),
            http_429: column(),
            http_529: column(),
            requests: column(),
            input_tokens: column(),
            output_tokens: column(),
          },
  }
}

function push(
  to: History,
  of: { t: number; frame: Frame; before: Frame | null; most?: number },
): void {
  const { frame, before, most = POINTS_MAX } = of
  const add = (column: Column, value: number | null): void => {
    column.push(value)
    if (column.length > most) column.shift()
  }
  add(to.t, of.t)
  const { global, rates } = frame
  add(
    to.total.limit,
    frame.routes.reduce((sum, { limit }) => sum + limit, 0),
  )
  add(to.total.inflight, global.inflight)
  add(to.total.queued, global.queued)
  for (const name of ['attempts', 'settled', 'http_429', 'http_529'] as const)
    add(to.total[name], rates[name])
  for (const column of to.lanes) {
    const lane = frame.lanes.find(({ name }) => name === column.name)
    add(column.inflight, lane?.inflight ?? null)
    add(column.queued, lane?.queued ?? null)
    add(column.wait_p50_ms, lane?.wait_p50_ms ?? null)
    add(column.wait_p95_ms, lane?.wait_p95_ms ?? null)
  }
  if (to.route !== null) pushRoute(to.route, { frame, before, add })
}

function pushRoute(
  to: NonNullable<History['route']>,
  of: { frame: Frame; before: Frame | null; add: (column: Column, value: number | null) => void },
): void {
  const { frame, before, add } = of
  const find = (from: Frame | null): FrameRoute | undefined =>
    from?.routes.find(({ id }) => id === to.id)
  const [now, then] = [find(frame), find(before)]
  const seconds = before === null ? 1 : Math.max(1, (frame.at - before.at) / 1_000)
  const rate = (name: 'http_429' | 'http_529'): number | null =>
    now === undefined || then === undefined ? null : Math.max(0, now[name] - then[name]) / seconds
  add(to.limit, now?.limit ?? null)
  add(to.inflight, now?.inflight ?? null)
  add(
    to.band,
    now === undefined ? null : BANDS.indexOf(BAND_OF[now.breaker_machine.state] ?? 'closed'),
  )
  add(to.http_429, rate('http_429'))
  add(to.http_529, rate('http_529'))
  for (const name of ['requests', 'input_tokens', 'output_tokens'] as const)
    add(to[name], filled(now?.buckets[name] ?? null))
}

const filled = (bucket: Bucket): number | null =>
  bucket === null || bucket.burst <= 0 ? null : bucket.level / bucket.burst
