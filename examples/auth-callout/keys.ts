/** Who holds which key, and what NATS permits them. Tenants and their keys stand in headgate.yaml, where the
 *  HTTP door finds them too: one key opens both doors. Only hashes are kept. */
import { createHash } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { parse } from 'yaml'
import { configFile, type ConfigFile } from '#contracts/config'
import {
  GATEWAY_USER,
  gatewayPermissions,
  OPERATOR_USER,
  operatorPermissions,
  tenantPermissions,
  type Permissions,
} from '#contracts/permissions'

export interface Holder {
  /** The tenant, or one of our own users. */
  name: string
  permissions: Permissions
}

/** The holder of a key, by what the key hashes to. */
export type Keys = ReadonlyMap<string, Holder>

const FILE_BYTES_MAX = 1_000_000
const KEY_CHARS_MAX = 512

/** `own`: hashes of the gateway's and the operator's key, as `sha256:<hex>`. */
export function keysOf(file: ConfigFile, own: { gateway?: string; operator?: string } = {}): Keys {
  const subjectPrefix = file.subject_prefix
  const keys = new Map<string, Holder>()
  const tenants = Object.entries(file.tenants).flatMap(([tenant, said]) => {
    if (typeof said === 'string' || !('keys' in said)) return []
    const access = { tenant, lanes: said.lanes ?? null }
    const permissions = tenantPermissions({ subjectPrefix, ...access })
    for (const key of said.keys) keys.set(hashIn(key), { name: tenant, permissions })
    return [access]
  })
  if (own.gateway !== undefined)
    keys.set(hashIn(own.gateway), {
      name: GATEWAY_USER,
      permissions: gatewayPermissions({ subjectPrefix, tenants }),
    })
  if (own.operator !== undefined)
    keys.set(hashIn(own.operator), {
      name: OPERATOR_USER,
      permissions: operatorPermissions({ subjectPrefix }),
    })
  return keys
}

/** Null where nobody holds the key, or somebody else does than who says to be here. */
export function holderOf(keys: Keys, given: { key: string; user: string }): Holder | null {
  if (given.key === '' || given.key.length > KEY_CHARS_MAX) return null
  const holder = keys.get(hashOf(given.key)) ?? null
  return given.user === '' || holder?.name === given.user ? holder : null
}

/** Reads the file anew whenever it has changed. Where it cannot be read any more, what it said last holds,
 *  and `onTrouble` hears why, once for each change. Throws when it cannot be read at first. */
export function watchedKeys(of: {
  path: string
  own: { gateway?: string; operator?: string }
  onTrouble: (why: string) => void
}): () => Keys {
  let seen = ''
  let keys: Keys | null = null
  const look = (): Keys => {
    try {
      const { mtimeMs, size } = statSync(of.path)
      const stamp = `${mtimeMs} ${size}`
      if (keys !== null && stamp === seen) return keys
      seen = stamp
      if (size > FILE_BYTES_MAX) throw new RangeError('too large')
      return (keys = keysOf(configFile.parse(parse(readFileSync(of.path, 'utf8')) ?? {}), of.own))
    } catch (error) {
      // Its name alone: a parser's words may quote the file, and that may be a key.
      const name = error instanceof Error ? error.name : 'no reason given'
      const why = `${of.path} is no configuration that can be read (${name})`
      if (keys === null) throw new Error(why)
      of.onTrouble(why)
      return keys
    }
  }
  look()
  return look
}

export const hashOf = (key: string): string => createHash('sha256').update(key).digest('hex')

/** The hash that the file names; of a plain key, its own. */
const hashIn = (key: string): string =>
  /^sha256:([0-9a-f]{64})$/i.exec(key)?.[1]?.toLowerCase() ?? hashOf(key)
