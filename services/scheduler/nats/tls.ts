/** TLS to a nats-server: when it is asked for, whom the certificate must name, and what went wrong in words.
 *  Without it being asked for, a server that requires TLS gets it all the same, with the system's CAs. */
import type { NodeConnectionOptions } from '@nats-io/transport-node'

/** PEM texts. */
export interface TlsTexts {
  /** Who signs the server's certificate; absent: whom Node trusts. */
  ca?: string | undefined
  /** Ours, where the server wants to see one; both or none. */
  cert?: string | undefined
  key?: string | undefined
}

type TlsOptions = NonNullable<NodeConnectionOptions['tls']>

/** Undefined where plain text will do too. nats.js takes `tls://` for `nats://`, so that a server which offers
 *  no TLS would be told the password in plain; and it checks a server with a numeric address as if it were
 *  called `localhost`. Of several numeric addresses the first one counts: name hosts instead. */
export function tlsOptions(of: {
  servers: readonly string[]
  tls: TlsTexts | undefined
}): TlsOptions | undefined {
  const wanted = of.tls !== undefined || of.servers.some((url) => url.startsWith('tls://'))
  if (!wanted) return undefined
  const given = Object.entries(of.tls ?? {}).filter(([, text]) => text !== undefined)
  const host = numericHost(of.servers)
  // Node's own option, which nats.js hands through.
  if (host !== null) given.push(['host', host])
  return Object.fromEntries(given) as TlsOptions
}

/** Null where the trouble is another. `asked`: certificates of ours or of a CA were given. */
export function tlsTrouble(error: unknown, asked: boolean): string | null {
  if (!(error instanceof Error)) return null
  // TLS 1.3 tells a client that its certificate will not do when all seemed well, and nats.js waits on.
  if (asked && error.message === 'timeout')
    return 'no word in time; a server that misses NATS_CERT, or does not accept it, says none either'
  const { code = codeOf(error.cause) } = error as { code?: unknown }
  if (error.message.includes(`not support 'tls'`))
    return 'it offers no TLS, and the address or NATS_CA asks for it'
  if (typeof code !== 'string') return null
  const [, said] = TROUBLES.find(([codes]) => codes.test(code)) ?? []
  return said === undefined ? null : `${said} (${code})`
}

const TROUBLES: readonly [RegExp, string][] = [
  [/ALTNAME_INVALID/, 'its certificate is for another name than this address'],
  [/^CERT_(HAS_EXPIRED|NOT_YET_VALID)$/, 'its certificate is not valid today'],
  [
    /^(UNABLE_TO_(VERIFY|GET_ISSUER)|SELF_SIGNED|DEPTH_ZERO_SELF|CERT_(SIGNATURE|UNTRUSTED))/,
    'its certificate is signed by nobody whom we trust; NATS_CA names the file of who signed it',
  ],
  [/ALERT_CERTIFICATE_REQUIRED/, 'it wants to see a certificate of ours: NATS_CERT and NATS_KEY'],
  [/ALERT_(UNKNOWN_CA|(BAD|UNSUPPORTED)_CERT|CERTIFICATE_)/, 'it does not accept our NATS_CERT'],
  [/KEY_VALUES_MISMATCH/, 'NATS_CERT and NATS_KEY do not belong together'],
  [/^ERR_OSSL_/, 'NATS_CERT or NATS_KEY is no readable PEM text'],
]

const codeOf = (error: unknown): unknown =>
  typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined

function numericHost(servers: readonly string[]): string | null {
  for (const url of servers) {
    const [, six, four] =
      /^(?:[a-z]+:\/\/)?(?:\[([0-9a-f:.]+)\]|(\d+\.\d+\.\d+\.\d+))(?::|\/|$)/i.exec(url) ?? []
    if (six !== undefined || four !== undefined) return six ?? four ?? null
  }
  return null
}
