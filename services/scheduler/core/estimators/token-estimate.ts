/** Input tokens guessed from characters, and from the kinds and sizes of pictures and documents, corrected by what the
 *  upstream counted: running means of counted / guessed, one for text and one for media. Source: control laws,
 *  section 3 (characters / 3.5 and a learned ratio).
 *  Bound: a correction stays within `RATIO_MIN..RATIO_MAX`, whatever is learned. */
import { CHARS_PER_TOKEN, type Tokens } from '#contracts/units'

export interface TokenCorrection {
  /** Counted tokens per guessed token. */
  ratio: number
  /** How many answers taught it; counted up to the mean's memory. */
  samples: number
}

/** Text in escapes guesses too high, one of rare scripts too low; beyond these it is an outlier. */
export const RATIO_MIN = 0.01
export const RATIO_MAX = 20
/** The mean forgets at this pace: later samples weigh 1 / 50 each. */
export const MEMORY = 50

export const untaught: TokenCorrection = { ratio: 1, samples: 0 }

/** No model reads more: the largest context window. */
export const INPUT_TOKENS_MAX: Tokens = 1_000_000

/** A prompt, as far as its size says something. */
export interface PromptSize {
  /** Bytes of the whole body. */
  bytes: number
  /** Of them, pictures and documents; absent: none. */
  mediaBytes?: number
  /** Tokens that their kinds and sizes suggest. */
  mediaTokens?: Tokens
}

export interface InputCorrection {
  readonly text: TokenCorrection
  readonly media: TokenCorrection
}
export const untaughtInput: InputCorrection = { text: untaught, media: untaught }

/** Tokens to expect from a prompt of this size; at least one, and no more than any model reads. */
export function estimateInput(of: PromptSize, by: InputCorrection): Tokens {
  const { text, media } = guessed(of)
  const tokens = Math.round(text * by.text.ratio + media * by.media.ratio)
  return Math.min(INPUT_TOKENS_MAX, Math.max(1, tokens))
}

/** The corrections after one more answer. `counted` is all input: uncached, cache creation, cache read. What media
 *  have a part in teaches about them, and about text what has none. */
export function learnInput(of: PromptSize, counted: Tokens, by: InputCorrection): InputCorrection {
  const { text, media } = guessed(of)
  if (text + media <= 0 || counted <= 0) return by
  if (media === 0) return { text: corrected(by.text, counted / text), media: by.media }
  const rest = Math.max(0, counted - text * by.text.ratio)
  return { text: by.text, media: corrected(by.media, rest / media) }
}

const guessed = ({ bytes, mediaBytes = 0, mediaTokens = 0 }: PromptSize) => ({
  text: Math.max(0, bytes - mediaBytes) / CHARS_PER_TOKEN,
  media: mediaTokens,
})

function corrected(from: TokenCorrection, seen: number): TokenCorrection {
  const samples = Math.min(MEMORY, from.samples + 1)
  const ratio = from.ratio + (clamp(seen) - from.ratio) / samples
  return { ratio: clamp(ratio), samples }
}

const clamp = (ratio: number): number => Math.min(RATIO_MAX, Math.max(RATIO_MIN, ratio))
