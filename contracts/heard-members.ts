/** Members of a fleet as they were heard, and the whole that they make.
 *  Bound: `MEMBERS_MAX` members and the one that tells; one that is in the record of the fleet no more is shown for `SHOWN_MS`. */
import type { Snapshot } from './snapshot.ts'
import type { Millis } from './units.ts'
import {
  memberLook,
  ROUTES_SHOWN_MAX,
  TENANTS_SHOWN_MAX,
  type FleetRouteNow,
  type MemberLook,
  type MemberNow,
  type WholeFleet,
} from './whole-fleet.ts'

/** What was said is of now for so long: who is asked once a second may miss two answers. */
export const CURRENT_MS: Millis = 3_000
export const SHOWN_MS: Millis = 120_000
export const MEMBERS_MAX = 64

interface Instant {
  /** On a clock that never jumps. */
  now: Millis
  /** Wall time. */
  wall: number
}

interface Heard extends Instant {
  readonly look: MemberLook
}

export class HeardMembers {
  /** By instance: who is started again is another one. */
  readonly #heard = new Map<string, Heard>()

  /** A snapshot as an instance sent it. Answers whose it is; null: it cannot be read, or there is no room. */
  note(sent: unknown, at: Instant): string | null {
    const { data: look } = memberLook.safeParse(sent)
    if (look === undefined) return null
    const { instance } = look
    if (!this.#heard.has(instance) && this.#heard.size >= MEMBERS_MAX) return null
    this.#heard.set(instance, { look, ...at })
    return instance
  }

  /** `own`: of the instance that tells. */
  whole(own: Snapshot, at: Instant): WholeFleet {
    // Where another instance tells next, this one is still remembered.
    this.#heard.set(own.instance, { look: memberLook.parse(own), ...at })
    this.#forget(own, at.now)
    const rows = [...inRecord(own), ...this.#others(own)].map((one) => {
      const heard = this.#heard.get(one.instance)
      const current = heard !== undefined && at.now - heard.now <= CURRENT_MS
      return { heard, row: { ...one, current, last: heard === undefined ? null : lastOf(heard) } }
    })
    const current = rows.flatMap(({ heard, row }) =>
      heard !== undefined && row.current ? [{ member: row.member, look: heard.look }] : [],
    )
    return { at: Math.round(at.wall), members: rows.map(({ row }) => row), ...sumsOf(current) }
  }

  /** Who answers and is not in the record: it starts, or has left. */
  #others({ fleet, instance: own }: Snapshot): MemberId[] {
    const known = new Set([own, ...(fleet?.members ?? []).map(({ instance }) => instance)])
    return [...this.#heard.values()]
      .filter(({ look }) => !known.has(look.instance))
      .map(({ look: { instance, version, fleet: theirs } }) => ({
        ...{ member: theirs?.member ?? instance, instance, version },
        ...{ own: false, standing: null },
      }))
      .toSorted((a, b) => (a.member < b.member ? -1 : 1))
  }

  /** Members are kept. Of the others, those that another process has followed under their name, and those of long ago,
   *  are not. */
  #forget({ fleet, instance: own }: Snapshot, now: Millis): void {
    const members = fleet?.members ?? []
    const instances = new Set(members.map(({ instance }) => instance))
    const names = new Set(members.map(({ member }) => member))
    for (const [instance, { look, now: heardAt }] of this.#heard) {
      if (instances.has(instance)) continue
      const followed = names.has(look.fleet?.member ?? '') && now - heardAt > CURRENT_MS
      if (followed || now - heardAt > SHOWN_MS) this.#heard.delete(instance)
    }
    for (const instance of this.#heard.keys()) {
      if (this.#heard.size <= MEMBERS_MAX + 1) return
      if (instance !== own) this.#heard.delete(instance)
    }
  }
}

type MemberId = Omit<MemberNow, 'current' | 'last'>

/** The one that tells first, whether it has its line in the record already or not. */
function inRecord({ fleet, instance, version }: Snapshot): MemberId[] {
  const members = (fleet?.members ?? []).map((one) => ({
    ...{ member: one.member, instance: one.instance, version: one.version },
    ...{ own: one.instance === instance, standing: one.standing },
  }))
  if (members.some(({ own }) => own)) return members
  const member = fleet?.member ?? instance
  return [{ member, instance, version, own: true, standing: null }, ...members]
}

const lastOf = ({ look, wall }: Heard): NonNullable<MemberNow['last']> => ({
  at: Math.round(wall),
  draining: look.draining,
  usable: look.fleet?.usable ?? look.global.limit,
  inflight: look.global.inflight,
  queued: look.global.queued,
  backoff: look.global.backoff,
})

// ---- sums ----

interface Current {
  member: string
  look: MemberLook
}

type Sums = Pick<WholeFleet, 'sums' | 'lanes' | 'routes' | 'routes_more' | 'tenants'>

const sumsOf = (all: readonly Current[]): Sums => ({
  sums: {
    heard: all.length,
    usable: sum(all, ({ look }) => look.fleet?.usable ?? look.global.limit),
    inflight: sum(all, ({ look }) => look.global.inflight),
    queued: sum(all, ({ look }) => look.global.queued),
    backoff: sum(all, ({ look }) => look.global.backoff),
  },
  lanes: lanesOf(all),
  ...routesOf(all),
  tenants: tenantsOf(all),
})

function lanesOf(all: readonly Current[]): WholeFleet['lanes'] {
  const parts = all.flatMap(({ member, look }) => look.lanes.map((lane) => ({ member, ...lane })))
  return [...grouped(parts, ({ name }) => name)].map(([name, of]) => ({
    name,
    ...loadOf(of),
    oldest_ms: of.reduce<number | null>((most, { oldest_ms: one }) => larger(most, one), null),
    parts: of.map(({ name: _, ...part }) => part),
  }))
}

function routesOf(all: readonly Current[]): Pick<Sums, 'routes' | 'routes_more'> {
  const parts = all.flatMap(({ member, look }) => look.routes.map((one) => ({ member, ...one })))
  const routes = [...grouped(parts, ({ id }) => id)]
    .map(([id, of]) => ({
      ...{ id, model: of[0]?.model ?? '', upstream: of[0]?.upstream ?? '' },
      limit: sum(of, ({ limit }) => limit),
      ...loadOf(of),
      parts: of.map(({ id: _, model: __, upstream: ___, ...part }) => part),
    }))
    .toSorted((a, b) => troubleOf(b) - troubleOf(a) || load(b) - load(a) || (a.id < b.id ? -1 : 1))
  const more = Math.max(0, routes.length - ROUTES_SHOWN_MAX)
  return { routes: routes.slice(0, ROUTES_SHOWN_MAX), routes_more: more }
}

/** Members that may not call as they would. */
const troubleOf = ({ parts }: FleetRouteNow): number =>
  parts.filter((one) => one.breaker !== 'closed' || one.paused_ms > 0 || one.blocked_ms > 0).length

function tenantsOf(all: readonly Current[]): WholeFleet['tenants'] {
  const parts = grouped(
    all.flatMap(({ look }) => look.tenants),
    ({ tenant }) => tenant,
  )
  return [...parts]
    .map(([tenant, of]) => ({ tenant, ...loadOf(of) }))
    .toSorted((a, b) => load(b) - load(a) || (a.tenant < b.tenant ? -1 : 1))
    .slice(0, TENANTS_SHOWN_MAX)
}

const loadOf = (parts: readonly { inflight: number; queued: number }[]) => ({
  inflight: sum(parts, ({ inflight }) => inflight),
  queued: sum(parts, ({ queued }) => queued),
})

const load = (one: { inflight: number; queued: number }): number => one.inflight + one.queued

const sum = <T>(all: readonly T[], of: (one: T) => number): number =>
  all.reduce((before, one) => before + of(one), 0)

const larger = (a: number | null, b: number | null): number | null =>
  a === null || b === null ? (a ?? b) : Math.max(a, b)

/** In the order in which each key came first. */
function grouped<T>(all: readonly T[], key: (one: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>()
  for (const one of all) {
    const group = groups.get(key(one))
    if (group === undefined) groups.set(key(one), [one])
    else group.push(one)
  }
  return groups
}
