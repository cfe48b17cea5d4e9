/** What is wrong, in words: what, since when, for whom, what Headgate does about it, and which paragraph of the
 *  runbook says what an operator can do. Pure. */
import type { Frame } from '#contracts/dashboard'
import { budgetFindings } from './budget-findings.ts'
import { type Finding, type Known, grouped, holds, sinceOf } from './finding.ts'
import { fleetFindings } from './fleet-findings.ts'
import { jobFindings } from './job-findings.ts'
import { isRebuilt } from './request-recording.ts'
import { blocked, breakers, failing, limits, paced, quota, silent } from './route-findings.ts'
import { routeName } from './view.ts'
import { waiting } from './waiting-findings.ts'
import { duration, listed, number, percent, plain, plural, shortened } from './words.ts'

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
