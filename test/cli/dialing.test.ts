/** What the environment says of NATS. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, test, vi } from 'vitest'
import { dialing } from '../../services/cli/dialing.ts'

const dir = mkdtempSync(join(tmpdir(), 'headgate-dialing-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))
afterEach(() => vi.unstubAllEnvs())

const URL = 'nats://127.0.0.1:4222'

/** Sets variables; a text after `@` goes to a file that the variable names. */
function environment(of: Record<string, string>) {
  for (const name of ['NATS_CREDS', 'NATS_CA', 'NATS_CERT', 'NATS_KEY']) vi.stubEnv(name, '')
  for (const [name, value] of Object.entries(of)) {
    if (value.startsWith('@')) writeFileSync(join(dir, name), value.slice(1))
    vi.stubEnv(name, value.startsWith('@') ? join(dir, name) : value)
  }
}

describe('dialing', () => {
  test('says nothing of TLS where the environment does not', () => {
    environment({})
    expect(dialing(URL)).toMatchObject({ servers: URL, creds: undefined, tls: undefined })
  })

  test('reads the files that are named', () => {
    environment({ NATS_CA: '@authority', NATS_CERT: '@certificate', NATS_KEY: '@key' })
    expect(dialing(URL).tls).toEqual({ ca: 'authority', cert: 'certificate', key: 'key' })
  })

  test('an authority alone is enough', () => {
    environment({ NATS_CA: '@authority' })
    expect(dialing(URL).tls).toEqual({ ca: 'authority' })
  })

  test.each(['NATS_CA', 'NATS_CERT', 'NATS_KEY', 'NATS_CREDS'])(
    '%s that cannot be read is named, with its path',
    (name) => {
      const path = join(dir, 'nowhere.pem')
      environment({ NATS_CERT: '@certificate', NATS_KEY: '@key', [name]: path })
      expect(() => dialing(URL)).toThrow(new RegExp(`^${name}: ENOENT.*nowhere\\.pem`))
    },
  )

  test('a certificate without its key is refused', () => {
    environment({ NATS_CERT: '@certificate' })
    expect(() => dialing(URL)).toThrow('NATS_CERT and NATS_KEY belong together')
  })

  test('a server of our own is dialled plainly', () => {
    environment({ NATS_CA: '@authority' })
    expect(dialing(URL, { own: true }).tls).toBe(undefined)
  })
})
