/** The fleet in the picture of `headgate top`: who divides the limits, who does not keep step, and what all of them do
 *  together, of which the rest of the picture is one member's part. */
import type { FleetNow, Snapshot } from '#contracts/snapshot'
import type { FleetRouteNow, MemberNow, WholeFleet } from '#contracts/whole-fleet'
import { words } from './top-drawing.ts'
import {
  clock,
  duration,
  middle,
  number,
  packed,
  shown,
  type Cell,
  type Paint,
  type Tone,
} from './top-text.ts'

type Member = FleetNow['members'][number]

interface At {
  width: number
  /** Of members, and of names in one sentence. */
  most: number
  /** Of lanes, of routes and of tenants. */
  rows: number
  paint: Paint
}

/** Nothing where an instance works alone, one line where all keep step and nothing was asked. */
export function fleetLines(
  { fleet, whole = null }: Pick<Snapshot, 'fleet'> & { whole?: WholeFleet | null },
  at: At,
): string[] {
  if (fleet === null) return []
  const { members } = fleet
  const left = leftMembers(fleet, whole)
  if (members.length + left.length < 2) return []
  const seen = new Map(whole?.members.map((one) => [one.instance, one]))
  const cells = [
    said('FLEET', 'strong'),
    said(
      members.length === 1
        ? `1 member has ${number(fleet.whole)} slots`
        : `${number(members.length)} members divide ${number(fleet.whole)} slots`,
    ),
    ...members.slice(0, at.most).map((one) => memberOf(one, seen.get(one.instance))),
    ...(members.length > at.most ? [said(`and ${number(members.length - at.most)} more`)] : []),
    ...left.slice(0, at.most).map(leftOf),
  ]
  return [
    ...packed(cells, at.width, at.paint),
    ...(whole === null ? [] : packed(together(whole, at), at.width, at.paint)),
  ]
}

const said = (text: string, tone?: Tone): Cell => ({ text, width: 0, tone })

function memberOf(line: Member, seen: MemberNow | undefined): Cell {
  const { member, own, share, inflight, standing, heard_ms, config_differs } = line
  const name = own ? `${shown(member)} (this)` : shown(member)
  const silent = standing === 'alive' ? '' : `, ${standing} ${duration(heard_ms)}`
  const differs = config_differs ? ', CONFIGURATION DIFFERS' : ''
  const now = seen?.current === true ? (seen.last?.inflight ?? inflight) : inflight
  const waits = seen?.current === true ? `, ${number(seen.last?.queued ?? 0)} wait` : ''
  const text = `${name} ${number(now)} of ${number(share)}${waits}${unheard(seen)}${silent}${differs}`
  const calm = standing === 'alive' && !config_differs && seen?.current !== false
  return said(text, calm ? undefined : 'bad')
}

/** Empty: it answers, or nobody asked. */
function unheard(seen: MemberNow | undefined): string {
  if (seen === undefined || seen.current) return ''
  const { last } = seen
  if (last === null) return ', NO ANSWER'
  return `, NOT HEARD since ${clock(last.at)} (then ${number(last.queued)} wait)`
}

// ---- who is no member ----

/** It was heard, and is not in the record: it starts, or has left. */
function leftMembers({ members }: FleetNow, whole: WholeFleet | null): MemberNow[] {
  const known = new Set(members.map(({ instance }) => instance))
  return whole?.members.filter(({ instance, own }) => !own && !known.has(instance)) ?? []
}

const leftOf = (one: MemberNow): Cell =>
  said(`${shown(one.member)}: no member now${unheard(one)}`, one.current ? 'warn' : 'bad')

// ---- what they do together ----

function together({ sums, members, lanes, routes, tenants }: WholeFleet, at: At): Cell[] {
  const of = sums.heard === members.length ? 'together' : `the ${number(sums.heard)} that answer`
  const waiting = lanes.filter(({ queued }) => queued > 0)
  const troubled = routes.map(troubleOf).filter((cell) => cell !== null)
  return [
    said(`${of}: ${number(sums.inflight)} in flight, ${number(sums.queued)} wait`, 'strong'),
    ...troubled.slice(0, at.rows),
    ...waiting.slice(0, at.rows).map(({ name, queued, parts }) => {
      const whose = parts.filter((one) => one.queued > 0).toSorted((a, b) => b.queued - a.queued)
      const told = whose
        .slice(0, at.most)
        .map((one) => `${shown(one.member)} ${number(one.queued)}`)
      return said(`lane ${shown(name)}: ${number(queued)} wait (${told.join(', ')})`)
    }),
    ...routes
      .slice(0, at.rows)
      .map((one) =>
        said(`${middle(shown(one.id), 32)}: ${number(one.inflight)} of ${number(one.limit)}`),
      ),
    ...tenants
      .slice(0, Math.max(0, at.rows - 1))
      .map((one) =>
        said(
          `tenant ${shown(one.tenant)}: ${number(one.inflight)} in flight, ${number(one.queued)} wait`,
        ),
      ),
  ]
}

/** Null: every breaker is closed. */
function troubleOf({ id, parts }: FleetRouteNow): Cell | null {
  const bad = parts.filter(({ breaker }) => breaker !== 'closed')
  if (bad.length === 0) return null
  const open = bad.some(({ breaker }) => breaker === 'open')
  const told = bad.map(({ member, breaker }) => {
    const state = breaker === 'open' ? 'OPEN' : words(breaker)
    return `${state} on ${shown(member)}`
  })
  return said(`${middle(shown(id), 32)}: breaker ${told.join(', ')}`, open ? 'bad' : 'warn')
}
