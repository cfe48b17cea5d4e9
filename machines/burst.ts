/** Which of the last verdicts make a burst, and whose it is (control-laws §8). A ratio over recent verdicts, not one
 *  error; and none where those who are refused share something while others are answered. Pure. */
import type { Millis } from '#contracts/units'

export const RING = 20
export const RECENT: Millis = 10_000
export const BURST = { throttles: 4, fewFrom: 5, ofLast: 5, fewThrottles: 2 }
/** The throttles of those who share something are their own affair while so many of the last answers were good ones to others. */
export const OTHERS = { last: 16, well: 5 }

/** The last verdicts, oldest first: when, negative for a throttle; and what those have in common whose throttles are
 *  among them. */
export interface Ring {
  readonly ring: readonly number[]
  readonly throttled: readonly Traits[]
}

/** A good answer: to whom, when. */
export type Answered = readonly [to: Traits, at: Millis]

/** What an attempt may share with others: its tenant, a beta, a size of prompt. */
export type Traits = readonly string[]

/** Where callers are not told apart. */
export const NOBODY: Traits = []

/** Only one tenant, beta or size of prompt meets it: what it is refused for is not the route's load. */
export function isOwn(
  throttled: readonly Traits[],
  answered: readonly Answered[],
  at: Millis,
): boolean {
  const [first = NOBODY] = throttled
  return first.some((trait) => {
    if (throttled.some((one) => !one.includes(trait))) return false
    const well = answered.filter(([to, when]) => at - when <= RECENT && !to.includes(trait))
    return well.length >= OTHERS.well
  })
}

export interface Lately {
  recent: number
  throttles: number
  /** Among the last `BURST.ofLast`. */
  lastThrottles: number
}

export const isBurst = ({ recent, throttles, lastThrottles }: Lately): boolean =>
  throttles >= BURST.throttles ||
  (recent >= BURST.fewFrom && recent < RING && lastThrottles >= BURST.fewThrottles)

export function lately(ring: readonly number[], at: Millis): Lately {
  let recent = 0
  let throttles = 0
  let lastThrottles = 0
  for (let i = ring.length - 1; i >= 0; i--) {
    const one = ring[i]!
    if (at - Math.abs(one) > RECENT) break
    recent++
    if (one >= 0) continue
    throttles++
    if (recent <= BURST.ofLast) lastThrottles++
  }
  return { recent, throttles, lastThrottles }
}

export const stamp = (at: Millis): number => Math.max(1, at)

/** One more in the ring, and one fewer when it is full; a throttle with its tenant. */
export function pushed({ ring, throttled }: Ring, one: number, traits = NOBODY): Ring {
  const own = one < 0 ? [...throttled, traits] : throttled
  if (ring.length < RING) return { ring: [...ring, one], throttled: own }
  const next = ring.slice()
  for (let i = 1; i < RING; i++) next[i - 1] = next[i]!
  next[RING - 1] = one
  return { ring: next, throttled: ring[0]! < 0 ? own.slice(1) : own }
}
