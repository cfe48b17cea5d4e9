/** What NATS permits whom, so that a tenant is who the server says it is. Pure; every name is checked
 *  against `ids` first, since a dot or a `*` in one would permit more than was meant. A list is never empty:
 *  nats-server reads an empty one as no restriction at all. */
import { isToken, TOKEN_SHAPE } from './ids.ts'
import { AUX_KINDS, DISCOVERY, EVERYTHING, inbox, subjects, type Subjects } from './subjects.ts'

/** Subjects that a user may publish on and subscribe to; whatever is not listed is refused. */
export interface Permissions {
  publish: readonly string[]
  subscribe: readonly string[]
}

export interface TenantAccess {
  tenant: string
  /** The only lanes it may ask in; null: every lane. */
  lanes: readonly string[] | null
}

/** The three users beside the tenants. */
export const SCHEDULER_USER = 'headgate'
export const GATEWAY_USER = 'gateway'
export const OPERATOR_USER = 'operator'
/** No tenant may be called like one of them: it would hear that user's inbox. */
export const OWN_USERS: readonly string[] = [SCHEDULER_USER, GATEWAY_USER, OPERATOR_USER]

/** One tenant: its own subjects, its own inbox, what is told about its own requests and jobs. */
export function tenantPermissions(of: TenantAccess & { subjectPrefix: string }): Permissions {
  const to = checked(of.subjectPrefix)
  const { tenant } = of
  return {
    publish: asking(to, of),
    subscribe: [inbox(tenant).every, to.result(tenant, '*'), to.requestEvent(tenant, '*')],
  }
}

/** The HTTP door: asks for every tenant that it serves and hears each one's inbox, one by one, since NATS
 *  has no wildcard inside a token. A tenant adds one to that list and at most 2 * `LANES_MAX` + 6 to the
 *  other. */
export function gatewayPermissions(of: {
  subjectPrefix: string
  tenants: readonly TenantAccess[]
}): Permissions {
  const to = checked(of.subjectPrefix)
  return {
    publish: [
      to.cancel(GATEWAY_USER, '*'),
      ...of.tenants.flatMap((one) => [...asking(to, one), to.batch(one.tenant, '*')]),
    ],
    subscribe: [inbox(GATEWAY_USER).every, ...of.tenants.map(({ tenant }) => inbox(tenant).every)],
  }
}

/** Whoever operates: administration, service discovery, all events; no tenant's requests and no answers. */
export function operatorPermissions(of: { subjectPrefix: string }): Permissions {
  const to = checked(of.subjectPrefix)
  return {
    publish: [to.every.admin, to.cancel(OPERATOR_USER, '*'), DISCOVERY],
    subscribe: [inbox(OPERATOR_USER).every, to.events],
  }
}

/** The scheduler: everything in its account. It answers in every inbox, and JetStream and its acks have
 *  subjects of their own (`$JS.API.>`, `$JS.ACK.>`, `$KV.>`, `$SRV.>`). */
export const schedulerPermissions = (): Permissions => ({
  publish: [EVERYTHING],
  subscribe: [EVERYTHING],
})

/** Of one tenant; more is a mistake, not a restriction. */
export const LANES_MAX = 64

/** What is published to be served. */
function asking(to: Subjects, of: TenantAccess): string[] {
  const { tenant, lanes } = of
  check('tenant', tenant)
  if (OWN_USERS.includes(tenant)) throw new RangeError('tenant: the name of a user of our own')
  for (const lane of lanes ?? []) check('lane', lane)
  if (lanes !== null && (lanes.length === 0 || lanes.length > LANES_MAX))
    throw new RangeError(`lanes: expected 1 to ${LANES_MAX} of them, or null for every lane`)
  const served = lanes ?? ['*']
  return [
    ...served.map((lane) => to.request(tenant, lane)),
    ...served.map((lane) => to.submit(tenant, lane)),
    to.fetch(tenant, '*'),
    to.cancel(tenant, '*'),
    to.status(tenant, '*'),
    ...AUX_KINDS.map((kind) => to.aux(kind, tenant)),
  ]
}

function checked(subjectPrefix: string): Subjects {
  check('subject prefix', subjectPrefix)
  return subjects(subjectPrefix)
}

function check(what: string, text: string): void {
  if (!isToken(text)) throw new RangeError(`${what}: expected ${TOKEN_SHAPE}`)
}
