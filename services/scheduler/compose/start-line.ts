/** What a scheduler runs on, in one line that a person can check: never a key, a user or a password. */
import type { Config } from '#contracts/config'
import { upstreams } from './upstreams.ts'

/** Of a list of upstreams; more help nobody. */
const UPSTREAMS_TOLD_MAX = 5

export function startLine(of: {
  configPath: string | null
  config: Config
  env: (name: string) => string | undefined
  /** Addresses without credentials; null: the bus stays in memory. */
  nats: { servers: readonly string[]; version: string } | null
  doors: readonly (readonly [name: string, url: string | null])[]
}): string {
  const { config, nats } = of
  const read = upstreams(() => config, of.env)
  const names = Object.keys(config.file.upstreams)
  const told = names.slice(0, UPSTREAMS_TOLD_MAX).map((name) => {
    const { baseUrl, apiKey } = read(name)
    const variable = config.file.upstreams[name]?.api_key_env
    const key = apiKey === null ? `no key: ${variable} is not set` : `key of ${variable}`
    return `${name} at ${hostOf(baseUrl)} (${key})`
  })
  if (names.length > told.length) told.push(`and ${names.length - told.length} more`)
  const bus =
    nats === null ? 'in memory' : `${nats.servers.join(', ')} (nats-server ${nats.version})`
  const doors = of.doors.flatMap(([name, url]) => (url === null ? [] : [`${name} ${url}`]))
  return [
    `configuration: ${of.configPath ?? 'none, all defaults'}`,
    `subjects: ${config.file.subject_prefix}.v1`,
    `NATS: ${bus}`,
    `upstream: ${told.join(', ')}`,
    `doors: ${doors.length === 0 ? 'NATS alone' : doors.join(', ')}`,
  ].join('; ')
}

const hostOf = (url: string): string => (URL.canParse(url) ? new URL(url).host : 'no address')
