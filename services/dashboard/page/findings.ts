/** What is wrong, in words: what, since when, for whom, and what Headgate does about it. Pure. */
import type { Frame, FrameRoute } from '#contracts/dashboard'
import { routeName, toneOf, type View } from './view.ts'
import { duration, listed, number, percent, plain, plural, shortened } from './words.ts'

export interface Finding {
  level: 'warn' | 'bad'
  /** Said so that it is not said twice. */
  about?: 'queues'
  what: string
  /** Wall time; null: nobody knows. */
  since: number | null
  whom: string
  doing: string
}

type Known = Pick<View, 'frame' | 'now' | 'seenSince'>

/** Worst first. */
export function findings(of: Known): Finding[] {
  const found = [
    ...service(of),
    ...blocked(of),
    ...breakers(of),
    ...quota(of),
    ...paced(of),
    ...guardrails(of),
    ...limits(of),
    ...waiting(of),
    ...acts(of),
    ...faults(of),
    ...alarms(of),
  ]
  return [
    ...found.filter((one) => one.level === 'bad'),
    ...found.filter((one) => one.level === 'warn'),
  ]
}

export function calm({ global, rates }: Frame): string {
  const rate = rates.settled === 0 ? '' : `, ${number(rates.settled)} answered in the last second`
  const waits = global.queued === 0 ? 'nothing waits' : `${number(global.queued)} wait their turn`
  return `All is well: ${number(global.inflight)} of ${number(global.limit)} slots in use, ${waits}${rate}`
}

function service({ frame, seenSince }: Known): Finding[] {
  const found: Finding[] = []
  if (!frame.bus.connected)
    found.push({
      level: 'bad',
      what: 'The connection to NATS is lost',
      since: seenSince('bus'),
      whom: 'everybody: no request comes in and no answer goes out',
      doing: 'connecting again; what runs goes on, answers wait for the line',
    })
  if (frame.draining)
    found.push({
      level: 'warn',
      what: 'Headgate is draining',
      since: seenSince('draining'),
      whom: 'new and queued requests',
      doing: `refusing them with draining; ${plural(frame.global.inflight, 'attempt')} may still end`,
    })
  if (frame.global.level > 0)
    found.push({
      level: frame.global.level >= 3 ? 'bad' : 'warn',
      what: `Overloaded: degradation level ${frame.global.level} of 3`,
      since: seenSince(`level ${frame.global.level}`),
      whom: `${plural(frame.global.queued, 'request')} in queues`,
      doing:
        frame.global.level >= 3
          ? 'shedding what can least use an answer'
          : 'giving lesser answers where that was allowed',
    })
  return found
}

/** By upstream: an account on hold is one matter, however many models it has. */
function blocked(of: Known): Finding[] {
  return grouped(
    of.frame.routes.filter((one) => one.blocked_ms > 0),
    (one) => one.upstream,
  ).map(([upstream, routes]) => ({
    level: 'bad',
    what: `Upstream ${upstream} has refused the account (spending limit, hold, or payment)`,
    since: of.seenSince(`blocked ${upstream}`),
    whom: whomOf(routes, of.frame),
    doing: `refusing its requests at once for ${duration(Math.max(...routes.map((one) => one.blocked_ms)))} more, then trying again`,
  }))
}

const BREAKER: Readonly<
  Record<
    string,
    { level: Finding['level']; is: string; doing: (routes: readonly FrameRoute[]) => string }
  >
> = {
  open: {
    level: 'bad',
    is: 'Too many failures, breaker open',
    doing: () => 'starting nothing there for about 15 s, then a few probes; what can wait does',
  },
  halfOpen: {
    level: 'warn',
    is: 'After failures, breaker half open',
    doing: (routes) => `letting ${plural(capOf(routes), 'probe')} try`,
  },
  probing: {
    level: 'warn',
    is: 'After failures, probes under way',
    doing: (routes) =>
      `at most ${plural(capOf(routes), 'probe')} at once; 5 successes lead back, 2 failures do not`,
  },
  ramp: {
    level: 'warn',
    is: 'Recovering',
    doing: (routes) => `back in steps: at most ${plural(capOf(routes), 'attempt')} at once now`,
  },
}
const capOf = (routes: readonly FrameRoute[]): number =>
  routes.reduce((sum, one) => sum + (one.breaker_cap ?? 0), 0)

function breakers(of: Known): Finding[] {
  const troubled = of.frame.routes.filter((one) => one.breaker_machine.state !== 'closed')
  return grouped(troubled, (one) => one.breaker_machine.state).map(([state, routes]) => {
    const { level, is, doing } = BREAKER[state] ?? {
      level: 'warn',
      is: `Breaker ${state}`,
      doing: () => '',
    }
    return {
      level,
      what: `${is}: ${namesOf(routes, of.frame)}`,
      since: Math.min(...routes.map((one) => one.breaker_machine.since)),
      whom: whomOf(routes, of.frame),
      doing: doing(routes),
    }
  })
}

function quota(of: Known): Finding[] {
  const { frame } = of
  const paused = frame.routes.filter((one) => one.paused_ms > 0 && one.blocked_ms === 0)
  if (paused.length === 0) return []
  return [
    {
      level: 'warn',
      what: `Quota used up (429): ${namesOf(paused, frame)}`,
      since: of.seenSince('quota'),
      whom: whomOf(paused, frame),
      doing: `starting nothing there for ${duration(Math.max(...paused.map((one) => one.paused_ms)))}, as the upstream asked; limit and breaker stay as they are`,
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
function paced(of: Known): Finding[] {
  const { frame } = of
  const slow = frame.routes.filter(
    (one) => one.paused_ms === 0 && one.blocked_ms === 0 && one.queued > 0 && lowest(one) !== null,
  )
  return grouped(slow, (one) => lowest(one)?.name ?? 'requests').map(([name, routes]) => {
    const unit = BUCKETS[name as BucketName]
    const rate = routes.reduce((sum, one) => sum + (lowest(one)?.perMinute ?? 0), 0)
    return {
      level: 'warn',
      what: `Quota nearly used up (${unit}): ${namesOf(routes, frame)}`,
      since: of.seenSince(`paced ${name}`),
      whom: whomOf(routes, frame),
      doing: `pacing starts to ${number(Math.round(rate))} ${unit} a minute, so that no 429 comes`,
    }
  })
}

/** A wait that a person would ask about; batch work is meant to wait longer. */
const LONG_MS = { urgent: 3_000, preemptible: 30_000 }

function waiting(of: Known): Finding[] {
  const { frame, now } = of
  const long = frame.lanes.filter(
    ({ oldest_ms, preemptible, paused }) =>
      !paused && (oldest_ms ?? 0) > (preemptible ? LONG_MS.preemptible : LONG_MS.urgent),
  )
  if (long.length === 0) return crowded(of)
  const oldest = Math.max(...long.map(({ oldest_ms }) => oldest_ms ?? 0))
  const full = frame.global.inflight >= frame.global.limit
  // Where routes are in trouble, caps shrink with them and are not the reason.
  const calmRoutes = frame.routes.every((one) => toneOf(one) === 'good')
  const capped = calmRoutes && long.every(({ inflight, cap }) => inflight >= cap)
  return [
    {
      level: 'warn',
      about: 'queues',
      what: `Queues are long: ${listed(long.map(({ name }) => name))}`,
      since: now - oldest,
      whom: `${plural(
        long.reduce((sum, { queued }) => sum + queued, 0),
        'request',
      )} waiting, the oldest for ${duration(oldest)}`,
      doing: full
        ? 'every slot is in use: serving lanes by weight and guarantee, and within a lane each tenant in turn'
        : capped
          ? `holding them to their cap (${number(long.reduce((sum, { cap }) => sum + cap, 0))} slots), so that other lanes keep theirs`
          : 'serving lanes by weight and guarantee as far as limits and quota of the routes allow',
    },
  ]
}

/** From this part of the slots on, a queue is more than a moment's. */
const CROWD = 0.25

/** Nobody has waited long yet. */
function crowded({ frame, seenSince }: Known): Finding[] {
  const { inflight, limit, queued } = frame.global
  if (inflight < limit || queued < limit * CROWD) return []
  return [
    {
      level: 'warn',
      about: 'queues',
      what: 'Every slot is in use',
      since: seenSince('crowded'),
      whom: `${plural(queued, 'request')} waiting`,
      doing:
        'serving lanes by weight and guarantee, within a lane each tenant in turn; batch yields to the urgent',
    },
  ]
}

const GUARDRAIL: Readonly<Record<string, (value: number | null, bound: number) => string>> = {
  ratio_429: (value, bound) =>
    `${percent(value)} of attempts end in 429 (budget ${percent(bound)})`,
  p95_e2e_ms: (value, bound) =>
    `P95 from arrival to answer is ${duration(value)} (budget ${duration(bound)})`,
  retry_amplification: (value, bound) =>
    `${number(value)} attempts per request (budget ${number(bound)})`,
}
const GUARDRAIL_DOES: Readonly<Record<string, string>> = {
  ratio_429: 'pausing on quota, pacing by token buckets; a guardrail changes no control by itself',
  p95_e2e_ms: 'serving lanes by weight and guarantee, refusing what cannot meet its deadline',
  retry_amplification: 'retrying only within the retry budget',
}

function guardrails({ frame }: Known): Finding[] {
  return frame.guardrails
    .filter((one) => !one.met)
    .map((one) => {
      const breach = frame.breaches.findLast(
        ({ name, until_at }) => name === one.name && until_at === null,
      )
      const most = [
        breach?.route == null ? '' : routeName(frame, breach.route),
        breach?.tenant == null ? '' : `tenant ${shortened(breach.tenant)}`,
      ].filter((part) => part !== '')
      return {
        level: 'bad',
        what: `Guardrail broken: ${GUARDRAIL[one.name]?.(one.value, one.bound) ?? one.name}`,
        since: one.since,
        whom: most.length === 0 ? 'many' : `mostly ${most.join(', ')}`,
        doing: GUARDRAIL_DOES[one.name] ?? '',
      }
    })
}

/** Only where the breaker has not said it already. */
function limits({ frame }: Known): Finding[] {
  const lower = frame.routes.filter(
    (one) => one.limit_machine.state !== 'steady' && one.breaker_machine.state === 'closed',
  )
  return grouped(lower, (one) => one.limit_machine.state).map(([state, routes]) => ({
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

function acts({ frame, seenSince }: Known): Finding[] {
  const found: Finding[] = []
  if (frame.emergency)
    found.push({
      level: 'warn',
      what: 'The emergency block is on',
      since: seenSince('emergency'),
      whom: 'everybody: shorter deadlines, fewer attempts, 12 slots a tenant',
      doing: `at most ${number(frame.global.limit)} attempts at once until somebody switches it off`,
    })
  const paused = frame.lanes.filter((one) => one.paused)
  if (paused.length > 0)
    found.push({
      level: 'warn',
      what: `Lane ${listed(paused.map((one) => one.name))} is paused by an operator`,
      since: seenSince('lanes paused'),
      whom: `${plural(
        paused.reduce((sum, one) => sum + one.queued, 0),
        'request',
      )} waiting there`,
      doing: 'starting nothing from it until somebody resumes it',
    })
  return found
}

const FAULT: Readonly<Record<string, string>> = {
  storm: 'a storm of 529',
  quota_drop: 'a quota drop',
  hang: 'a hanging upstream',
}

const faults = ({ frame, now }: Known): Finding[] =>
  frame.faults.map(({ kind, model, until_at }) => ({
    level: 'warn',
    what: `On purpose: ${FAULT[kind] ?? plain(kind)} at the simulated provider`,
    since: null,
    whom: model ?? 'every model',
    doing: `ends in ${duration(Math.max(0, until_at - now))}`,
  }))

const ALARM_MS = 300_000

/** The newest of each name. */
function alarms({ frame, now }: Known): Finding[] {
  const recent = frame.alarms.filter(({ at }) => now - at < ALARM_MS)
  return grouped(recent, (one) => one.name).flatMap(([name, all]) => {
    const last = all.at(-1)
    if (last === undefined) return []
    return [
      {
        level: 'warn' as const,
        what: `Alarm: ${plain(name)}${all.length > 1 ? ` (${number(all.length)} times)` : ''}`,
        since: all[0]?.at ?? null,
        whom: last.route === null ? 'the whole scheduler' : routeName(frame, last.route),
        doing: last.detail,
      },
    ]
  })
}

// ---- how it is said ----

const NAMED_MAX = 2

function namesOf(routes: readonly FrameRoute[], frame: Frame): string {
  const names = routes.map((one) => shortened(routeName(frame, one.id), 40))
  if (names.length <= NAMED_MAX) return listed(names)
  return `${names.slice(0, NAMED_MAX).join(', ')} and ${plural(names.length - NAMED_MAX, 'route')} more`
}

function whomOf(routes: readonly FrameRoute[], frame: Frame): string {
  const queued = routes.reduce((sum, one) => sum + one.queued, 0)
  const inflight = routes.reduce((sum, one) => sum + one.inflight, 0)
  if (queued + inflight === 0) return 'nobody at the moment'
  const part = routes.length === frame.routes.length ? '' : ` of ${plural(routes.length, 'model')}`
  return `${number(queued)} waiting and ${number(inflight)} running${part}`
}

function grouped<T>(items: readonly T[], by: (item: T) => string): [string, T[]][] {
  const found = new Map<string, T[]>()
  for (const item of items) found.set(by(item), [...(found.get(by(item)) ?? []), item])
  return [...found]
}
