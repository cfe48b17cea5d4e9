/** What is wrong, in words: what, since when, for whom, what Headgate does about it, and which paragraph of the
 *  runbook says what an operator can do. Pure. */
import type { Frame, FrameRoute, Hello } from '#contracts/dashboard'
import type { RunbookKind } from '#contracts/runbook'
import { budgetFindings } from './budget-findings.ts'
import { fleetFindings } from './fleet-findings.ts'
import { jobFindings } from './job-findings.ts'
import { isRebuilt } from './request-recording.ts'
import { routeName, type View } from './view.ts'
import { duration, elapsed, listed, number, percent, plain, plural, shortened } from './words.ts'

export interface Finding {
  kind: RunbookKind
  level: 'warn' | 'bad'
  /** Said so that it is not said twice. */
  about?: 'queues'
  what: string
  /** Wall time; null: nobody knows. */
  since: number | null
  /** `what` says for how long already. */
  timed?: true
  whom: string
  doing: string
  /** What an operator can do, where it is not what the runbook says of the kind. */
  act?: string
}

type Known = Pick<View, 'frame' | 'now' | 'seenSince'> & { hello?: Pick<Hello, 'wait_reasons'> }
type Condition = Frame['conditions'][number]['condition']

/** The cause that is worst first, then what it does to the guardrails, then what somebody did on purpose. */
export function findings(of: Known): Finding[] {
  const causes = [
    ...service(of),
    ...jobFindings(of.frame),
    ...fleetFindings(of.frame),
    ...blocked(of),
    ...silent(of),
    ...breakers(of),
    ...quota(of),
    ...failing(of),
    ...paced(of),
    ...limits(of),
    ...waiting(of),
    ...budgetFindings(of.frame),
  ]
  const worstFirst = [
    ...causes.filter((one) => one.level === 'bad'),
    ...causes.filter((one) => one.level === 'warn'),
  ]
  return [...worstFirst, ...guardrails(of), ...acts(of), ...faults(of), ...alarms(of)]
}

export function calm(frame: Frame): string {
  const { global, rates } = frame
  // Older recordings do not tell answers from the rest.
  const answered = (rates as Partial<Frame['rates']>).completed ?? rates.settled
  const rate = answered === 0 ? '' : `, ${number(answered)} answered in the last second`
  const waits = global.queued === 0 ? 'nothing waits' : `${number(global.queued)} wait their turn`
  if (isRebuilt(frame)) return `${number(global.inflight)} in flight, ${waits}${rate}`
  return `All is well: ${number(global.inflight)} of ${number(global.limit)} slots in use, ${waits}${rate}`
}

/** When the first of them began, as the scheduler keeps it; a recording of an older one does not. */
function sinceOf(
  { frame, seenSince }: Known,
  condition: Condition,
  about?: readonly (string | null)[],
): number {
  const held = conditionsOf(frame).filter(
    (one) => one.condition === condition && (about === undefined || about.includes(one.about)),
  )
  if (held.length > 0) return Math.min(...held.map(({ since }) => since))
  return seenSince(`${condition} ${about?.join(' ') ?? ''}`)
}

const conditionsOf = (frame: Frame): Frame['conditions'] =>
  (frame as Partial<Frame>).conditions ?? []
const waitingOf = (frame: Frame): Frame['waiting'] => (frame as Partial<Frame>).waiting ?? []
const holds = (frame: Frame, condition: Condition, about: string | null): boolean =>
  conditionsOf(frame).some((one) => one.condition === condition && one.about === about)

function service(of: Known): Finding[] {
  const { frame } = of
  const found: Finding[] = []
  if (!frame.bus.connected) {
    const http = (frame as Partial<Frame>).doors?.http
    found.push({
      kind: 'nats_lost',
      level: 'bad',
      what: 'The connection to NATS is lost',
      since: sinceOf(of, 'nats_lost'),
      whom:
        http === undefined
          ? 'everybody: no request comes in and no answer goes out'
          : `programs that publish: none is heard, no answer reaches them; callers of the HTTP door are ${http.ready ? 'served as before' : `not served either (${listed(http.reasons)})`}`,
      doing: 'connecting again; what runs goes on, answers wait for the line',
    })
  }
  if (frame.draining)
    found.push({
      kind: 'draining',
      level: 'warn',
      what: 'Headgate is draining',
      since: sinceOf(of, 'draining'),
      whom: 'new and queued requests',
      doing: `refusing them with draining; ${plural(frame.global.inflight, 'attempt')} may still end`,
    })
  if (frame.global.level > 0)
    found.push({
      kind: 'overloaded',
      level: frame.global.level >= 3 ? 'bad' : 'warn',
      what: `Overloaded: degradation level ${frame.global.level} of 3`,
      since: sinceOf(of, 'overloaded'),
      whom: `${plural(frame.global.queued, 'request')} in queues`,
      doing:
        frame.global.level >= 3
          ? 'shedding what can least use an answer'
          : 'giving lesser answers where that was allowed',
    })
  return found
}

const BLOCK: Readonly<Record<string, { kind: RunbookKind; says: string }>> = {
  key_refused: { kind: 'key_refused', says: 'refuses the key' },
  spend_limit: {
    kind: 'spend_limit',
    says: 'says that the account has reached its spending limit',
  },
  stopped: { kind: 'account_stopped', says: 'has stopped the account' },
}

/** By upstream: an account on hold is one matter, however many models it has. */
function blocked(of: Known): Finding[] {
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
function silent(of: Known): Finding[] {
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

function breakers(of: Known): Finding[] {
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
function failing(of: Known): Finding[] {
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

function quota(of: Known): Finding[] {
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
function paced(of: Known): Finding[] {
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
  const names = long.map(({ name }) => name)
  const queued = long.reduce((sum, lane) => sum + lane.queued, 0)
  return [
    {
      ...held(of, names),
      kind: 'queues_long',
      level: 'warn',
      about: 'queues',
      what: `Queues are long in ${listed(names)}${whySaid(of, names)}`,
      since: now - oldest,
      whom: `${plural(queued, 'request')} waiting, the oldest for ${duration(oldest)}`,
    },
  ]
}

interface Held {
  doing: string
  act?: string
}

/** Rows of these lanes by reason, the one that holds most first. */
function reasonsIn(frame: Frame, lanes: readonly string[]) {
  const rows = waitingOf(frame).filter(({ lane }) => lanes.includes(lane))
  return grouped(rows, (one) => one.reason)
    .map(([reason, all]) => ({
      reason,
      count: all.reduce((sum, { count }) => sum + count, 0),
      most: all.toSorted((a, b) => b.count - a.count)[0],
    }))
    .toSorted((a, b) => b.count - a.count)
}

/** What holds most of them, with its number. */
function whySaid(of: Known, lanes: readonly string[]): string {
  const [first] = reasonsIn(of.frame, lanes)
  if (first === undefined) return ''
  return `: ${meansOf(of, first.reason)}${numbersOf(first.most)}`
}

function numbersOf(row: Frame['waiting'][number] | undefined): string {
  if (row === undefined) return ''
  const said = [
    row.tenant === null ? '' : `tenant ${shortened(row.tenant, 28)}`,
    // Of what is shut altogether the number says nothing.
    row.bound === null || row.bound === 0 ? '' : number(row.bound),
    row.until_ms === null ? '' : `${duration(Math.max(1_000, row.until_ms))} more`,
  ].filter((part) => part !== '')
  return said.length === 0 ? '' : ` (${said.join(', ')})`
}

const meansOf = ({ hello }: Known, reason: string): string =>
  hello?.wait_reasons?.[reason]?.means ?? plain(reason)

/** How many each bound holds, and what can be done about the first. */
function held(of: Known, lanes: readonly string[]): Held {
  const reasons = reasonsIn(of.frame, lanes)
  const [first] = reasons
  if (first === undefined)
    return {
      doing: 'serving lanes by weight and guarantee as far as limits and quota of the routes allow',
    }
  const counts = reasons.map(({ reason, count }) => `${number(count)} by ${plain(reason)}`)
  const act = of.hello?.wait_reasons?.[first.reason]?.act
  return {
    doing: `serving lanes by weight and guarantee, within a lane each tenant in turn; held: ${listed(counts)}`,
    ...(act == null ? {} : { act }),
  }
}

/** From this part of the slots on, a queue is more than a moment's. */
const CROWD = 0.25

/** Nobody has waited long yet. */
function crowded(of: Known): Finding[] {
  const { inflight, limit, queued } = of.frame.global
  if (inflight < limit || queued < limit * CROWD) return []
  return [
    {
      kind: 'queues_long',
      level: 'warn',
      about: 'queues',
      what: 'Every slot is in use',
      since: sinceOf(of, 'slots_used'),
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
        kind: one.name,
        level: 'bad',
        what: `Guardrail broken: ${GUARDRAIL[one.name]?.(one.value, one.bound) ?? plain(one.name)}`,
        since: one.since,
        whom: most.length === 0 ? 'many' : `mostly ${most.join(', ')}`,
        doing: GUARDRAIL_DOES[one.name] ?? '',
      }
    })
}

/** Only where the breaker has not said it already, and somebody waits for the limit: another bound may be the
 *  lower one long since. */
function limits(of: Known): Finding[] {
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

function acts(of: Known): Finding[] {
  const { frame } = of
  const found: Finding[] = []
  if (frame.emergency)
    found.push({
      kind: 'emergency',
      level: 'warn',
      what: 'The emergency block is on',
      since: sinceOf(of, 'emergency'),
      whom: 'everybody: shorter deadlines, fewer attempts, fewer slots for each tenant',
      doing: `at most ${number(frame.global.limit)} attempts at once until somebody switches it off`,
    })
  if (holds(frame, 'config_refused', null))
    found.push({
      kind: 'config_refused',
      level: 'warn',
      what: 'The configuration file is refused',
      since: sinceOf(of, 'config_refused'),
      whom: 'nobody now; whoever restarts it will find that it does not start',
      doing: 'going on with the configuration that was in force before',
    })
  const paused = frame.lanes.filter((one) => one.paused)
  if (paused.length > 0)
    found.push({
      kind: 'lane_paused',
      level: 'warn',
      what: `${paused.length === 1 ? 'Lane' : 'Lanes'} ${listed(paused.map((one) => one.name))} ${paused.length === 1 ? 'is' : 'are'} paused by an operator`,
      since: sinceOf(
        of,
        'lane_paused',
        paused.map((one) => one.name),
      ),
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
  frame.faults.map(({ kind, model, from_at, until_at }) => ({
    kind: 'fault_on_purpose',
    level: 'warn',
    what: `On purpose: ${FAULT[kind] ?? plain(kind)} at the simulated provider`,
    since: from_at ?? null,
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
        kind: 'alarm' as const,
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
  const all = routes.length === frame.routes.length
  // Of which routes they are is not in a frame.
  const { backoff } = frame.global
  const back = all && backoff > 0 ? `, ${number(backoff)} to be tried again` : ''
  if (queued + inflight === 0) return back === '' ? 'nobody at the moment' : back.slice(', '.length)
  const part = all ? '' : ` of ${plural(routes.length, 'model')}`
  return `${number(queued)} waiting and ${number(inflight)} running${part}${back}`
}

function grouped<T>(items: readonly T[], by: (item: T) => string): [string, T[]][] {
  const found = new Map<string, T[]>()
  for (const item of items) found.set(by(item), [...(found.get(by(item)) ?? []), item])
  return [...found]
}
