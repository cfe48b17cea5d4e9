/** The three guardrails (docs/requirements.md, R20), watched over a sliding window. A breach
 *  alarms and changes no control value (control laws, section 2).
 *
 *  429 ratio: upstream answers with status 429, over attempts ended.
 *  P95 end to end: acceptance to final reply, queue wait included, of lanes that are not preemptible. Counts
 *  what ended by our doing or the upstream's: not what was refused at the door, cancelled, or deferred.
 *  Retry amplification: attempts over requests that had one, of the requests that settled in the window;
 *  a settled request's attempts do not count preempted ones, so restarts are excluded. */
import type { Clock, HeadgateEvent, Millis, Recorder } from '#ports'
import { quantileWindow, ratioWindow, type QuantileWindow } from './quantile-window.ts'

export type GuardrailName = 'ratio_429' | 'p95_e2e_ms' | 'retry_amplification'

export interface GuardrailSettings {
  window_seconds: number
  min_samples: number
  ratio_429: number
  p95_e2e_ms: number
  retry_amplification: number
}

export interface GuardrailReading {
  name: GuardrailName
  /** Over the samples there are; 0 without any. */
  value: number
  bound: number
  samples: number
  /** False: enough samples, and they say so. Fewer say nothing. */
  met: boolean
}

export interface Guardrails {
  note(event: HeadgateEvent, now: Millis): void
  readings(now: Millis): readonly GuardrailReading[]
  /** What was breached or recovered since the last call. */
  changes(now: Millis): readonly GuardrailReading[]
  /** 95th percentile of the queue wait, by lane, over five minutes; lanes without a sample are left out. */
  queueWaitP95(now: Millis): ReadonlyMap<string, number>
}

/** Contract: `queue_wait_ms_p95` is over five minutes, whatever the guardrails' own window. */
export const QUEUE_WAIT_WINDOW_MS: Millis = 300_000

export function guardrails(of: {
  settings: GuardrailSettings
  /** The configured lanes; events of any other are not watched. */
  lanes: readonly { name: string; preemptible: boolean }[]
}): Guardrails {
  const { settings } = of
  const windowMs = settings.window_seconds * 1_000
  const answers = ratioWindow(windowMs)
  const starts = ratioWindow(windowMs)
  const ends = quantileWindow(windowMs)
  const urgent = new Set(of.lanes.filter((lane) => !lane.preemptible).map((lane) => lane.name))
  const waits = new Map<string, QuantileWindow>(
    of.lanes.map((lane) => [lane.name, quantileWindow(QUEUE_WAIT_WINDOW_MS)]),
  )
  const breached = new Set<GuardrailName>()

  const reading = (name: GuardrailName, value: number, samples: number): GuardrailReading => {
    const bound = settings[name]
    return { name, value, bound, samples, met: samples < settings.min_samples || value < bound }
  }
  const readings = (now: Millis): GuardrailReading[] => {
    const { part: throttled, whole: attempts } = answers.read(now)
    const { part: made, whole: requests } = starts.read(now)
    return [
      reading('ratio_429', attempts === 0 ? 0 : throttled / attempts, attempts),
      reading('p95_e2e_ms', Math.round(ends.quantile(0.95, now) ?? 0), ends.count(now)),
      reading('retry_amplification', requests === 0 ? 0 : made / requests, requests),
    ]
  }

  return {
    note(event, now) {
      switch (event.name) {
        case 'attempt.ended':
          answers.add({ part: event.data.status === 429 ? 1 : 0, whole: 1 }, now)
          return
        case 'request.dispatched':
          // A retry's wait is back-off, not the queue's doing; one that was preempted queues again.
          if (event.data.attempt === 1)
            waits.get(event.data.lane)?.add(event.data.queue_ms - own(event.data), now)
          return
        case 'request.settled': {
          const { lane, attempts, total_ms, queue_ms } = event.data
          if (attempts > 0) starts.add({ part: attempts, whole: 1 }, now)
          else if (queue_ms > 0) waits.get(lane)?.add(queue_ms - own(event.data), now)
          if (urgent.has(lane) && wasAccepted(event.data)) ends.add(total_ms - own(event.data), now)
          return
        }
      }
    },
    readings,
    changes(now) {
      return readings(now).filter((one) => {
        if (one.met) return breached.delete(one.name)
        if (breached.has(one.name)) return false
        breached.add(one.name)
        return true
      })
    },
    queueWaitP95(now) {
      const found = new Map<string, number>()
      for (const [lane, window] of waits) {
        const value = window.quantile(0.95, now)
        if (value !== null) found.set(lane, value)
      }
      return found
    },
  }
}

/** A tenant that waits as it is configured to says nothing of the house. */
const own = ({ own_wait_ms: ms = 0 }: { own_wait_ms?: number | undefined }): number => ms

/** A request dropped from the queue was accepted; one refused at the door never waited. */
const wasAccepted = (of: { outcome: string; queue_ms: number; attempts: number }): boolean =>
  of.outcome === 'completed' ||
  of.outcome === 'failed' ||
  of.outcome === 'expired' ||
  (of.outcome === 'refused' && (of.queue_ms > 0 || of.attempts > 0))

export const GUARDRAIL_CHECK_MS: Millis = 1_000

/** Feeds a monitor and tells of its changes as events, once a second. */
export function watchGuardrails(of: {
  /** Asked for each event, so that a new configuration may bring a new monitor. */
  monitor: () => Guardrails
  emit: Recorder
  clock: Clock
}): Recorder & { close(): void } {
  const check = (): void => {
    for (const { name, met, value, bound } of of.monitor().changes(of.clock.now()))
      of.emit.record({ name: 'guardrail', at: of.clock.wall(), data: { name, met, value, bound } })
    cancel = of.clock.after(GUARDRAIL_CHECK_MS, check)
  }
  let cancel = of.clock.after(GUARDRAIL_CHECK_MS, check)
  return {
    record: (event) => of.monitor().note(event, of.clock.now()),
    close: () => cancel(),
  }
}
