/** What is wrong with routes and their upstreams: blocks, silence, breakers, errors, quota, limits. Pure. */
import type { Frame, FrameRoute } from '#contracts/dashboard'
import type { RunbookKind } from '#contracts/runbook'
import {
  type Finding,
  type Known,
  grouped,
  holds,
  namesOf,
  sinceOf,
  waitingOf,
  whomOf,
} from './finding.ts'
import { duration, elapsed, number, percent, plural, shortened } from './words.ts'

const BLOCK: Readonly<Record<string, { kind: RunbookKind; says: string }>> = {
  key_refused: { kind: 'key_refused', says: 'refuses the key' },
  spend_limit: {
    kind: 'spend_limit',
    says: 'says that the account has reached its spending limit',
  },
  stopped: { kind: 'account_stopped', says: 'has stopped the account' },
}

/** By upstream: an account on hold is one matter, however many models it has. */
export function blocked(of: Known): Finding[] {
  return grouped(
    of.frame.routes.filter((one) => one.blocked_ms > 0 || blockOf(one) !== null),
    (one) => one.upstream,
  ).map(([upstream, routes]) => {
    const block = routes.map(blockOf).find((one) => one !== null) ?? null
    const { kind, says } = BLOCK[block?.reason ?? 'stopped'] ?? {
      kind: 'account_stopped',
      says: 'has stopped the account',
    }
    const status = block?.status == null ? '' : ` (${block.status})`
    const testIn = Math.max(...routes.map((one) => one.blocked_ms))
    return {
      kind,
      level: 'bad',
      what: `Upstream ${shortened(upstream)} ${says}${status}`,
      since: block?.since ?? sinceOf(of, 'blocked', [upstream]),
      whom: whomOf(routes, of.frame),
      doing: `refusing its requests at once, with the reason; ${testIn > 0 ? `blocked for ${duration(testIn)} more, then one call tests it` : 'the next call tests it'}`,
    }
  })
}
/** Absent from older recordings. */
const blockOf = (route: FrameRoute): FrameRoute['blocked'] =>
  (route as Partial<FrameRoute>).blocked ?? null

const isSilent = (frame: Frame, { id, silent_ms }: FrameRoute): boolean =>
  (silent_ms as number | null | undefined) != null || holds(frame, 'no_answer', id)
/** Absent from older recordings. */
const overdueOf = (route: FrameRoute): FrameRoute['overdue'] =>
  (route as Partial<FrameRoute>).overdue ?? null

/** Nothing comes back: an open breaker is what follows, and no second matter. */
export function silent(of: Known): Finding[] {
  const { frame, now } = of
  const routes = frame.routes.filter((one) => isSilent(frame, one) && blockOf(one) === null)
  if (routes.length === 0) return []
  const ids = routes.map(({ id }) => id)
  const since = sinceOf(of, 'no_answer', ids)
  const open = routes.filter((one) => one.breaker_machine.state !== 'closed')
  const late = routes.map(overdueOf)
  const unknown = late.every((one) => one?.usual_known === false)
  const some = routes.every((one, at) => one.silent_ms === null && late[at] !== null)
  const calls = late.reduce((sum, one) => sum + (one?.calls ?? 0), 0)
  const inflight = routes.reduce((sum, one) => sum + one.inflight, 0)
  const part = some && calls < inflight ? ` to ${number(calls)} of ${number(inflight)} calls` : ''
  return [
    {
      kind: 'no_answer',
      level: unknown ? 'warn' : 'bad',
      what: `No answer from ${namesOf(routes, frame)} for ${elapsed(now - since)}${part}${unknown ? '; what is usual there is not known yet' : ''}`,
      since,
      timed: true,
      whom: whomOf(routes, frame),
      doing:
        open.length === 0
          ? 'waiting for what runs until its deadline; silence counts as a failure and opens the breaker'
          : `breaker ${open.every((one) => one.breaker_machine.state === 'open') ? 'open' : 'not closed'}: starting nothing there but a few probes; what can wait does`,
    },
  ]
}

const CAUSES: Readonly<Record<string, string>> = {
  '529': 'The upstream is overloaded (529)',
  '503': 'The upstream is overloaded (503)',
  '401': 'The upstream refuses the key (401)',
  '403': 'The upstream refuses what the key asks for (403)',
  silent: 'The upstream does not answer in time',
  connection: 'No connection to the upstream',
  broken: 'Answers of the upstream break off',
}
const causeSaid = (cause: string): string =>
  CAUSES[cause] ??
  (/^\d+$/.test(cause) ? `The upstream fails (${cause})` : 'Calls fail at the upstream')
const failingOf = (route: FrameRoute): FrameRoute['failing'] =>
  (route as Partial<FrameRoute>).failing ?? null

const BREAKER: Readonly<
  Record<
    string,
    { level: Finding['level']; is: string; doing: (routes: readonly FrameRoute[]) => string }
  >
> = {
  open: {
    level: 'bad',
    is: 'breaker open',
    doing: () => 'starting nothing there for about 15 s, then a few probes; what can wait does',
  },
  halfOpen: {
    level: 'warn',
    is: 'breaker half open',
    doing: (routes) => `letting ${plural(capOf(routes), 'probe')} try`,
  },
  probing: {
    level: 'warn',
    is: 'probes under way',
    doing: (routes) =>
      `at most ${plural(capOf(routes), 'probe')} at once; 5 successes lead back, 2 failures do not`,
  },
  ramp: {
    level: 'warn',
    is: 'recovering',
    doing: (routes) => `back in steps: at most ${plural(capOf(routes), 'attempt')} at once now`,
  },
}
const capOf = (routes: readonly FrameRoute[]): number =>
  routes.reduce((sum, one) => sum + (one.breaker_cap ?? 0), 0)

export function breakers(of: Known): Finding[] {
  const { frame } = of
  const troubled = frame.routes.filter(
    (one) =>
      one.breaker_machine.state !== 'closed' && !isSilent(frame, one) && blockOf(one) === null,
  )
  return grouped(
    troubled,
    (one) => `${one.breaker_machine.state} ${failingOf(one)?.cause ?? ''}`,
  ).map(([, routes]) => {
    const state = routes[0]?.breaker_machine.state ?? ''
    const { level, is, doing } = BREAKER[state] ?? {
      level: 'warn',
      is: `breaker ${state}`,
      doing: () => '',
    }
    const cause = routes[0] === undefined ? null : failingOf(routes[0])
    const why =
      cause === null
        ? state === 'open'
          ? 'Too many failures'
          : 'After failures'
        : causeSaid(cause.cause)
    return {
      kind: 'breaker',
      level,
      what: `${why}, ${is}: ${namesOf(routes, frame)}`,
      since: sinceOf(
        of,
        'breaker',
        routes.map(({ id }) => id),
      ),
      whom: whomOf(routes, frame),
      doing: doing(routes),
    }
  })
}

/** Where no breaker says it, or not yet. */
export function failing(of: Known): Finding[] {
  const { frame } = of
  const troubled = frame.routes.filter(
    (one) =>
      failingOf(one) !== null &&
      one.breaker_machine.state === 'closed' &&
      !isSilent(frame, one) &&
      blockOf(one) === null,
  )
  return grouped(troubled, (one) => failingOf(one)?.cause ?? '').map(([cause, routes]) => {
    const part = Math.max(...routes.map((one) => failingOf(one)?.part ?? 0))
    return {
      kind: 'failing',
      level: 'warn',
      what: `${causeSaid(cause)}: ${namesOf(routes, frame)}, ${percent(part)} of attempts fail`,
      since: Math.min(...routes.map((one) => failingOf(one)?.since ?? Infinity)),
      whom: whomOf(routes, frame),
      doing:
        'retrying within the retry budget, lowering the limit; the breaker opens if it goes on',
    }
  })
}

export function quota(of: Known): Finding[] {
  const { frame } = of
  const paused = frame.routes.filter(
    (one) => (one.paused_ms > 0 || holds(frame, 'quota_pause', one.quota)) && blockOf(one) === null,
  )
  if (paused.length === 0) return []
  const pausedMs = Math.max(...paused.map((one) => one.paused_ms))
  return [
    {
      kind: 'quota_used_up',
      level: 'warn',
      what: `Quota used up (429): ${namesOf(paused, frame)}`,
      since: sinceOf(
        of,
        'quota_pause',
        paused.map((one) => one.quota),
      ),
      whom: whomOf(paused, frame),
      doing:
        pausedMs > 0
          ? `starting nothing there for ${duration(pausedMs)}, as the upstream asked; limit and breaker stay as they are`
          : 'starting again, more slowly; limit and breaker stay as they are',
    },
  ]
}

const BUCKETS = {
  requests: 'requests',
  input_tokens: 'input tokens',
  output_tokens: 'output tokens',
} as const
type BucketName = keyof typeof BUCKETS
/** Below it, a bucket holds starts back. */
const LOW = 0.1

function lowest({ buckets }: FrameRoute): { name: BucketName; perMinute: number } | null {
  const names = Object.keys(BUCKETS) as BucketName[]
  const low = names.flatMap((name) => {
    const bucket = buckets[name]
    const empty = bucket !== null && bucket.level <= Math.max(1, LOW * bucket.burst)
    return bucket !== null && empty ? [{ name, perMinute: bucket.rate_per_minute }] : []
  })
  return low[0] ?? null
}

/** Quota that holds requests back before the upstream has to. */
export function paced(of: Known): Finding[] {
  const { frame } = of
  const slow = frame.routes.filter(
    (one) =>
      one.paused_ms === 0 &&
      one.blocked_ms === 0 &&
      one.queued > 0 &&
      lowest(one) !== null &&
      !holds(frame, 'quota_pause', one.quota),
  )
  return grouped(slow, (one) => lowest(one)?.name ?? 'requests').map(([name, routes]) => {
    const unit = BUCKETS[name as BucketName]
    const rate = routes.reduce((sum, one) => sum + (lowest(one)?.perMinute ?? 0), 0)
    return {
      kind: 'quota_pacing',
      level: 'warn',
      what: `Quota nearly used up (${unit}): ${namesOf(routes, frame)}`,
      since: sinceOf(
        of,
        'quota_pacing',
        routes.map((one) => one.quota),
      ),
      whom: whomOf(routes, frame),
      doing: `pacing starts to ${number(Math.round(rate))} ${unit} a minute, so that no 429 comes`,
    }
  })
}

/** Only where the breaker has not said it already, and somebody waits for the limit: another bound may be the
 *  lower one long since. */
export function limits(of: Known): Finding[] {
  const { frame } = of
  const rows = waitingOf(frame)
  const binds = ({ id, inflight, limit, queued }: FrameRoute): boolean =>
    (frame as Partial<Frame>).waiting === undefined
      ? queued > 0 && inflight >= limit
      : rows.some(({ route, reason }) => route === id && reason === 'route_limit')
  const lower = frame.routes.filter(
    (one) =>
      one.limit_machine.state !== 'steady' && one.breaker_machine.state === 'closed' && binds(one),
  )
  return grouped(lower, (one) => one.limit_machine.state).map(([state, routes]) => ({
    kind: state === 'held' ? 'ramp_held' : 'limit_lowered',
    level: 'warn',
    what:
      state === 'held'
        ? `Slower ramp asked for: ${namesOf(routes, frame)}`
        : `Congestion, limit lowered: ${namesOf(routes, frame)}`,
    since: Math.min(...routes.map((one) => one.limit_machine.since)),
    whom: whomOf(routes, frame),
    doing: `at most ${number(routes.reduce((sum, one) => sum + one.limit, 0))} at once, ${state === 'held' ? 'not growing for now' : 'growing again with each healthy second'}`,
  }))
}
