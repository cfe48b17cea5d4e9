/** What a whole fleet does at one moment, whichever instance tells it: each member's own word on its lanes, queues
 *  and routes, and the sums of those that were heard just now. `GET /api/fleet` answers it, `headgate top` draws it.
 *  It is read out of the members' snapshots, so it holds nothing that those do not: no prompt, answer or key. */
import { z } from 'zod'
import { snapshot } from './snapshot.ts'

/** Of one answer, and so of one member. */
export const LANES_READ_MAX = 64
export const ROUTES_READ_MAX = 1_000
export const TENANTS_READ_MAX = 200
/** Of the whole. */
export const ROUTES_SHOWN_MAX = 100
export const TENANTS_SHOWN_MAX = 20

const { lanes, routes, tenants, global, fleet } = snapshot.shape
const lane = lanes.element
const route = routes.element
const standing = fleet.unwrap().shape.members.element.shape.standing

/** What is read of a member's snapshot: little, so that a member of another version can be read too. */
export const memberLook = z.object({
  instance: snapshot.shape.instance,
  version: snapshot.shape.version,
  draining: snapshot.shape.draining,
  global: global.pick({ limit: true, inflight: true, queued: true, backoff: true }),
  lanes: z
    .array(lane.pick({ name: true, paused: true, inflight: true, queued: true, oldest_ms: true }))
    .transform((all) => all.slice(0, LANES_READ_MAX)),
  routes: z
    .array(
      route.pick({
        ...{ id: true, model: true, upstream: true, limit: true, limit_state: true },
        ...{ breaker: true, inflight: true, queued: true, paused_ms: true, blocked_ms: true },
      }),
    )
    .transform((all) => all.slice(0, ROUTES_READ_MAX)),
  tenants: tenants.transform((all) => all.slice(0, TENANTS_READ_MAX)),
  /** Null, or what another version has there: it works alone. */
  fleet: z.object({ member: z.string(), usable: z.int() }).nullable().catch(null),
})
export type MemberLook = z.infer<typeof memberLook>

const memberNow = z.object({
  /** Its name in the record of the fleet; of one that is not in it, its own word. */
  member: z.string(),
  instance: z.string(),
  version: z.string(),
  /** It is the one that tells this. */
  own: z.boolean(),
  /** In the record of the fleet, as the one that tells this sees it; null: it is not in it, or not any more. */
  standing: standing.nullable(),
  /** It was heard within the last seconds, and is in the sums. */
  current: z.boolean(),
  /** What it said last; null: it was never heard. */
  last: z
    .object({
      /** When it was heard, wall time of the one that tells this. */
      at: z.int(),
      draining: z.boolean(),
      /** Slots that it may use. */
      usable: z.int(),
      inflight: z.int(),
      queued: z.int(),
      backoff: z.int(),
    })
    .nullable(),
})

/** By name of a member. */
const lanePart = lane.omit({
  name: true,
  weight: true,
  preemptible: true,
  guarantee: true,
  cap: true,
})
const routePart = route.pick({
  ...{ limit: true, limit_state: true, breaker: true, inflight: true, queued: true },
  ...{ paused_ms: true, blocked_ms: true },
})
const of = { member: z.string() }

/** Parts and sums are of members that are `current`. */
export const wholeFleet = z.object({
  at: z.int(),
  /** The one that tells this first. */
  members: z.array(memberNow),
  sums: z.object({
    /** Of `members`, those that are current. */
    heard: z.int(),
    usable: z.int(),
    inflight: z.int(),
    queued: z.int(),
    backoff: z.int(),
  }),
  lanes: z.array(
    z.object({
      name: z.string(),
      inflight: z.int(),
      queued: z.int(),
      /** The longest that any request has waited; null: none waits. */
      oldest_ms: z.int().nullable(),
      parts: z.array(lanePart.extend(of)),
    }),
  ),
  /** Those in trouble first, then the busiest. */
  routes: z.array(
    z.object({
      id: z.string(),
      model: z.string(),
      upstream: z.string(),
      /** Of each member the part of the limit that is its own, so the sum is that of the fleet. */
      limit: z.int(),
      inflight: z.int(),
      queued: z.int(),
      parts: z.array(routePart.extend(of)),
    }),
  ),
  /** Routes that are not listed: none of them in more trouble, none busier. */
  routes_more: z.int(),
  /** The busiest. Each member tells of its own busiest only: a tenant may have more than is said here. */
  tenants,
})
export type WholeFleet = z.infer<typeof wholeFleet>
export type MemberNow = z.infer<typeof memberNow>
export type FleetLaneNow = WholeFleet['lanes'][number]
export type FleetRouteNow = WholeFleet['routes'][number]
