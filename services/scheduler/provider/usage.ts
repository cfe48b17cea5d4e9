/** What an attempt used, as the upstream counted it. Whatever stands between may leave counts out, or write them as
 *  text: what is no count is none, and none makes a bill smaller than nothing. */
import type { Hop, TokenCounts, Usage } from '#contracts/verdict'
import { CHARS_PER_TOKEN } from '#contracts/units'
import { field } from './json-fields.ts'

/** Reads a `usage` object over what was known before: a stream repeats only what has changed, and its
 *  counts are cumulative. Null when nothing was or is known. */
export function readUsage(usage: unknown, before: Usage | null): Usage | null {
  if (typeof usage !== 'object' || usage === null || Array.isArray(usage)) return before
  const read: Usage = countsOf(usage, before)
  for (const [key, name] of WORDS) {
    const said = word(field(usage, name)) ?? before?.[key]
    if (said !== undefined) read[key] = said
  }
  const searches =
    count(field(usage, 'server_tool_use'), 'web_search_requests') ?? before?.webSearches
  if (searches !== undefined) read.webSearches = searches
  const hops = hopsOf(field(usage, 'iterations')) ?? before?.hops
  if (hops !== undefined && areWhole(hops, read)) read.hops = hops
  return read
}

/** How it was served, by the names of the API. */
const WORDS = [
  ['tier', 'service_tier'],
  ['speed', 'speed'],
  ['place', 'inference_geo'],
] as const

/** Bytes of a `content_block_delta` around its text. */
const DELTA_FRAME_BYTES = 80

/** The output of a stream that ended before the upstream counted it: guessed from what was delivered. */
export function withDelivered(of: {
  usage: Usage | null
  deltas: number
  deltaBytes: number
}): Usage | null {
  const { usage } = of
  if (usage === null) return null
  const chars = Math.max(0, of.deltaBytes - of.deltas * DELTA_FRAME_BYTES)
  const guessed = Math.ceil(chars / CHARS_PER_TOKEN) - usage.outputTokens
  if (guessed <= 0) return usage
  return { ...usage, outputTokens: usage.outputTokens + guessed, guessedTokens: guessed }
}

function countsOf(usage: object, before: TokenCounts | null): TokenCounts {
  const split = field(usage, 'cache_creation')
  const hour = count(split, 'ephemeral_1h_input_tokens') ?? before?.cacheCreation1hTokens ?? 0
  const minutes = count(split, 'ephemeral_5m_input_tokens') ?? 0
  const written = count(usage, 'cache_creation_input_tokens') ?? before?.cacheCreationTokens ?? 0
  return {
    inputTokens: count(usage, 'input_tokens') ?? before?.inputTokens ?? 0,
    // The parts may be told without their sum.
    cacheCreationTokens: Math.max(written, hour + minutes),
    ...(hour > 0 ? { cacheCreation1hTokens: hour } : {}),
    cacheReadTokens: count(usage, 'cache_read_input_tokens') ?? before?.cacheReadTokens ?? 0,
    outputTokens: count(usage, 'output_tokens') ?? before?.outputTokens ?? 0,
  }
}

/** More of them are no list that somebody could check. */
const HOPS_MAX = 256

/** Undefined: there is no list. */
function hopsOf(iterations: unknown): readonly Hop[] | undefined {
  if (!Array.isArray(iterations) || iterations.length > HOPS_MAX) return undefined
  return iterations
    .filter((one): one is object => typeof one === 'object' && one !== null)
    .map((one): Hop => ({ ...countsOf(one, null), model: word(field(one, 'model')) ?? null }))
}

/** A list that leaves out what stands above it is no bill. */
const areWhole = (hops: readonly Hop[], all: TokenCounts): boolean =>
  hops.length > 0 &&
  SUMMED.every((kind) => hops.reduce((sum, hop) => sum + hop[kind], 0) >= all[kind])

const SUMMED = ['inputTokens', 'cacheCreationTokens', 'cacheReadTokens', 'outputTokens'] as const

/** Null: it is none. */
function count(of: unknown, name: string): number | null {
  const value = field(of, name)
  const number = typeof value === 'string' && DIGITS.test(value) ? Number(value) : value
  if (typeof number !== 'number' || !(number >= 0 && number <= COUNT_MAX)) return null
  return Math.round(number)
}

const DIGITS = /^\d{1,15}$/
const COUNT_MAX = 1e15

const word = (value: unknown): string | undefined =>
  typeof value === 'string' && WORD.test(value) ? value : undefined

/** A name, and nothing that somebody wrote. */
const WORD = /^[A-Za-z0-9][A-Za-z0-9_.:@/-]{0,127}$/
