/** Which names have a label of their own: the busiest `max`, the rest are `other`.
 *  Source: Misra and Gries 1982 (frequent items in bounded memory), for those without a label.
 *  Difference: those with a label are counted exactly and are given up only to a name at least twice as busy
 *  over a whole period, so that series do not flicker. First come, first named, while there is room.
 *  Bound: 2 x max names in memory; a name with more than 1/(max + 1) of the unnamed traffic of a period is
 *  never missed; O(1) per count, amortised. */
import type { Millis } from '#ports'

export const OTHER = 'other'
export const PERIOD_MS: Millis = 60_000

export interface Busiest {
  /** Counts one use and says the label. */
  count(name: string, now: Millis): string
  /** The label, without counting. */
  label(name: string): string
}

export function busiest(of: {
  max: () => number
  /** A name lost its label: its series should go. */
  onDrop: (name: string) => void
}): Busiest {
  const named = new Map<string, number>()
  const candidates = new Map<string, number>()
  let periodEnds = -Infinity

  const consider = (name: string): void => {
    const seen = candidates.get(name)
    if (seen !== undefined) candidates.set(name, seen + 1)
    else if (candidates.size < of.max()) candidates.set(name, 1)
    else
      for (const [one, count] of candidates)
        if (count === 1) candidates.delete(one)
        else candidates.set(one, count - 1)
  }

  const turn = (now: Millis): void => {
    periodEnds = now + PERIOD_MS
    const idle = [...named].sort((a, b) => a[1] - b[1])
    const rising = [...candidates].sort((a, b) => b[1] - a[1])
    let surplus = named.size - of.max()
    for (const [name, count] of idle) {
      const next = rising[0]
      const yields = next !== undefined && next[1] >= 2 * Math.max(1, count)
      if (surplus <= 0 && !yields) break
      named.delete(name)
      of.onDrop(name)
      if (surplus-- > 0 || next === undefined) continue
      named.set(next[0], next[1])
      rising.shift()
    }
    for (const name of named.keys()) named.set(name, 0)
    candidates.clear()
  }

  return {
    count(name, now) {
      if (now >= periodEnds) turn(now)
      const used = named.get(name)
      if (used !== undefined) {
        named.set(name, used + 1)
        return name
      }
      if (named.size < of.max()) {
        named.set(name, 1)
        return name
      }
      consider(name)
      return OTHER
    },
    label: (name) => (named.has(name) ? name : OTHER),
  }
}
