/** What one instance of a fleet tells the others, as the loop says and hears it. */
import type { Effect } from '#core/model/effects'
import type { Input, RouteControl } from '#core/model/inputs'
import type { Millis, Verdict } from '#ports'
import type { RouteNews } from './route-controllers.ts'

export type FleetNews =
  | RouteNews
  /** A 429 has paused a quota for so long. */
  | { kind: 'paused'; quota: string; forMs: Millis }
  /** An account is stopped, or its key is refused. */
  | { kind: 'blocked'; upstream: string; status: number | null; spendLimit: boolean; cause: string }

export function newsOf(
  effect: Extract<Effect, { type: 'quota-paused' | 'upstream-blocked' }>,
  now: Millis,
): FleetNews {
  if (effect.type === 'quota-paused')
    return { kind: 'paused', quota: effect.quota.name, forMs: effect.until - now }
  const { status, cause, spendLimit = false } = effect.by
  return { kind: 'blocked', upstream: effect.upstream.name, status, spendLimit, cause }
}

/** What the core must be told of it; null: it does not concern us. */
export function inputOf(
  news: FleetNews,
  now: Millis,
  hear: (news: RouteNews) => RouteControl | null,
): Input | null {
  switch (news.kind) {
    case 'paused':
      return { type: 'peer-paused', quota: news.quota, until: now + news.forMs }
    case 'blocked':
      return { type: 'peer-blocked', upstream: news.upstream, by: stopped(news) }
    default: {
      const control = hear(news)
      return control === null ? null : { type: 'control', control }
    }
  }
}

const stopped = (news: Extract<FleetNews, { kind: 'blocked' }>): Verdict => ({
  kind: 'key_stop',
  status: news.status,
  errorType: null,
  cause: news.cause,
  retryAfterMs: null,
  requestId: null,
  usage: null,
  ttftMs: null,
  mayHaveRun: false,
  spendLimit: news.spendLimit,
  rate: null,
  body: null,
})
