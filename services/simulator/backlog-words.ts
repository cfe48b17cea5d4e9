/** A backlog and the deaths of a process, in words for whoever asked: a sentence each. */
import type { Seconds } from '#contracts/units'
import type { BacklogFigures, RestartFigures } from './job.ts'
import { rise } from './backlog-figures.ts'

export function wordsOf(of: {
  backlog: BacklogFigures | null
  restarts: RestartFigures | null
}): string[] {
  const { backlog, restarts } = of
  return [
    ...(backlog === null ? [] : backlogWords(backlog)),
    ...(restarts === null ? [] : restartWords(restarts, backlog)),
  ]
}

function backlogWords(of: BacklogFigures): string[] {
  const { jobs, tenants, lane } = of
  const whose = tenants === 1 ? '1 tenant' : `${tenants} tenants`
  const what = `the backlog (${jobs} jobs of ${whose} in ${lane})`
  return [
    ...doneWords(of, what),
    ...fillWords(of),
    ...Object.keys(of.beside).map((name) => besideWords(of, name)),
    endWords(of),
  ]
}

function doneWords(of: BacklogFigures, what: string): string[] {
  const pace = `${number(of.jobs_per_s)} jobs per second`
  if (of.done_s !== null) return [`${what} is done after ${time(of.done_s)}: ${pace}`]
  const rest =
    of.expected_s === null
      ? 'none has ended'
      : `at ${pace} it would be done after about ${time(of.expected_s)}, beside the same traffic`
  return [`${what} is not done when the traffic ends: ${of.left} jobs are left; ${rest}`]
}

function fillWords({ fill, thrown_away: away }: BacklogFigures): string[] {
  if (fill === null) return []
  const used = `while jobs waited, they used ${percent(fill)} of the slots that nobody else used`
  return away === null || away < 0.000_5
    ? [used]
    : [`${used}; ${percent(away)} of their slot time was thrown away, since a call of it was ended`]
}

function besideWords(of: BacklogFigures, lane: string): string {
  const { with: beside, without } = of.beside[lane]!
  const risen = rise(of, lane)
  const pair = (name: 'e2e_p50_s' | 'e2e_p95_s' | 'wait_p95_s'): string =>
    `${seconds(beside[name])} beside it, ${seconds(without[name])} without`
  const more =
    risen === null ? '' : ` (${percent(Math.abs(risen))} ${risen < 0 ? 'shorter' : 'longer'})`
  return (
    `${lane}, to the end of an answer: P50 ${pair('e2e_p50_s')}; P95 ${pair('e2e_p95_s')}${more}; ` +
    `of that waiting, P95 ${pair('wait_p95_s')}`
  )
}

function endWords(of: BacklogFigures): string {
  const { completed, expired, failed, refused, beyond_one: beyond } = of
  const others = [
    `${expired} expired`,
    ...(failed > 0 ? [`${failed} failed`] : []),
    ...(refused > 0 ? [`${refused} were refused and never stored`] : []),
  ]
  const calls = beyond === 1 ? '1 call was' : `${beyond} calls were`
  return `${completed} jobs were answered, ${others.join(', ')}; each that ended has one result; ${calls} made beyond one for each job`
}

function restartWords(
  { deaths, later_s: later }: RestartFigures,
  backlog: BacklogFigures | null,
): string[] {
  const each = deaths.map((death) => {
    const parts = [
      `${death.lost} calls of callers lost their answer`,
      `${death.turned_away} came while nobody was there`,
      ...(backlog === null ? [] : [`${death.cut} calls of jobs are made again`]),
      `${number(death.thrown_away_s)} slot-seconds were thrown away`,
      death.recovered_s === null
        ? 'it did not use as many slots again'
        : `after ${seconds(death.recovered_s)} nine tenths of the slots were in use again`,
    ]
    return `the process died at ${number(death.at_s)} s for ${number(death.for_s)} s: ${parts.join(', ')}`
  })
  if (later === null) return each
  const when = later >= 0 ? 'earlier' : 'later'
  return [...each, `without these deaths the backlog is done ${seconds(Math.abs(later))} ${when}`]
}

const percent = (share: number): string => `${Number((100 * share).toFixed(1))} %`

const seconds = (value: Seconds | null): string => (value === null ? '-' : `${number(value)} s`)

/** Seconds, and what people say of as many. */
function time(value: Seconds): string {
  const whole = Math.round(value)
  if (whole < 120) return `${number(value)} s`
  const minutes = Math.round(whole / 60)
  const hours = Math.floor(minutes / 60)
  const days = Math.floor(hours / 24)
  const said =
    days > 0
      ? `${days} d ${hours % 24} h`
      : hours > 0
        ? `${hours} h ${minutes % 60} min`
        : `${minutes} min`
  return `${whole} s (${said})`
}

function number(value: number): string {
  if (Number.isInteger(value) || Math.abs(value) >= 1_000) return String(Math.round(value))
  return String(Number(value.toPrecision(4)))
}
