/** Token buckets per (organisation or key, model class) over requests, input and output tokens.
 *  Source: the API's documentation of rate limits. Refill is continuous; input is charged by estimate
 *  and corrected once counted, output as it is produced, so a bucket may go into debt.
 *  Bound: any window w admits at most burst + rate * w, plus what estimates and open answers fell short. */
import type { Millis, Tokens } from '#contracts/units'
import type { Limits } from './options.ts'

export const LIMITERS = ['requests', 'input-tokens', 'output-tokens'] as const
export type Limiter = (typeof LIMITERS)[number]

/** Who wants what. */
export interface Draw {
  quotaClass: string
  /** Names the workspace. */
  key: string
  estimatedInput: Tokens
  limits: { organization: Limits; workspace: Limits }
  now: Millis
}

export type Admission =
  | { ok: true; standing: Standing }
  | { ok: false; standing: Standing; limiter: Limiter; limit: number; retryAfterS: number }

/** The tightest view of each limiter, as of admission. */
export type Standing = Record<Limiter, { limit: number; remaining: number; fullAt: Millis }>

export interface Quota {
  admit(draw: Draw): Admission
  /** The view without drawing. */
  look(draw: Draw): Standing
  /** Tokens that became known after admission; negative gives back. */
  charge(draw: Draw, tokens: { input: Tokens; output: Tokens }): void
}

interface Bucket {
  level: number
  at: Millis
}
type Buckets = Record<Limiter, Bucket>

/** Told in place of a limit that does not exist: large enough that no caller holds back. */
export const GENEROUS: Readonly<Record<Limiter, number>> = {
  requests: 6_000_000,
  'input-tokens': 1_000_000_000,
  'output-tokens': 1_000_000_000,
}

/** Forgiven to a level that refilled to what is needed, less an error of arithmetic. */
const ROUNDING_S = 0.0005

/** Quota classes remembered; past it the oldest starts afresh. */
const CLASSES_MAX = 10_000

export function createQuota(): Quota {
  const known = new Map<string, Buckets>()

  const bucketsOf = (name: string, now: Millis): Buckets => {
    let buckets = known.get(name)
    if (buckets === undefined) {
      if (known.size >= CLASSES_MAX)
        for (const oldest of known.keys()) {
          known.delete(oldest)
          break
        }
      const full = () => ({ level: Infinity, at: now })
      buckets = { requests: full(), 'input-tokens': full(), 'output-tokens': full() }
      known.set(name, buckets)
    }
    return buckets
  }

  /** The bucket sets that a draw touches, refilled to now; those without a limit are left out. */
  const touched = (draw: Draw): { limits: Limits; buckets: Buckets }[] => {
    const { organization, workspace } = draw.limits
    const sets = []
    if (isLimited(organization)) {
      sets.push({ limits: organization, buckets: bucketsOf(draw.quotaClass, draw.now) })
    }
    if (isLimited(workspace)) {
      const name = `${draw.quotaClass} ${draw.key}`
      sets.push({ limits: workspace, buckets: bucketsOf(name, draw.now) })
    }
    for (const { limits, buckets } of sets) {
      for (const limiter of LIMITERS) refill(buckets[limiter], limits, limiter, draw.now)
    }
    return sets
  }

  return {
    admit(draw) {
      const sets = touched(draw)
      let worst = { waitS: 0, limiter: LIMITERS[0] as Limiter, limit: Infinity }
      for (const { limits, buckets } of sets) {
        for (const limiter of LIMITERS) {
          const limit = perMinute(limits, limiter)
          if (limit === Infinity) continue
          const need = Math.min(needOf(limiter, draw), burst(limits, limiter))
          const waitS = (need - buckets[limiter].level) / (limit / 60) - ROUNDING_S
          if (waitS > worst.waitS) worst = { waitS, limiter, limit }
        }
      }
      if (worst.waitS > 0) {
        const { limiter, limit, waitS } = worst
        const retryAfterS = Math.max(1, Math.ceil(waitS))
        return { ok: false, standing: standingOf(sets, draw.now), limiter, limit, retryAfterS }
      }
      for (const { buckets } of sets) {
        buckets.requests.level -= 1
        buckets['input-tokens'].level -= draw.estimatedInput
      }
      return { ok: true, standing: standingOf(sets, draw.now) }
    },
    look: (draw) => standingOf(touched(draw), draw.now),
    charge(draw, tokens) {
      for (const { buckets } of touched(draw)) {
        buckets['input-tokens'].level -= tokens.input
        buckets['output-tokens'].level -= tokens.output
      }
    },
  }
}

const isLimited = (limits: Limits): boolean =>
  limits.rpm !== undefined || limits.itpm !== undefined || limits.otpm !== undefined

const limitName = { requests: 'rpm', 'input-tokens': 'itpm', 'output-tokens': 'otpm' } as const
const perMinute = (limits: Limits, limiter: Limiter): number =>
  limits[limitName[limiter]] ?? Infinity

/** What a full bucket holds, at least one of its unit. */
const burst = (limits: Limits, limiter: Limiter): number =>
  Math.max(1, (perMinute(limits, limiter) * (limits.burstSeconds ?? 60)) / 60)

/** Output is unknown at admission: a bucket that is not empty lets the request in. */
const needOf = (limiter: Limiter, draw: Draw): number =>
  limiter === 'input-tokens' ? draw.estimatedInput : 1

function refill(bucket: Bucket, limits: Limits, limiter: Limiter, now: Millis): void {
  const limit = perMinute(limits, limiter)
  const elapsed = Math.max(0, now - bucket.at)
  bucket.at = now
  bucket.level =
    limit === Infinity
      ? Infinity
      : Math.min(burst(limits, limiter), bucket.level + (elapsed * limit) / 60_000)
}

function standingOf(sets: { limits: Limits; buckets: Buckets }[], now: Millis): Standing {
  const view = (limiter: Limiter) => {
    let tightest = { limit: GENEROUS[limiter], remaining: GENEROUS[limiter], fullAt: now }
    for (const { limits, buckets } of sets) {
      const limit = perMinute(limits, limiter)
      const level = buckets[limiter].level
      const remaining = Math.max(0, Math.floor(level))
      if (limit === Infinity || remaining >= tightest.remaining) continue
      const missing = burst(limits, limiter) - level
      tightest = { limit, remaining, fullAt: now + (missing * 60_000) / limit }
    }
    return tightest
  }
  return {
    requests: view('requests'),
    'input-tokens': view('input-tokens'),
    'output-tokens': view('output-tokens'),
  }
}
