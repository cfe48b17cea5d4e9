/** What a page may ask, answered as JSON text: what was, tenants, requests, one request's life. */
import {
  historyQuery,
  REQUESTS_MAX,
  requestsQuery,
  TENANTS_PAGE_MAX,
  tenantsQuery,
} from '#contracts/dashboard'
import { TOKEN } from '#contracts/ids'
import type { FeedOptions } from './feed.ts'
import type { HistoryRings } from './history.ts'
import { SETTLED_MAX, type Lives } from './lives.ts'
import type { TenantLoad, Tenants } from './tenants.ts'

/** An answer, as JSON text. */
export interface Said {
  status: number
  body: string
}
type Query = Readonly<Record<string, unknown>>

export interface Questions {
  history(query: Query): Said
  tenants(query: Query): Said
  tenant(name: string): Said
  requests(query: Query): Said
  request(tenant: string, id: string): Said
  job(tenant: string, id: string): Promise<Said>
  /** Asks the other members, so only while somebody looks. */
  fleet(): Promise<Said>
}

/** At most so many of a tenant's requests stand on its page. */
const TENANT_REQUESTS_MAX = 50

export function questions(
  of: Pick<FeedOptions, 'clock' | 'requests' | 'loads' | 'job' | 'fleet'> & {
    lives: Lives
    tenants: Tenants
    rings: HistoryRings
    /** Answers that cost a walk over all tenants, or over all points, are made once a second. */
    kept: (key: string, make: () => string) => string
  },
): Questions {
  const { clock, lives, tenants, rings, kept } = of
  return {
    history(query) {
      const read = historyQuery.safeParse(query)
      if (!read.success) return wrong('expected span=live or span=day, and a route')
      const { span, route = null } = read.data
      const key = `history ${span} ${route ?? ''}`
      return fine(kept(key, () => JSON.stringify(rings.read(span, route))))
    },
    tenants(query) {
      const read = tenantsQuery.safeParse(query)
      if (!read.success)
        return wrong(`expected sort, dir, offset and limit (to ${TENANTS_PAGE_MAX}), and a search`)
      const asked = read.data
      const make = (): string => JSON.stringify(tenants.page(asked, of.loads(), clock.now()))
      return fine(kept(`tenants ${JSON.stringify(asked)}`, make))
    },
    tenant(name) {
      let load: TenantLoad | undefined
      for (const one of of.loads()) if (one.name === name) load = one
      const page = tenants.one(name, load, clock.now())
      if (page === null) return missing('no tenant of this name is known')
      const asked = { state: null, route: null, tenant: name, limit: TENANT_REQUESTS_MAX }
      const live = of.requests(asked).rows
      const settled = lives.settledOf(name, TENANT_REQUESTS_MAX)
      return fine(JSON.stringify({ ...page, live, settled }))
    },
    requests(query) {
      const read = requestsQuery.safeParse(query)
      if (!read.success)
        return wrong(`expected a state, a route, a tenant and a limit (to ${REQUESTS_MAX})`)
      const { state = null, route = null, tenant = null, limit } = read.data
      return fine(JSON.stringify(of.requests({ state, route, tenant, limit })))
    },
    request(tenant, id) {
      const life = lives.life(tenant, id, clock.wall())
      return life === null
        ? missing(`this request is not kept; the last ${SETTLED_MAX} settled ones are`)
        : fine(JSON.stringify(life))
    },
    async job(tenant, id) {
      if (of.job === null) return missing('no durable jobs are kept here')
      if (!TOKEN.test(tenant) || !TOKEN.test(id)) return missing('no job has such a name')
      try {
        const found = await of.job(tenant, id)
        return found === null
          ? missing('the store has neither a job nor a result of this id')
          : fine(JSON.stringify(found))
      } catch {
        return said(503, 'api_error', 'the store of durable jobs does not answer')
      }
    },
    async fleet() {
      if (of.fleet === null) return missing('this instance works alone')
      return fine(JSON.stringify(await of.fleet()))
    },
  }
}

const fine = (body: string): Said => ({ status: 200, body })
const wrong = (message: string): Said => said(400, 'invalid_request_error', message)
const missing = (message: string): Said => said(404, 'not_found_error', message)
const said = (status: number, type: string, message: string): Said => ({
  status,
  body: JSON.stringify({ type: 'error', error: { type, message } }),
})
