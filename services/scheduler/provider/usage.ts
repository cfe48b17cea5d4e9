/** What an attempt used, as the upstream counted it. */
import type { Usage } from '#contracts/verdict'
import { CHARS_PER_TOKEN } from '#contracts/units'
import { field } from './json-fields.ts'

/** Reads a `usage` object over what was known before: a stream repeats only what has changed, and its
 *  counts are cumulative. Null when nothing was or is known. */
export function readUsage(usage: unknown, before: Usage | null): Usage | null {
  if (typeof usage !== 'object' || usage === null) return before
  return {
    inputTokens: count(usage, 'input_tokens') ?? before?.inputTokens ?? 0,
    cacheCreationTokens:
      count(usage, 'cache_creation_input_tokens') ?? before?.cacheCreationTokens ?? 0,
    cacheReadTokens: count(usage, 'cache_read_input_tokens') ?? before?.cacheReadTokens ?? 0,
    outputTokens: count(usage, 'output_tokens') ?? before?.outputTokens ?? 0,
  }
}

/** Bytes of a `content_block_delta` around its text. */
const DELTA_FRAME_BYTES = 80

/** The output of a stream that ended before the upstream counted it: guessed from what was delivered. */
export function withDelivered(of: {
  usage: Usage | null
  deltas: number
  deltaBytes: number
}): Usage | null {
  if (of.usage === null) return null
  const chars = Math.max(0, of.deltaBytes - of.deltas * DELTA_FRAME_BYTES)
  const delivered = Math.ceil(chars / CHARS_PER_TOKEN)
  return { ...of.usage, outputTokens: Math.max(of.usage.outputTokens, delivered) }
}

function count(usage: object, name: string): number | null {
  const value = field(usage, name)
  return typeof value === 'number' && value >= 0 ? value : null
}
