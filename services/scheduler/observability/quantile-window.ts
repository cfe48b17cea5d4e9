/** Counts and quantiles of the last few minutes, in fixed memory.
 *  Source: ring of sub-windows, as in Netflix Hystrix' rolling numbers; log-linear bins as in HdrHistogram.
 *  Difference: a running total over the ring, so that reading costs one pass over the bins.
 *  Bound: a quantile is off by at most one bin, 4.4 % of its value, and a sample is forgotten between
 *  one window less one slot and one window after it came. */
import type { Millis } from '#ports'

export const SLOTS = 60

/** Which slot an instant belongs to; the slots of one window share it. */
interface Ring {
  /** Forgets what is too old. */
  turn(now: Millis, forget: (slot: number) => void): number
}

function ring(windowMs: Millis): Ring {
  const slotMs = windowMs / SLOTS
  let last = 0
  return {
    turn(now, forget) {
      const current = Math.max(last, Math.floor(now / slotMs))
      const stale = Math.min(SLOTS, current - last)
      for (let step = 0; step < stale; step++) forget((current - step) % SLOTS)
      last = current
      return current % SLOTS
    },
  }
}

/** How much of two things happened: the parts of a ratio. */
export interface RatioWindow {
  add(of: { part: number; whole: number }, now: Millis): void
  read(now: Millis): { part: number; whole: number }
}

export function ratioWindow(windowMs: Millis): RatioWindow {
  const parts = new Float64Array(SLOTS)
  const wholes = new Float64Array(SLOTS)
  const turning = ring(windowMs)
  let part = 0
  let whole = 0
  const forget = (slot: number): void => {
    part -= parts[slot] ?? 0
    whole -= wholes[slot] ?? 0
    parts[slot] = 0
    wholes[slot] = 0
  }
  return {
    add(of, now) {
      const slot = turning.turn(now, forget)
      parts[slot] = (parts[slot] ?? 0) + of.part
      wholes[slot] = (wholes[slot] ?? 0) + of.whole
      part += of.part
      whole += of.whole
    },
    read(now) {
      turning.turn(now, forget)
      return { part, whole }
    },
  }
}

/** Sixteen bins per doubling, from 1 to 2^31 (24 days in ms). */
const PER_OCTAVE = 16
const BINS = 31 * PER_OCTAVE

export interface QuantileWindow {
  add(value: number, now: Millis): void
  count(now: Millis): number
  /** The value that a share `p` of the samples does not exceed; null without samples. */
  quantile(p: number, now: Millis): number | null
}

export function quantileWindow(windowMs: Millis): QuantileWindow {
  const slots = Array.from({ length: SLOTS }, (): Uint32Array | null => null)
  const bins = new Uint32Array(BINS)
  const turning = ring(windowMs)
  let count = 0
  const forget = (slot: number): void => {
    const old = slots[slot] ?? null
    if (old === null) return
    for (let bin = 0; bin < BINS; bin++) {
      const gone = old[bin] ?? 0
      if (gone === 0) continue
      bins[bin] = (bins[bin] ?? 0) - gone
      count -= gone
    }
    slots[slot] = null
  }
  return {
    add(value, now) {
      const slot = turning.turn(now, forget)
      const bin = binOf(value)
      const own = (slots[slot] ??= new Uint32Array(BINS))
      own[bin] = (own[bin] ?? 0) + 1
      bins[bin] = (bins[bin] ?? 0) + 1
      count++
    },
    count(now) {
      turning.turn(now, forget)
      return count
    },
    quantile(p, now) {
      turning.turn(now, forget)
      if (count === 0) return null
      const rank = Math.max(1, Math.ceil(p * count))
      let below = 0
      for (let bin = 0; bin < BINS; bin++) {
        const here = bins[bin] ?? 0
        if (below + here >= rank) {
          const low = bin === 0 ? 0 : 2 ** (bin / PER_OCTAVE)
          const high = 2 ** ((bin + 1) / PER_OCTAVE)
          return low + ((high - low) * (rank - below)) / here
        }
        below += here
      }
      return null
    },
  }
}

const binOf = (value: number): number =>
  value < 1 ? 0 : Math.min(BINS - 1, Math.floor(Math.log2(value) * PER_OCTAVE))
