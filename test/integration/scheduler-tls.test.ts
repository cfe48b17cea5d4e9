/** The scheduler's connection over TLS, against a real nats-server and certificates of our own making. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  natsBus,
  type NatsBus,
  type NatsBusOptions,
} from '../../services/scheduler/nats/connection.ts'
import { systemClock } from '../../services/platform/system.ts'
import { heard } from '../support/heard.ts'
import { natsServer, type NatsServer } from '../support/nats-server.ts'
import { inRoot } from '../support/tree.ts'

let dir: string
let server: NatsServer
let strict: NatsServer
const open: { close(): Promise<void> }[] = []

/** `ca` signs `server` and `ours`; `other` signs itself. */
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'headgate-tls-'))
  certificate('ca', ['-subj', '/CN=ca', '-addext', 'basicConstraints=critical,CA:TRUE'])
  certificate('other', ['-subj', '/CN=other', '-addext', 'basicConstraints=critical,CA:TRUE'])
  const signed = ['-CA', path('ca.pem'), '-CAkey', path('ca.key')]
  certificate('server', ['-subj', '/CN=nats', '-addext', 'subjectAltName=IP:127.0.0.1', ...signed])
  certificate('named', ['-subj', '/CN=nats', '-addext', 'subjectAltName=DNS:localhost', ...signed])
  certificate('ours', ['-subj', '/CN=headgate', ...signed])
  writeFileSync(path('none.yaml'), '')
  server = await natsServer({ jetstream: false, config: tlsBlock('server') })
  const verify = `ca_file: ${JSON.stringify(path('ca.pem'))}, verify: true`
  strict = await natsServer({ jetstream: false, config: tlsBlock('server', verify) })
})
afterAll(async () => {
  for (const one of open) await one.close()
  await server.stop()
  await strict.stop()
  rmSync(dir, { recursive: true })
})

const path = (name: string): string => join(dir, name)
const pem = (name: string): string => readFileSync(path(name), 'utf8')

function certificate(name: string, args: readonly string[]): void {
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  const out = ['-keyout', path(`${name}.key`), '-out', path(`${name}.pem`)]
  execFileSync('openssl', ['req', '-x509', '-days', '2', ...key, ...out, ...args], {
    stdio: 'ignore',
  })
}

const tlsBlock = (name: string, more = ''): string =>
  `tls { cert_file: ${JSON.stringify(path(`${name}.pem`))}, key_file: ${JSON.stringify(path(`${name}.key`))}, ${more} }`

async function bus(servers: string, tls?: NatsBusOptions['tls']): Promise<NatsBus> {
  const opened = await natsBus({
    servers,
    tls,
    name: 'test',
    egressConnections: 1,
    clock: systemClock,
  })
  open.push(opened)
  return opened
}
const tls = (url: string): string => url.replace('nats:', 'tls:')

describe('a nats-server with TLS', () => {
  test('is reached with the CA that signed it, and carries messages', async () => {
    const one = await bus(server.url, { ca: pem('ca.pem') })
    const messages = heard<string>()
    one.subscribe('x', ({ data }) => messages.add(Buffer.from(data).toString()))
    await one.flush()
    one.publish('x', 'hello')
    expect(await messages.take(1)).toEqual(['hello'])
  })

  test.each([
    ['another CA', () => ({ ca: pem('other.pem') })],
    ['no CA', () => undefined],
  ])('is refused with %s, and the message says which variable would help', async (_, given) => {
    await expect(bus(server.url, given())).rejects.toThrow(
      new RegExp(
        `^cannot connect to NATS at ${server.url}: its certificate is signed by nobody whom we trust; ` +
          'NATS_CA names the file of who signed it \\(',
      ),
    )
  })

  test('is refused when its certificate names another address, numbers included', async () => {
    const named = await natsServer({ jetstream: false, config: tlsBlock('named') })
    await expect(bus(named.url, { ca: pem('ca.pem') })).rejects.toThrow(
      'its certificate is for another name than this address',
    )
    await bus(named.url.replace('127.0.0.1', 'localhost'), { ca: pem('ca.pem') })
    await named.stop()
  })

  test('that wants to know us is shown our certificate', async () => {
    const ca = pem('ca.pem')
    await bus(strict.url, { ca, cert: pem('ours.pem'), key: pem('ours.key') })
    const others = { ca, cert: pem('other.pem'), key: pem('other.key') }
    // In words of TLS where the server's word came in time, else as a silence that may mean this.
    await Promise.all(
      [{ ca }, others].map((given) =>
        expect(bus(strict.url, given)).rejects.toThrow(/cannot connect to NATS at .*NATS_CERT/),
      ),
    )
    await expect(
      bus(strict.url, { ca, cert: pem('ours.pem'), key: pem('other.key') }),
    ).rejects.toThrow('NATS_CERT and NATS_KEY do not belong together')
  })

  test('comes back encrypted after a restart', async () => {
    const one = await bus(tls(server.url), { ca: pem('ca.pem') })
    const back = heard<string>()
    one.onStatus(({ kind }) => back.add(kind))
    await server.restart()
    await back.find((kind) => kind === 'reconnected')
    await expect.poll(() => one.connected()).toBe(true)
    await one.flush()
  })
})

describe('a nats-server without TLS', () => {
  test('hears no password from one who asked for TLS, by address or by CA', async () => {
    const plain = await natsServer({ jetstream: false })
    const said = 'it offers no TLS, and the address or NATS_CA asks for it'
    await expect(bus(tls(plain.url))).rejects.toThrow(said)
    await expect(bus(plain.url, { ca: pem('ca.pem') })).rejects.toThrow(said)
    await bus(plain.url)
    await plain.stop()
  })
})

describe('the scheduler as a process', () => {
  test('reads the three files and connects', async () => {
    const { child, ended } = launch({
      NATS_URL: tls(strict.url),
      NATS_CA: path('ca.pem'),
      NATS_CERT: path('ours.pem'),
      NATS_KEY: path('ours.key'),
    })
    const [word] = await once(child, 'message')
    expect(word).toMatchObject({ type: 'ready', bus: 'nats' })
    child.kill('SIGTERM')
    expect((await ended).status).toBe(0)
  })

  const cases: [string, () => Record<string, string>, () => string][] = [
    [
      'a file that is not there',
      () => ({ NATS_CA: path('none.pem') }),
      () => `NATS_CA: ${path('none.pem')} cannot be read (ENOENT)`,
    ],
    [
      'a folder',
      () => ({ NATS_KEY: dir, NATS_CERT: path('ours.pem') }),
      () => `NATS_KEY: ${dir} cannot be read (EISDIR)`,
    ],
    [
      'something else than a certificate',
      () => ({ NATS_CERT: path('ours.key'), NATS_KEY: path('ours.key') }),
      () => `NATS_CERT: ${path('ours.key')} holds no such PEM text`,
    ],
    [
      'a certificate without its key',
      () => ({ NATS_CERT: path('ours.pem') }),
      () => 'NATS_CERT and NATS_KEY: a certificate needs its key; set both or neither',
    ],
    [
      'credentials that are not there',
      () => ({ NATS_CREDS: path('none.creds') }),
      () => `NATS_CREDS: ${path('none.creds')} cannot be read (ENOENT)`,
    ],
    [
      'the wrong CA',
      () => ({ NATS_CA: path('other.pem') }),
      () => 'its certificate is signed by nobody whom we trust; NATS_CA names the file',
    ],
  ]
  test.concurrent.each(cases)('given %s ends with one line that names it', async (_, env, said) => {
    const { child, ended } = launch({ NATS_URL: server.url, ...env() })
    const [word] = await once(child, 'message')
    expect(word).toMatchObject({ type: 'failed', message: expect.stringContaining(said()) })
    expect(await ended).toMatchObject({ status: 1, stderr: '' })
  })

  function launch(env: Record<string, string>) {
    const child = spawn(process.execPath, [inRoot('services/scheduler/main.ts')], {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      env: {
        ...process.env,
        HEADGATE_CONFIG: path('none.yaml'),
        HEADGATE_HTTP_PORT: '0',
        LOG_LEVEL: 'silent',
        ...env,
      },
    })
    const ended = Promise.all([once(child, 'exit'), text(child.stderr as NodeJS.ReadableStream)])
    return { child, ended: ended.then(([[status], stderr]) => ({ status, stderr })) }
  }
})
