/** Tenants and requests, as the page lists them. */
import { z } from 'zod'
import { OUTCOMES, REQUEST_STATES } from './outcome.ts'
import { waitReason } from './waiting.ts'

export const TENANT_SORTS = [
  'tenant',
  'inflight',
  'queued',
  'share',
  'settled',
  'refused',
  'http_429',
  'tokens',
] as const
export type TenantSort = (typeof TENANT_SORTS)[number]
export const TENANTS_PAGE_MAX = 200

const whole = (most: number) => z.coerce.number().int().min(0).max(most)

export const tenantsQuery = z.object({
  search: z.string().max(64).default(''),
  sort: z.enum(TENANT_SORTS).default('inflight'),
  dir: z.enum(['asc', 'desc']).default('desc'),
  offset: whole(1_000_000_000).default(0),
  limit: whole(TENANTS_PAGE_MAX).default(50),
})
export type TenantsQuery = z.infer<typeof tenantsQuery>

/** Counts are since the start, or since the tenant was last forgotten for idleness. */
export const tenantRow = z.object({
  tenant: z.string(),
  inflight: z.int(),
  queued: z.int(),
  /** Its part of all attempts' time lately (weights halve each minute), 0 to 1. */
  share: z.number(),
  settled: z.int(),
  refused: z.int(),
  http_429: z.int(),
  /** Input and output. */
  tokens: z.int(),
  last_at: z.int(),
})
export type TenantRow = z.infer<typeof tenantRow>

/** `GET /api/tenants?search=&sort=&dir=&offset=&limit=`: `sort` of `TENANT_SORTS` (inflight), `dir` asc or desc
 *  (desc), `limit` to 200 (50). `search`: part of a name, in either case of letters. */
export const tenantsPage = z.object({
  /** Known in all, and that match the search. */
  total: z.int(),
  matching: z.int(),
  offset: z.int(),
  rows: z.array(tenantRow),
})
export type TenantsPage = z.infer<typeof tenantsPage>

/** Requests now alive, oldest first; from `GET /api/requests?state=&route=&tenant=&limit=` (all optional;
 *  `limit` to 200, 50). `matching` counts those that are not listed too. */
export const requestRow = z.object({
  tenant: z.string(),
  lane: z.string(),
  id: z.string(),
  model: z.string(),
  route: z.string().nullable(),
  state: z.enum(REQUEST_STATES),
  /** In this state. */
  since: z.int(),
  arrived_at: z.int(),
  attempts: z.int(),
  preemptions: z.int(),
  stream: z.boolean(),
  /** What holds it; null: it does not wait. */
  waits_for: z.object({ reason: waitReason, text: z.string() }).nullable(),
})
export type RequestRow = z.infer<typeof requestRow>
export const REQUESTS_MAX = 200
export const requestsQuery = z.object({
  state: z.enum(REQUEST_STATES).optional(),
  route: z.string().max(64).optional(),
  tenant: z.string().max(64).optional(),
  limit: whole(REQUESTS_MAX).default(50),
})
export const requestsPage = z.object({ matching: z.int(), rows: z.array(requestRow) })
export type RequestsPage = z.infer<typeof requestsPage>

/** A request that has settled lately. */
export const settledRow = z.object({
  tenant: z.string(),
  lane: z.string(),
  id: z.string(),
  model: z.string().nullable(),
  at: z.int(),
  outcome: z.enum(OUTCOMES),
  code: z.string().nullable(),
  total_ms: z.int(),
  attempts: z.int(),
})
export type SettledRow = z.infer<typeof settledRow>

/** `GET /api/tenants/:name`; 404 where the name is not known. */
export const tenantPage = z.object({
  row: tenantRow,
  outcomes: z.partialRecord(z.enum(OUTCOMES), z.int()),
  /** Refusals and failures by code. */
  codes: z.record(z.string(), z.int()),
  lanes: z.array(z.object({ name: z.string(), settled: z.int() })),
  /** At most fifty each. */
  live: z.array(requestRow),
  settled: z.array(settledRow),
})
export type TenantPage = z.infer<typeof tenantPage>
