/** What was refused, gave up or ran out of time, told as a line that a person can act on: one for each reason and
 *  lane at once, then one for each `EVERY_MS` with how many there were and of whom.
 *  Bound: `KINDS_MAX` kinds are told apart, and of tenants the first `TENANTS_MAX` are counted by name. */
import type { Clock, HeadgateEvent, Millis, Recorder } from '#ports'
import type { Log } from '#platform/log'

export const EVERY_MS: Millis = 60_000
const KINDS_MAX = 100
const TENANTS_MAX = 1_000

/** What an operator may do about it; other codes are their caller's own. */
const ADVICE: Partial<Record<string, string>> = {
  queue_full: 'the queue is full: fewer calls, or a higher queue_max or limit',
  deadline_unreachable: 'the wait is longer than the deadlines: fewer calls, or longer deadlines',
  deadline_exceeded: 'deadlines passed: see what the calls wait for (headgate top)',
  breaker_open: 'the upstream fails, and the breaker is open',
  upstream_error: 'the upstream refused them',
}

interface Kind {
  code: string
  lane: string
  since: Millis
  count: number
  tenants: Map<string, number>
}

export function refusalLines(of: { log: Log; clock: Clock }): Recorder & { close(): void } {
  const { log, clock } = of
  const kinds = new Map<string, Kind>()
  let stop: (() => void) | null = null

  const check = (): void => {
    stop = null
    for (const [key, kind] of kinds) {
      // Told at once the first time: then only what came after it is news.
      if (kind.count === 0) kinds.delete(key)
      else tell(kind)
    }
    arm()
  }
  const arm = (): void => {
    if (kinds.size > 0) stop ??= clock.after(EVERY_MS, check)
  }
  const tell = (kind: Kind): void => {
    const [most] = [...kind.tenants].sort(([, a], [, b]) => b - a)
    const seconds = Math.max(1, Math.round((clock.now() - kind.since) / 1_000))
    const who = most === undefined ? '' : `, ${most[1]} of them of tenant ${most[0]}`
    log.info(
      `${kind.count} calls got ${kind.code} in ${seconds} s${who}: ${ADVICE[kind.code] ?? ''}`,
      { lane: kind.lane, code: kind.code },
    )
    Object.assign(kind, { since: clock.now(), count: 0, tenants: new Map() })
  }

  return {
    record(event: HeadgateEvent) {
      if (event.name !== 'request.settled') return
      const { code, lane, tenant, reason } = event.data
      if (code === null || ADVICE[code] === undefined) return
      const key = `${code} ${lane}`
      const known = kinds.get(key)
      if (known === undefined) {
        if (kinds.size >= KINDS_MAX) return
        kinds.set(key, { code, lane, since: clock.now(), count: 0, tenants: new Map() })
        log.info(`a call got ${code}: ${ADVICE[code]} (more of them are told once a minute)`, {
          ...{ lane, tenant, code, reason },
        })
        return arm()
      }
      known.count++
      const counted = known.tenants.get(tenant)
      if (counted !== undefined || known.tenants.size < TENANTS_MAX)
        known.tenants.set(tenant, (counted ?? 0) + 1)
    },
    close() {
      stop?.()
      for (const kind of kinds.values()) if (kind.count > 0) tell(kind)
      kinds.clear()
    },
  }
}
