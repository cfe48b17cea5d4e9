/** The variables of ours that anything reads, and what was meant by one that nothing does. */
import { nearest } from './known-names.ts'

const PREFIX = 'HEADGATE_'
const READ = [
  'ADMIN_TOKEN',
  'BUS',
  'CONFIG',
  'FLEET_MEMBER',
  'GATEWAY',
  'GATEWAY_PORT',
  'GATEWAY_WORKER',
  'HOST',
  'HTTP_PORT',
  'INSPECT',
  'NATS_SERVER',
  'SIMULATED_URL',
  'TLS_CERT',
  'TLS_KEY',
]
/** Of the examples and of other programs: not ours to judge. */
const OTHERS = new Set(['GATEWAY_URL', 'KEY', 'PASSWORD'])

/** One line for each name that is nearly one that is read, and so is not; at most five. */
export function misspeltVariables(names: readonly string[]): string[] {
  return names
    .filter((name) => name.toUpperCase().startsWith(PREFIX))
    .flatMap((name) => {
      const own = name.slice(PREFIX.length)
      const known = name.startsWith(PREFIX) && (READ.includes(own) || OTHERS.has(own))
      const near = known ? null : nearest(own, READ)
      return near === null
        ? []
        : [`${name} is set, and nothing reads it; did you mean ${PREFIX}${near}?`]
    })
    .slice(0, TOLD_MAX)
}

const TOLD_MAX = 5
