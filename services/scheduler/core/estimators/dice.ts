/** The chance that core consumes: retry jitter and open-time jitter, nothing else. */
export interface Dice {
  /** Uniform in [0, 1). */
  next(): number
}

/** mulberry32 (Tommy Ettinger): 32 bits of state, enough for jitter, equal on every machine. */
export function seededDice(seed: number): Dice {
  let state = seed >>> 0
  return {
    next() {
      state = (state + 0x6d2b79f5) >>> 0
      let mixed = Math.imul(state ^ (state >>> 15), state | 1)
      mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
    },
  }
}
