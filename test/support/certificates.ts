/** Certificates for a test, made by openssl in a directory that is removed: an authority, a server at
 *  127.0.0.1, one that is elsewhere, a client. Valid for two days. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

interface Pair {
  cert: string
  key: string
}

export interface Certificates {
  /** Paths of PEM files. */
  ca: string
  server: Pair
  /** Of localhost and 10.0.0.1. */
  elsewhere: Pair
  client: Pair
  /** Lines of nats-server configuration; `verify`: clients must show a certificate. */
  config(of?: { pair?: Pair; verify?: boolean }): string
  remove(): void
}

export const hasOpenssl = spawnSync('openssl', ['version']).status === 0

const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']

export function makeCertificates(): Certificates {
  const dir = mkdtempSync(join(tmpdir(), 'headgate-tls-'))
  const at = (name: string) => join(dir, name)
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: dir, stdio: 'pipe' })
  const authority = ['-keyout', 'ca.key', '-out', 'ca.pem', '-subj', '/CN=headgate test']
  openssl('req', '-x509', ...KEY, '-days', '2', ...authority)
  const pair = (name: string, names: string): Pair => {
    writeFileSync(at('names'), `subjectAltName=${names}`)
    const [key, request, cert] = [`${name}.key`, `${name}.csr`, `${name}.pem`]
    openssl('req', ...KEY, '-keyout', key, '-out', request, '-subj', `/CN=${name}`)
    const by = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-extfile', 'names']
    openssl('x509', '-req', '-in', request, '-out', cert, '-days', '2', ...by)
    return { cert: at(cert), key: at(key) }
  }
  const server = pair('server', 'IP:127.0.0.1')
  return {
    ca: at('ca.pem'),
    server,
    elsewhere: pair('elsewhere', 'DNS:localhost,IP:10.0.0.1'),
    client: pair('client', 'DNS:client'),
    config({ pair: { cert, key } = server, verify = false } = {}) {
      const files = { cert_file: cert, key_file: key, ca_file: at('ca.pem') }
      const lines = Object.entries(files).map(([name, path]) => `${name}: ${JSON.stringify(path)}`)
      return `tls { ${[...lines, `verify: ${verify}`].join('\n')} }`
    },
    remove: () => rmSync(dir, { recursive: true, force: true }),
  }
}

export const pem = (path: string): string => readFileSync(path, 'utf8')
