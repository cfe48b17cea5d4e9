/** How long the model works on a call, and how far it is at any time. */
import type { Millis, Tokens } from '#contracts/units'
import { lognormal, lognormalOfMean, type Dice } from './chance.ts'
import type { Settings } from './options.ts'
import type { Order } from './order.ts'

export interface Service {
  /** When the first byte of a stream leaves. */
  ttftMs: Millis
  /** Silence between the first byte and the first word. */
  thinkingMs: Millis
  perTokenMs: Millis
  /** Output tokens, thinking included. */
  tokens: Tokens
  /** The answer was longer than `max_tokens` allows. */
  cut: boolean
  totalMs: Millis
}

/** Spread of the time to first token: P95 is about twice the median. */
const TTFT_SIGMA = 0.4

/** Thinking takes this share of the tokens, and of the time they need. */
const THINKING_SHARE = 1 / 3

/** Draws the length and the pace of an answer; what the caller steers is not drawn. */
export function drawService(order: Order, settings: Settings, dice: Dice): Service {
  const { steer } = order
  const wanted = Number.isNaN(steer.outputTokens)
    ? lognormalOfMean(settings.outputTokens, dice)
    : steer.outputTokens
  const tokens = Math.max(1, Math.min(order.maxTokens, Math.round(wanted)))
  const cut = Math.round(wanted) > order.maxTokens
  const drawn =
    settings.ttftMs === 0 ? 0 : lognormal({ median: settings.ttftMs, sigma: TTFT_SIGMA, dice })
  const steered = !Number.isNaN(steer.serviceMs)
  const ttftMs = steered ? Math.min(drawn, steer.serviceMs / 2) : drawn
  const pace = settings.tokensPerSecond === 0 ? 0 : 1_000 / settings.tokensPerSecond
  const writingMs = steered ? steer.serviceMs - ttftMs : tokens * pace
  const share = order.thinking ? THINKING_SHARE : 0
  const thinkingMs = Number.isNaN(steer.thinkingMs) ? writingMs * share : steer.thinkingMs
  const perTokenMs = (writingMs * (1 - share)) / tokens
  const totalMs = ttftMs + thinkingMs + perTokenMs * tokens
  return { ttftMs, thinkingMs, perTokenMs, tokens, cut, totalMs }
}

/** Tokens generated `elapsed` after arrival. */
export function outputBy(service: Service, elapsed: Millis): Tokens {
  const writing = elapsed - service.ttftMs - service.thinkingMs
  if (writing < 0) return 0
  if (service.perTokenMs === 0) return service.tokens
  return Math.min(service.tokens, Math.floor(writing / service.perTokenMs + 1e-9))
}
