/** Since when each condition holds: kept here, so that a page that opens later tells the time at which it began.
 *  Bound: one entry for each condition that holds, or held within the last seconds; lanes, routes, quotas and
 *  upstreams are bounded by the configuration, members by the record of the fleet, budgets are 20 at most. */
import { conditionsIn, type Condition, type ConditionName } from '#contracts/conditions'
import type { Snapshot } from '#contracts/snapshot'
import type { Clock, HeadgateEvent, Millis } from '#ports'

/** How often it looks by itself, where nobody asks. */
export const CONDITIONS_CHECK_MS: Millis = 1_000

/** What comes back within this has not been away: a 429 pauses a route for seconds and comes back with the next
 *  start, a full house has an empty slot now and then, and a tenant that asks now and then is known now and then. */
const LINGER_MS: Millis = 10_000
const LINGER: ReadonlySet<ConditionName> = new Set([
  'no_answer',
  'quota_pause',
  'quota_pacing',
  'slots_used',
  'waiting',
  'budget_low',
  'budget_end',
])

/** Of these, also what is away for just this moment. */
const TOLD: ReadonlySet<ConditionName> = new Set(['quota_pause'])

interface Held {
  readonly about: Omit<Condition, 'since'>
  /** On the clock's `now`. */
  since: Millis
  lastAt: Millis
}

export interface ConditionWatch {
  /** What holds in this snapshot, with when each began. */
  read(of: Omit<Snapshot, 'conditions'>): Condition[]
  record(event: HeadgateEvent): void
  close(): void
}

export function watchConditions(of: {
  clock: Clock
  /** Made when nobody has asked for one lately; making one calls `read`. */
  snapshot: () => unknown
}): ConditionWatch {
  const { clock } = of
  const held = new Map<string, Held>()
  /** Routes on which something was heard since they fell silent. */
  const heard = new Set<string>()
  let readAt: Millis = -Infinity

  const read = (snapshot: Omit<Snapshot, 'conditions'>): Condition[] => {
    const now = clock.now()
    const before = readAt
    readAt = now
    const found = [...conditionsIn(snapshot), ...stillSilent(snapshot)]
    const offset = clock.wall() - now
    const told = found.map((about) => {
      const key = `${about.condition} ${about.about ?? ''}`
      const one = held.get(key) ?? {
        about,
        since: beganAt(about, snapshot, { now, before }),
        lastAt: now,
      }
      held.set(key, one)
      one.lastAt = now
      return { ...about, since: Math.round(one.since + offset) }
    })
    for (const [key, one] of held) {
      if (one.lastAt === now) continue
      const stays = LINGER.has(one.about.condition) ? LINGER_MS : 0
      if (now - one.lastAt >= stays) held.delete(key)
      else if (TOLD.has(one.about.condition))
        told.push({ ...one.about, since: Math.round(one.since + offset) })
    }
    return told
  }

  /** A breaker that opened because nobody answered leaves nothing in flight to be silent: it has not answered
   *  for as long as nothing was heard. */
  const stillSilent = ({ routes }: Omit<Snapshot, 'conditions'>): Omit<Condition, 'since'>[] =>
    routes.flatMap(({ id, breaker, silent_ms, overdue }) => {
      const was = held.has(`no_answer ${id}`)
      if (!was) heard.delete(id)
      return was && silent_ms === null && overdue === null && breaker !== 'closed' && !heard.has(id)
        ? [{ condition: 'no_answer' as const, about: id }]
        : []
    })

  const check = (): void => {
    cancel = clock.after(CONDITIONS_CHECK_MS, check)
    if (clock.now() - readAt >= CONDITIONS_CHECK_MS / 2) of.snapshot()
  }
  let cancel = clock.after(CONDITIONS_CHECK_MS, check)

  return {
    read,
    record(event) {
      if (event.name === 'request.forwarding') heard.add(event.data.route)
      // Of an answer there is a status; of our own ending, or of a hang, there is none.
      if (event.name === 'attempt.ended' && event.data.status !== null) heard.add(event.data.route)
    },
    close: () => cancel(),
  }
}

/** A silence says itself when it began, of an upstream or of a member. A wait began at some time since the last look, and not before it. */
function beganAt(
  { condition, about }: Omit<Condition, 'since'>,
  { routes, waiting, fleet }: Omit<Snapshot, 'conditions'>,
  { now, before }: { now: Millis; before: Millis },
): Millis {
  if (condition === 'no_answer')
    return now - Math.max(0, ...routes.map((one) => (one.id === about ? silentFor(one) : 0)))
  if (condition === 'fleet_silent')
    return now - (fleet?.members.find(({ member }) => member === about)?.heard_ms ?? 0)
  if (condition !== 'waiting') return now
  const rows = waiting.filter((one) => `${one.lane}/${one.reason}` === about)
  return Math.max(before, now - Math.max(0, ...rows.map((one) => one.oldest_ms)))
}

const silentFor = ({ silent_ms, overdue }: Snapshot['routes'][number]): Millis =>
  silent_ms ?? overdue?.oldest_ms ?? 0
