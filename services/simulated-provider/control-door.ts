/** `/_sim/`: the controls over HTTP. */
import type { ServerResponse } from 'node:http'
import type { Api, Exchange } from './api.ts'
import { errorBody, invalid } from './api-error.ts'
import type { Control } from './control.ts'
import { readFaultSpec } from './fault-spec.ts'
import { faultKinds } from './faults.ts'
import { parseBody } from './order.ts'

/** What a control request answers. */
type Said = { status: number; value: unknown }
type Route = (exchange: Exchange) => Said
type Body = Readonly<Record<string, unknown>>

/** Serves every path under `/_sim`. */
export function controlDoor(api: Api, control: Control): (exchange: Exchange) => void {
  const routes = routesOf(api, control)
  return (exchange) => {
    const name = `${exchange.req.method} ${exchange.path.replace(/\/$/, '')}`
    const route = Object.hasOwn(routes, name) ? routes[name] : undefined
    say(exchange.res, route === undefined ? unknown(name, routes) : guarded(route, exchange))
  }
}

function routesOf(
  { world, ledger, batches }: Api,
  control: Control,
): Readonly<Record<string, Route>> {
  const faults = () => world.faults.list(world.settings.clock.now())
  const postFault = (body: unknown): Said => {
    const read = readFaultSpec(body)
    if ('problems' in read) return wrong(read.problems.join('; '))
    control.setFault(read.spec)
    return fine({ faults: faults() })
  }
  const postCapacity = (body: Body): Said => {
    const { capacity } = body
    if (capacity !== null && typeof capacity !== 'number') {
      return wrong('capacity: expected a number of at least 0, or null for none')
    }
    control.setCapacity(capacity ?? Infinity)
    return fine({ capacity })
  }
  const postLimits = (body: Body): Said => {
    const { model, ...limits } = body
    if (model !== undefined && typeof model !== 'string') return wrong('model: expected a text')
    control.setLimits(limits, model)
    return fine({ limits: Object.fromEntries(world.limits) })
  }

  const routes: Readonly<Record<string, Route>> = {
    'GET /_sim': () => fine({ endpoints: Object.keys(routes) }),
    'GET /_sim/faults': () => fine({ faults: faults(), kinds: kindsPage() }),
    'POST /_sim/faults': ({ body }) => withBody(body, postFault),
    'DELETE /_sim/faults': () => {
      world.faults.clear()
      return fine({ faults: [] })
    },
    'GET /_sim/ledger': ({ search }) => {
      const since = Number(new URLSearchParams(search).get('since') ?? 0)
      return Number.isInteger(since) && since >= 0
        ? fine(ledger.read(since))
        : wrong('since: expected the number n of an entry')
    },
    'GET /_sim/stats': () => fine(control.stats()),
    'POST /_sim/capacity': ({ body }) => withBody(body, postCapacity),
    'POST /_sim/limits': ({ body }) => withBody(body, postLimits),
    'POST /_sim/batches': ({ body }) =>
      withBody(body, (ways) => {
        control.setBatches(ways)
        return fine({ ...batches.ways })
      }),
  }
  return routes
}

const fine = (value: unknown): Said => ({ status: 200, value })
const wrong = (message: string, status = 400): Said => ({ status, value: invalid(message, status) })

const unknown = (name: string, routes: object): Said =>
  wrong(`${name}: no such control; there are: ${Object.keys(routes).join(', ')}`, 404)

/** A value out of range is the caller's mistake, said as one. */
function guarded(route: Route, exchange: Exchange): Said {
  try {
    return route(exchange)
  } catch (error) {
    if (error instanceof RangeError) return wrong(error.message)
    throw error
  }
}

function withBody(bytes: Buffer | null, then: (body: Body) => Said): Said {
  const body = parseBody(bytes ?? Buffer.alloc(0))
  return body === null ? wrong('body: expected a JSON object') : then(body)
}

const kindsPage = (): Record<string, { means: string; takes: readonly string[] }> =>
  Object.fromEntries(
    Object.entries(faultKinds).map(([kind, { means, takes }]) => [kind, { means, takes }]),
  )

function say(res: ServerResponse, { status, value }: Said): void {
  const text =
    status < 400 ? JSON.stringify(value) : errorBody(value as ReturnType<typeof invalid>, 'sim')
  res.writeHead(status, [
    'content-type',
    'application/json',
    'content-length',
    String(Buffer.byteLength(text)),
  ])
  res.end(text)
}
