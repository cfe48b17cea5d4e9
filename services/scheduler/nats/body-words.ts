/** What is read of a body, and how one that does not fit is told. */
import { MODEL_SHAPE } from '#contracts/ids'
import type { Media } from './body-media.ts'

export type ScannedBody =
  | {
      ok: true
      model: string
      maxTokens: number | null
      stream: boolean
      media: Media
      mayAct: boolean
      /** `speed` and `service_tier` as they stand there; '': something else than a text; null: nothing. */
      speed: string | null
      tier: string | null
    }
  /** `known`: what could be seen all the same; null where it is no JSON. */
  | { ok: false; problem: string; known: { model: string | null; stream: boolean } | null }

export interface ScanLimits {
  /** Objects and lists that stand open together. */
  depthMax: number
  /** Members of all objects and lists together. */
  valuesMax: number
}

/** As the knobs `limits.json_depth` and `limits.json_values` have them. */
export const SCAN_LIMITS: ScanLimits = { depthMax: 256, valuesMax: 1_000_000 }

/** What a value turned out to be. */
export type Kind = 'object' | 'list' | 'text' | 'number' | 'true' | 'false' | 'null'

export const MODEL_EXPECTED = 'model: expected a string'
export const MODEL_PROBLEM = `model: expected ${MODEL_SHAPE}`
export const MESSAGES_EXPECTED = 'messages: expected a list of at least one message'
export const NOUNS: Record<Kind, string> = {
  object: 'an object',
  list: 'a list',
  text: 'a string',
  number: 'a number',
  true: 'true',
  false: 'false',
  null: 'null',
}

export function unfitNumber(value: number): string {
  if (value < 0) return 'below 0'
  return Number.isInteger(value) ? `above ${Number.MAX_SAFE_INTEGER}` : 'no whole number'
}
