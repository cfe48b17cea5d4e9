/** Self-signed certificates for a test, made by openssl: for 127.0.0.1 and localhost, valid for a day. */
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

export interface Certificate {
  certPath: string
  keyPath: string
  /** PEM texts. */
  cert: string
  key: string
}

export async function selfSigned(dir: string, name = 'door'): Promise<Certificate> {
  const certPath = join(dir, `${name}-cert.pem`)
  const keyPath = join(dir, `${name}-key.pem`)
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-noenc']
  const who = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost']
  await promisify(execFile)('openssl', [
    ...['req', '-x509', '-days', '1', ...key, ...who],
    ...['-keyout', keyPath, '-out', certPath],
  ])
  const [cert, keyText] = await Promise.all([readFile(certPath, 'utf8'), readFile(keyPath, 'utf8')])
  return { certPath, keyPath, cert, key: keyText }
}
