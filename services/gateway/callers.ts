/** Who calls: the tenant that holds the key, and nobody else.
 *  With no key configured the door is for this machine: any key or none, as tenant `default`, on a loopback
 *  address, under its own name, and not for other people's web pages. */
import { refusal, type Refusal } from '#contracts/messages'
import { hostGuard, originGuard } from '#platform/http/listener'
import type { IncomingHeaders } from './call-headers.ts'

export type Caller = { tenant: string } | { refusal: Refusal }

export const KEYLESS_TENANT = 'default'

export function callers(of: {
  host: string
  /** True while no key is configured; once it was false it is not asked again. */
  keyless: () => boolean
  /** Null: nobody holds it. Looked up by the key's sha256, so the time that it takes may tell how a hash
   *  begins, of which no one can make a key: nothing need be compared in constant time. */
  tenantOf: (key: string) => string | null
}): (headers: IncomingHeaders) => Caller {
  const checkHost = hostGuard(of.host)
  let keyless = of.keyless()
  const local = (headers: IncomingHeaders): Caller => {
    const denial = checkHost(oneOf(headers['host'])) ?? originGuard(headers as Origins)
    if (denial === null) return { tenant: KEYLESS_TENANT }
    return { refusal: refusal('forbidden', denial.message) }
  }
  return (headers) => {
    keyless &&= of.keyless()
    const key = keyOf(headers)
    const tenant = key === null ? null : of.tenantOf(key)
    if (tenant !== null) return { tenant }
    if (keyless) return local(headers)
    const message =
      key === null
        ? 'no key: expected x-api-key, or authorization: Bearer'
        : 'the key is not one that a tenant holds'
    return { refusal: refusal('unauthenticated', message) }
  }
}

type Origins = Parameters<typeof originGuard>[0]

export function keyOf(headers: IncomingHeaders): string | null {
  const key = oneOf(headers['x-api-key'])?.trim()
  if (key !== undefined && key !== '') return key
  return /^Bearer +(\S+) *$/i.exec(oneOf(headers['authorization']) ?? '')?.[1] ?? null
}

const oneOf = (value: string | string[] | undefined): string | undefined =>
  Array.isArray(value) ? value[0] : value
