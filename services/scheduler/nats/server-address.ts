/** NATS server addresses: what stands in a URL, and what to say when one does not answer. */
import { AuthorizationError } from '@nats-io/transport-node'
import { tlsTrouble } from './tls.ts'

export const SERVER_VERSION_MIN = '2.10.0'

/** Takes user and password, or a token, out of the URLs. */
export function addresses(options: {
  servers: string | readonly string[]
  user?: string | undefined
  password?: string | undefined
}) {
  const listed = typeof options.servers === 'string' ? options.servers.split(',') : options.servers
  let { user, password } = options
  let token: string | undefined
  const servers = listed.map((text) => {
    const url = text.trim()
    const [, scheme = '', who, rest = ''] = /^([a-z]+:\/\/)?(?:([^@/]*)@)?(.*)$/.exec(url) ?? []
    if (who === undefined) return url
    const [name = '', ...secret] = who.split(':').map(decodeURIComponent)
    if (secret.length === 0) token ??= name
    else {
      user ??= name
      password ??= secret.join(':')
    }
    return scheme + rest
  })
  return { servers, user, password, token: user === undefined ? token : undefined }
}

export function cannotConnect(
  servers: string | readonly string[],
  cause: unknown,
  tlsAsked = false,
): Error {
  const where = addresses({ servers }).servers.join(', ')
  if (cause instanceof AuthorizationError) {
    return new Error(`NATS at ${where} refuses these credentials`, { cause })
  }
  const why =
    tlsTrouble(cause, tlsAsked) ?? (cause instanceof Error ? cause.message : 'no reason given')
  return new Error(`cannot connect to NATS at ${where}: ${why}`, { cause })
}

export function checkVersion(version: string): void {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  if (major > 2 || (major === 2 && minor >= 10)) return
  throw new Error(
    `NATS server ${version} is too old: Headgate needs ${SERVER_VERSION_MIN} or newer`,
  )
}
