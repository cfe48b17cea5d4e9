/** Where an upstream answers and with which key. A key stands in the environment and nowhere else. */
import type { Config } from '#contracts/config'
import type { AttemptCall } from '#ports'

const PUBLIC_API = 'https://api.anthropic.com'

type Upstream = AttemptCall['upstream']
type Env = (name: string) => string | undefined

/** Reads each once per configuration: reading the environment is slow. */
export function upstreams(config: () => Config, env: Env): (name: string) => Upstream {
  const known = new Map<string, { upstream: Upstream; of: Config }>()
  return (name) => {
    const now = config()
    const last = known.get(name)
    // A route that is no longer configured serves what it holds at its old address.
    if (last !== undefined && (last.of === now || !Object.hasOwn(now.file.upstreams, name)))
      return last.upstream
    const upstream = read(now.file.upstreams, name, env)
    known.set(name, { upstream, of: now })
    return upstream
  }
}

function read(all: Config['file']['upstreams'], name: string, env: Env): Upstream {
  const found = Object.hasOwn(all, name) ? all[name] : undefined
  if (found === undefined) throw new Error(`no upstream ${name}`)
  return {
    name,
    baseUrl: elsewhere(all, name, env) ?? found.base_url,
    apiKey: env(found.api_key_env) ?? null,
    version: found.version,
  }
}

/** Where the environment puts the first upstream, unless the file says more than its default. */
function elsewhere(all: Config['file']['upstreams'], name: string, env: Env): string | undefined {
  if (Object.keys(all)[0] !== name || all[name]?.base_url !== PUBLIC_API) return undefined
  return env('ANTHROPIC_BASE_URL')
}

/** The file with the addresses that are really in use. */
export function withAddresses(file: Config['file'], env: Env): Config['file'] {
  const upstreams = Object.fromEntries(
    Object.entries(file.upstreams).map(([name, one]) => {
      const url = elsewhere(file.upstreams, name, env)
      return [name, url === undefined ? one : { ...one, base_url: withoutLogin(url) }]
    }),
  )
  return { ...file, upstreams }
}

/** For an operator's eyes: whose word each address is, and whether there is a key, never which. */
export function upstreamsInUse(
  { upstreams: all }: Config['file'],
  env: Env,
): Record<string, { base_url: string; base_url_from: string; key: 'set' | 'not set' }> {
  return Object.fromEntries(
    Object.entries(all).map(([name, one]) => {
      const url = elsewhere(all, name, env)
      const address = withoutLogin(url ?? one.base_url)
      const from = url === undefined ? 'configuration' : 'ANTHROPIC_BASE_URL'
      const key = env(one.api_key_env) === undefined ? 'not set' : 'set'
      return [name, { base_url: address, base_url_from: from, key }]
    }),
  )
}

/** An address of the environment may hold a name and a password; one of a file never does. */
function withoutLogin(address: string): string {
  if (!URL.canParse(address)) return 'no address'
  const url = new URL(address)
  if (url.username === '' && url.password === '') return address
  url.username = url.password = ''
  return url.href
}
