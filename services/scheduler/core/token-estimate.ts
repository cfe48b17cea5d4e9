/** Input tokens guessed from characters, corrected by what the upstream counted: a running mean of
 *  counted / guessed. Source: control laws, section 3 (characters / 3.5 and a learned ratio).
 *  Bound: the correction stays within `RATIO_MIN..RATIO_MAX`, whatever is learned. */
import { CHARS_PER_TOKEN, type Tokens } from '#contracts/units'

export interface TokenCorrection {
  /** Counted tokens per guessed token. */
  ratio: number
  /** How many answers taught it; counted up to the mean's memory. */
  samples: number
}

/** A body of pictures guesses far too high, one of rare scripts too low; beyond these it is an outlier. */
export const RATIO_MIN = 0.2
export const RATIO_MAX = 5
/** The mean forgets at this pace: later samples weigh 1 / 50 each. */
const MEMORY = 50

export const untaught: TokenCorrection = { ratio: 1, samples: 0 }

/** Tokens to expect from so many characters; at least one. */
export function estimateInput(of: { chars: number; correction: TokenCorrection }): Tokens {
  return Math.max(1, Math.round((of.chars / CHARS_PER_TOKEN) * of.correction.ratio))
}

/** The correction after one more answer. `counted` is all input: uncached, cache creation, cache read. */
export function learnInput(of: {
  chars: number
  counted: Tokens
  correction: TokenCorrection
}): TokenCorrection {
  if (of.chars <= 0 || of.counted <= 0) return of.correction
  const seen = clamp(of.counted / (of.chars / CHARS_PER_TOKEN))
  const samples = Math.min(MEMORY, of.correction.samples + 1)
  const ratio = of.correction.ratio + (seen - of.correction.ratio) / samples
  return { ratio: clamp(ratio), samples }
}

const clamp = (ratio: number): number => Math.min(RATIO_MAX, Math.max(RATIO_MIN, ratio))
