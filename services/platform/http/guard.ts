/** Who may speak to the operator's port: hosts against DNS rebinding, origins against other people's pages,
 *  a bearer token for whatever changes something. */
/** A no, in the words of the API's errors. */
export interface Denial {
  status: number
  type: string
  message: string
}

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|::1)$/

export const isLoopback = (host: string): boolean => LOOPBACK.test(host)

/** A server on a loopback address answers only to its own names; a page that had its own name point here
 *  would otherwise read as its own origin. On other addresses the names are not ours to know. */
export function hostGuard(boundTo: string): (host: string | undefined) => Denial | null {
  if (!isLoopback(boundTo)) return () => null
  return (host) => {
    const name = hostName(host)
    if (name !== null && (LOOPBACK.test(name) || name === boundTo)) return null
    const names = [...new Set(['localhost', '127.0.0.1', boundTo])]
    const message = `not a name of this server; it answers to ${names.join(', ')}`
    return { status: 403, type: 'permission_error', message }
  }
}

/** Browsers send an origin with every request that changes something; anyone else sends none. */
export function originGuard(headers: {
  origin?: string | undefined
  host?: string | undefined
  'sec-fetch-site'?: string | string[] | undefined
}): Denial | null {
  const { origin, host } = headers
  const site = headers['sec-fetch-site']
  const foreign = { status: 403, type: 'permission_error', message: 'a foreign origin' }
  if (site !== undefined && site !== 'same-origin' && site !== 'none') return foreign
  if (origin === undefined) return null
  return host !== undefined && (origin === `http://${host}` || origin === `https://${host}`)
    ? null
    : foreign
}

/** Null as token: nobody may. */
export function tokenGuard(
  token: string | null,
): (header: string | undefined) => Promise<Denial | null> {
  if (token === null || token === '') {
    const message = 'no admin token is set; start with HEADGATE_ADMIN_TOKEN to allow this'
    return async () => ({ status: 403, type: 'permission_error', message })
  }
  const wanted = digest(token)
  return async (header) => {
    const given = /^Bearer +(\S+) *$/i.exec(header ?? '')?.[1] ?? ''
    if (equal(await digest(given), await wanted)) return null
    const message = 'expected Authorization: Bearer and the admin token'
    return { status: 401, type: 'authentication_error', message }
  }
}

/** Equal lengths, so that the comparison tells nothing of the token's. */
const digest = async (text: string): Promise<Uint8Array> =>
  new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text)))

/** In the same time wherever they differ. */
const equal = (a: Uint8Array, b: Uint8Array): boolean =>
  a.reduce((differ, byte, i) => differ | (byte ^ (b[i] ?? 0)), 0) === 0

/** Without port and brackets; null when it is none. */
function hostName(host: string | undefined): string | null {
  const match = /^(?:\[([0-9a-f:.]+)\]|([^:[\]@/\s]+))(?::\d{1,5})?$/i.exec(host ?? '')
  return (match?.[1] ?? match?.[2])?.toLowerCase() ?? null
}
