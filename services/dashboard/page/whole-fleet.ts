/** What the members of a fleet do together, and which of them does what, in words. Pure. */
import type { FleetNow } from '#contracts/snapshot'
import type { FleetLaneNow, FleetRouteNow, MemberNow, WholeFleet } from '#contracts/whole-fleet'
import { clock, listed, number, percent, plain, plural, shortened } from './words.ts'

/** Beyond so many the rest is a number. */
const NAMED_MAX = 10

/** A member as the record has it, as it was heard, or both. */
export interface MemberRow {
  /** Of the row. */
  key: string
  member: string
  instance: string
  version: string
  /** Null: it is not in the record. */
  line: FleetNow['members'][number] | null
  /** Null: nobody has asked yet. */
  seen: MemberNow | null
}

export function memberRows(fleet: FleetNow, whole: WholeFleet | null): MemberRow[] {
  const seen = new Map(whole?.members.map((one) => [one.instance, one]))
  const lines = fleet.members.map((line) => ({
    ...{ key: `member ${line.member}`, member: line.member, line },
    ...{ instance: line.instance, version: line.version },
    seen: seen.get(line.instance) ?? null,
  }))
  const known = new Set(lines.map(({ instance }) => instance))
  const others = [...seen.values()]
    .filter(({ instance, own }) => !known.has(instance) && !own)
    .map((one) => ({
      ...{ key: `instance ${one.instance}`, member: one.member, line: null },
      ...{ instance: one.instance, version: one.version, seen: one },
    }))
  return [...lines, ...others]
}

/** Empty: it answers, or nobody has asked. */
export function silenceOf(seen: MemberNow | null): string {
  if (seen === null || seen.current) return ''
  return seen.last === null ? '▲ no answer' : `▲ not heard since ${clock(seen.last.at)}`
}

/** What waits there, if that is known of now. */
export const waitingOf = (seen: MemberNow | null): string =>
  seen?.current === true ? number(seen.last?.queued) : '–'

/** Routes of which it does not have what it has of the whole, and what it has of them. Absent from older recordings. */
export function routesOf({ line }: MemberRow): string {
  const routes = Object.entries(line?.routes ?? {}).map(([id, of]) => ({ id, ...of }))
  const more = routes.length - NAMED_MAX
  return [
    ...routes
      .slice(0, NAMED_MAX)
      .map(
        ({ id, share, want }) => `${shortened(id)}: ${percent(share)}, could use ${percent(want)}`,
      ),
    ...(more > 0 ? [`${number(more)} more`] : []),
  ].join('; ')
}

export function saidOf(whole: WholeFleet): string {
  const { members, sums } = whole
  const silent = members.filter(({ current }) => !current)
  const sum = `${number(sums.inflight)} in flight of ${plural(sums.usable, 'slot')}, ${number(sums.queued)} waiting, ${number(sums.backoff)} in back-off`
  if (silent.length === 0)
    return members.length === 1
      ? 'It is the only member: what it does is what the whole fleet does.'
      : `The ${number(members.length)} members together: ${sum}.`
  const of = `${number(sums.heard)} of ${plural(members.length, 'member')}`
  const whom = listed(silent.slice(0, NAMED_MAX).map(silentOne))
  return `▲ ${whom}. ${of} ${sums.heard === 1 ? 'is' : 'are'} heard: ${sum}.`
}

function silentOne({ member, last }: MemberNow): string {
  if (last === null) return `${shortened(member)} does not answer`
  const { at, inflight, queued } = last
  return `${shortened(member)} is not heard since ${clock(at)} (then ${number(inflight)} in flight, ${number(queued)} waiting)`
}

// ---- lanes ----

/** Who has those that wait, most first. */
export const waitersOf = ({ parts }: FleetLaneNow): string =>
  named(
    parts.filter(({ queued }) => queued > 0).toSorted((a, b) => b.queued - a.queued),
    ({ queued }) => number(queued),
  )

export function pausedOf({ parts }: FleetLaneNow): string {
  const paused = parts.filter((one) => one.paused)
  if (paused.length === 0) return ''
  return paused.length === parts.length ? '▲ paused' : `▲ paused on ${names(paused)}`
}

// ---- routes ----

const SIGN: Readonly<Record<string, string>> = { open: '✖ ', half_open: '▲ ', ramp: '▲ ' }

/** One word where all say the same, else who says what, the worst first. */
export function breakersOf({ parts }: FleetRouteNow): string {
  const states = ['open', 'half_open', 'ramp', 'closed'].flatMap((state) => {
    const those = parts.filter(({ breaker }) => breaker === state)
    if (those.length === 0) return []
    const word = `${SIGN[state] ?? ''}${plain(state)}`
    return [those.length === parts.length ? word : `${word} on ${names(those)}`]
  })
  const blocked = parts.filter(({ blocked_ms: ms }) => ms > 0)
  const paused = parts.filter(({ paused_ms: ms }) => ms > 0)
  return [
    ...states,
    ...(blocked.length === 0 ? [] : [`✖ blocked on ${names(blocked)}`]),
    ...(paused.length === 0 ? [] : [`▲ quota pause on ${names(paused)}`]),
  ].join('; ')
}

export const partsOf = ({ parts }: FleetRouteNow): string =>
  named(parts, ({ inflight, limit }) => `${number(inflight)} of ${number(limit)}`)

// ---- small servants ----

function named<T extends { member: string }>(parts: readonly T[], of: (one: T) => string): string {
  const more = parts.length - NAMED_MAX
  return [
    ...parts.slice(0, NAMED_MAX).map((one) => `${shortened(one.member)}: ${of(one)}`),
    ...(more > 0 ? [`${number(more)} more`] : []),
  ].join(', ')
}

function names(parts: readonly { member: string }[]): string {
  const more = parts.length - NAMED_MAX
  const said = parts.slice(0, NAMED_MAX).map(({ member }) => shortened(member))
  return listed(more > 0 ? [...said, `${number(more)} more`] : said)
}
