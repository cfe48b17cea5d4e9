/** The upstream's account of its token buckets, from `anthropic-ratelimit-*`, and those of fast mode and of
 *  committed capacity. The values are as of the
 *  attempt's admission, so they are stale by its duration; `reset` says when a bucket is full, not when
 *  one may go on, and the combined `tokens` family repeats the other two: neither is read. */
import type { RateFamily, RateHeaders } from '#contracts/verdict'

/** Response headers as undici gives them: names in lower case. */
export type HeaderRecord = Readonly<Record<string, string | string[] | undefined>>

const USUAL = 'anthropic-ratelimit-'
const FAST = 'anthropic-fast-'
const PRIORITY = 'anthropic-priority-'

/** Null when none of the three families is there. `fast`: those of fast mode, which are counted apart. */
export function rateHeaders(headers: HeaderRecord, fast = false): RateHeaders | null {
  const of = fast ? FAST : USUAL
  const requests = family(headers, `${of}requests`)
  const inputTokens = family(headers, `${of}input-tokens`)
  const outputTokens = family(headers, `${of}output-tokens`)
  const priority = fast ? null : priorityHeaders(headers)
  if (requests === null && inputTokens === null && outputTokens === null && priority === null)
    return null
  return {
    requests: requests ?? ABSENT,
    inputTokens: inputTokens ?? ABSENT,
    outputTokens: outputTokens ?? ABSENT,
    ...(priority === null ? {} : { priority }),
  }
}

function priorityHeaders(headers: HeaderRecord): NonNullable<RateHeaders['priority']> | null {
  const inputTokens = family(headers, `${PRIORITY}input-tokens`)
  const outputTokens = family(headers, `${PRIORITY}output-tokens`)
  if (inputTokens === null || outputTokens === null) return null
  return { inputTokens, outputTokens }
}

/** Whether the answer speaks of rate limits at all, in whichever family. */
export function hasRateHeaders(headers: HeaderRecord): boolean {
  for (const name in headers)
    if (name.startsWith(USUAL) || name.startsWith(FAST) || name.startsWith(PRIORITY)) return true
  return false
}

/** One header's text; a repeated one is the list of its values. */
export function headerText(headers: HeaderRecord, name: string): string | null {
  const value = headers[name]
  if (value === undefined) return null
  return typeof value === 'string' ? value : value.join(', ')
}

/** The upstream's id of its answer. */
export const requestIdOf = (headers: HeaderRecord): string | null =>
  headerText(headers, 'request-id')?.split(',')[0]?.trim() ?? null

const ABSENT: RateFamily = { limit: null, remaining: null }

function family(headers: HeaderRecord, name: string): RateFamily | null {
  const limit = count(headerText(headers, `${name}-limit`))
  const remaining = count(headerText(headers, `${name}-remaining`))
  return limit === null && remaining === null ? null : { limit, remaining }
}

/** Of a repeated one the first. */
function count(text: string | null): number | null {
  const first = text?.split(',')[0]
  return first !== undefined && /^\s*\d{1,15}\s*$/.test(first) ? Number(first) : null
}
