/** `anthropic-ratelimit-*` as the API writes them: tokens left are rounded to thousands, `reset` is when
 *  the bucket is full, in whole seconds. */
import type { Millis } from '#contracts/units'
import type { Standing } from './quota.ts'

type Family = Standing['requests']

/** Headers of one answer, name and value in turn. */
export function quotaHeaders(standing: Standing, fast = false): string[] {
  const { requests, 'input-tokens': input, 'output-tokens': output } = standing
  const headers: string[] = []
  if (fast) {
    write(headers, 'anthropic-fast-input-tokens', thousands(input))
    write(headers, 'anthropic-fast-output-tokens', thousands(output))
    return headers
  }
  write(headers, 'anthropic-ratelimit-requests', requests)
  write(headers, 'anthropic-ratelimit-input-tokens', thousands(input))
  write(headers, 'anthropic-ratelimit-output-tokens', thousands(output))
  const both = {
    limit: input.limit + output.limit,
    remaining: input.remaining + output.remaining,
    fullAt: Math.max(input.fullAt, output.fullAt),
  }
  write(headers, 'anthropic-ratelimit-tokens', thousands(both))
  return headers
}

function write(headers: string[], name: string, family: Family): void {
  headers.push(`${name}-limit`, String(family.limit))
  headers.push(`${name}-remaining`, String(family.remaining))
  headers.push(`${name}-reset`, wholeSecond(family.fullAt))
}

const thousands = (family: Family): Family => ({
  ...family,
  remaining: Math.round(family.remaining / 1_000) * 1_000,
})

let lastSecond = -1
let lastText = ''

/** RFC 3339, rounded up: a bucket is never told full before it is. One answer names the same second
 *  several times, hence the memory of one. */
function wholeSecond(at: Millis): string {
  const second = Math.ceil(at / 1_000)
  if (second !== lastSecond) {
    lastSecond = second
    lastText = `${new Date(second * 1_000).toISOString().slice(0, 19)}Z`
  }
  return lastText
}
