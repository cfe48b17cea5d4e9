/** Is queue wait inflating? Compares each lane's P95 with what it was some minutes before. */
import type { Frame, History } from '#contracts/dashboard'

export interface LaneTrend {
  lane: string
  nowMs: number | null
  /** Median of the P95s from `FROM_MS` to `TO_MS` ago, or of the first that are known; null: none. */
  beforeMs: number | null
  /** `rising` only where a person would notice. */
  moves: 'rising' | 'falling' | 'level' | 'unknown'
}

export interface Trend {
  lanes(frame: Frame): LaneTrend[]
  /** What was before the page came. */
  learn(history: History): void
  note(frame: Frame): void
  forget(): void
}

const FROM_MS = 900_000
const TO_MS = 180_000
const YOUNG_MS = 10_000
const YOUNG_SAMPLES = 3
/** One sample in so long is enough for a median. */
const STEP_MS = 5_000
const NOTICED_MS = 250
const FACTOR = 1.5

interface Sample {
  at: number
  p95: number
}

export function waitTrend(): Trend {
  const kept = new Map<string, Sample[]>()
  const add = (lane: string, sample: Sample): void => {
    const samples = kept.get(lane) ?? []
    kept.set(lane, samples)
    const last = samples.at(-1)
    if (last !== undefined && sample.at - last.at < STEP_MS) return
    samples.push(sample)
    while (samples[0] !== undefined && samples[0].at < sample.at - FROM_MS) samples.shift()
  }
  const before = (lane: string, now: number): number | null => {
    const all = kept.get(lane) ?? []
    const then = all.filter(({ at }) => at >= now - FROM_MS && at <= now - TO_MS)
    // A young page compares with the first it knew.
    const first = all.filter(({ at }) => at <= now - YOUNG_MS).slice(0, YOUNG_SAMPLES)
    return median((then.length > 0 ? then : first).map(({ p95 }) => p95))
  }
  return {
    lanes: (frame) =>
      frame.lanes.map(({ name, wait_p95_ms: nowMs }) => {
        const beforeMs = before(name, frame.at)
        return { lane: name, nowMs, beforeMs, moves: moved(nowMs, beforeMs) }
      }),
    learn(history) {
      kept.clear()
      for (const lane of history.lanes)
        for (const [index, p95] of lane.wait_p95_ms.entries())
          if (p95 !== null) add(lane.name, { at: (history.t[index] ?? 0) * 1_000, p95 })
    },
    note(frame) {
      for (const lane of frame.lanes)
        if (lane.wait_p95_ms !== null) add(lane.name, { at: frame.at, p95: lane.wait_p95_ms })
    },
    forget: () => kept.clear(),
  }
}

function moved(now: number | null, before: number | null): LaneTrend['moves'] {
  if (now === null || before === null) return 'unknown'
  if (now > before * FACTOR && now - before > NOTICED_MS) return 'rising'
  if (before > now * FACTOR && before - now > NOTICED_MS) return 'falling'
  return 'level'
}

function median(values: readonly number[]): number | null {
  if (values.length === 0) return null
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? null
}
