/** Where an upstream answers and with which key. A key stands in the environment and nowhere else. */
import type { Config } from '#contracts/config'
import type { AttemptCall } from './ports.ts'

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
    if (last !== undefined && (last.of === now || !(name in now.file.upstreams)))
      return last.upstream
    const upstream = read(now.file.upstreams, name, env)
    known.set(name, { upstream, of: now })
    return upstream
  }
}

function read(all: Config['file']['upstreams'], name: string, env: Env): Upstream {
  const found = all[name]
  if (found === undefined) throw new Error(`no upstream ${name}`)
  const first = Object.keys(all)[0] === name
  const elsewhere = first && found.base_url === PUBLIC_API ? env('ANTHROPIC_BASE_URL') : undefined
  return {
    name,
    baseUrl: elsewhere ?? found.base_url,
    apiKey: env(found.api_key_env) ?? null,
    version: found.version,
  }
}
