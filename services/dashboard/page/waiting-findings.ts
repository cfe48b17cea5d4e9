/** Who waits for long, and for what. Pure. */
import type { Frame } from '#contracts/dashboard'
import { type Finding, type Known, grouped, sinceOf, waitingOf } from './finding.ts'
import { duration, listed, number, plain, plural, shortened } from './words.ts'

/** A wait that a person would ask about; batch work is meant to wait longer. */
const LONG_MS = { urgent: 3_000, preemptible: 30_000 }

export function waiting(of: Known): Finding[] {
  const { frame, now } = of
  const long = frame.lanes.filter(
    ({ oldest_ms, preemptible, paused }) =>
      !paused && (oldest_ms ?? 0) > (preemptible ? LONG_MS.preemptible : LONG_MS.urgent),
  )
  if (long.length === 0) return crowded(of)
  const oldest = Math.max(...long.map(({ oldest_ms }) => oldest_ms ?? 0))
  const names = long.map(({ name }) => name)
  const queued = long.reduce((sum, lane) => sum + lane.queued, 0)
  return [
    {
      ...held(of, names),
      kind: 'queues_long',
      level: 'warn',
      about: 'queues',
      what: `Queues are long in ${listed(names)}${whySaid(of, names)}`,
      since: now - oldest,
      whom: `${plural(queued, 'request')} waiting, the oldest for ${duration(oldest)}`,
    },
  ]
}

interface Held {
  doing: string
  act?: string
}

/** Rows of these lanes by reason, the one that holds most first. */
function reasonsIn(frame: Frame, lanes: readonly string[]) {
  const rows = waitingOf(frame).filter(({ lane }) => lanes.includes(lane))
  return grouped(rows, (one) => one.reason)
    .map(([reason, all]) => ({
      reason,
      count: all.reduce((sum, { count }) => sum + count, 0),
      most: all.toSorted((a, b) => b.count - a.count)[0],
    }))
    .toSorted((a, b) => b.count - a.count)
}

/** What holds most of them, with its number. */
function whySaid(of: Known, lanes: readonly string[]): string {
  const [first] = reasonsIn(of.frame, lanes)
  if (first === undefined) return ''
  return `: ${meansOf(of, first.reason)}${numbersOf(first.most)}`
}

function numbersOf(row: Frame['waiting'][number] | undefined): string {
  if (row === undefined) return ''
  const said = [
    row.tenant === null ? '' : `tenant ${shortened(row.tenant, 28)}`,
    // Of what is shut altogether the number says nothing.
    row.bound === null || row.bound === 0 ? '' : number(row.bound),
    row.until_ms === null ? '' : `${duration(Math.max(1_000, row.until_ms))} more`,
  ].filter((part) => part !== '')
  return said.length === 0 ? '' : ` (${said.join(', ')})`
}

const meansOf = ({ hello }: Known, reason: string): string =>
  hello?.wait_reasons?.[reason]?.means ?? plain(reason)

/** How many each bound holds, and what can be done about the first. */
export function held(of: Known, lanes: readonly string[]): Held {
  const reasons = reasonsIn(of.frame, lanes)
  const [first] = reasons
  if (first === undefined)
    return {
      doing: 'serving lanes by weight and guarantee as far as limits and quota of the routes allow',
    }
  const counts = reasons.map(({ reason, count }) => `${number(count)} by ${plain(reason)}`)
  const act = of.hello?.wait_reasons?.[first.reason]?.act
  return {
    doing: `serving lanes by weight and guarantee, within a lane each tenant in turn; held: ${listed(counts)}`,
    ...(act == null ? {} : { act }),
  }
}

/** From this part of the slots on, a queue is more than a moment's. */
const CROWD = 0.25

/** Nobody has waited long yet. */
function crowded(of: Known): Finding[] {
  const { inflight, limit, queued } = of.frame.global
  if (inflight < limit || queued < limit * CROWD) return []
  return [
    {
      kind: 'queues_long',
      level: 'warn',
      about: 'queues',
      what: 'Every slot is in use',
      since: sinceOf(of, 'slots_used'),
      whom: `${plural(queued, 'request')} waiting`,
      doing:
        'serving lanes by weight and guarantee, within a lane each tenant in turn; batch yields to the urgent',
    },
  ]
}
