/** What the environment says, read once at a start; a bad word is told by the variable's name. */
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { misspeltVariables } from '#contracts/environment-names'
import { TOKEN, TOKEN_SHAPE } from '#contracts/ids'

/** Empty is as good as absent. */
export const env = (name: string): string | undefined => {
  const value = process.env[name]
  return value === '' ? undefined : value
}

/** A misspelt one is one that nobody misses until it counts. */
export const misspelt = (): string[] => misspeltVariables(Object.keys(process.env))

export function portOf(name: string, fallback: number): number {
  const text = env(name)
  if (text === undefined) return fallback
  const port = Number(text)
  if (!/^\d+$/.test(text) || port > 65_535)
    throw new Error(`${name}: expected a port from 0 to 65535`)
  return port
}

/** This instance's name in the fleet; undefined where the environment gives none. It is of the environment as well as
 *  of the file, since instances that are told apart by it share one file. */
export function fleetMember(): string | undefined {
  const name = env('HEADGATE_FLEET_MEMBER')
  if (name !== undefined && !TOKEN.test(name))
    throw new Error(`HEADGATE_FLEET_MEMBER: expected ${TOKEN_SHAPE}`)
  return name
}

/** Where the environment puts an upstream, it is an address that calls can be sent to. */
export function checkUpstreamAddress(): void {
  const address = env('ANTHROPIC_BASE_URL')
  if (address === undefined) return
  // It may hold a password, so what it is is not told.
  const url = URL.canParse(address) ? new URL(address) : null
  if (url === null || !['http:', 'https:'].includes(url.protocol) || url.hostname === '')
    throw new Error('ANTHROPIC_BASE_URL: expected an address that begins with http:// or https://')
}

/** The text of the file that a variable names; undefined where it names none. */
export function fileOf(name: string): string | undefined {
  const path = env(name)
  if (path === undefined) return undefined
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unreadable'
    throw new Error(`${name}: ${path} cannot be read (${code})`, { cause: error })
  }
}

/** The certificate and key of the HTTP ports, as PEM text; null: plain HTTP. One without the other is none. */
export function httpTls(): { cert: string; key: string } | null {
  const cert = fileOf('HEADGATE_TLS_CERT')
  const key = fileOf('HEADGATE_TLS_KEY')
  if (cert === undefined && key === undefined) return null
  if (cert !== undefined && key !== undefined) {
    checkPair(cert, key)
    return { cert, key }
  }
  const [set, unset] = cert === undefined ? ['KEY', 'CERT'] : ['CERT', 'KEY']
  throw new Error(`HEADGATE_TLS_${set} is set and HEADGATE_TLS_${unset} is not: set both, or none`)
}

/** Files for TLS to NATS, and what must stand in each. */
const PEM = {
  ca: { variable: 'NATS_CA', holds: /^-----BEGIN (TRUSTED )?CERTIFICATE-----/m },
  cert: { variable: 'NATS_CERT', holds: /^-----BEGIN CERTIFICATE-----/m },
  key: { variable: 'NATS_KEY', holds: /^-----BEGIN [A-Z ]*PRIVATE KEY-----/m },
} as const

/** PEM texts for TLS to NATS; undefined where none of the three variables is set. */
export function natsTls(): { ca?: string; cert?: string; key?: string } | undefined {
  const tls: { ca?: string; cert?: string; key?: string } = {}
  for (const [part, { variable, holds }] of Object.entries(PEM)) {
    const text = fileOf(variable)
    if (text === undefined) continue
    if (!holds.test(text)) throw new Error(`${variable}: ${env(variable)} holds no such PEM text`)
    tls[part as keyof typeof PEM] = text
  }
  if ((tls.cert === undefined) !== (tls.key === undefined))
    throw new Error('NATS_CERT and NATS_KEY: a certificate needs its key; set both or neither')
  return Object.keys(tls).length === 0 ? undefined : tls
}

/** The content of a `.creds` file; undefined where none is named. */
export function natsCreds(): Uint8Array | undefined {
  const text = fileOf('NATS_CREDS')
  return text === undefined ? undefined : new TextEncoder().encode(text)
}

/** The library's own words for what does not fit name neither file. */
function checkPair(cert: string, key: string): void {
  const certificate = read('HEADGATE_TLS_CERT: expected a certificate in PEM', () => {
    return new X509Certificate(cert)
  })
  const own = read('HEADGATE_TLS_KEY: expected a private key in PEM, without a passphrase', () => {
    return createPrivateKey(key)
  })
  if (!certificate.checkPrivateKey(own))
    throw new Error('HEADGATE_TLS_KEY: the key does not fit the certificate of HEADGATE_TLS_CERT')
}

function read<T>(expected: string, make: () => T): T {
  try {
    return make()
  } catch (error) {
    throw new Error(expected, { cause: error })
  }
}
