/** What a container's health check runs, before doors that are ready, not ready, silent, or not there. */
import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { readyzAnswer, type Doors } from '#contracts/readiness'
import { selfSigned } from '../support/certificate.ts'
import { surroundings } from '../support/program.ts'
import { inRoot } from '../support/tree.ts'

let servers: Server[] = []
afterEach(() => {
  for (const one of servers) {
    one.closeAllConnections()
    one.close()
  }
  servers = []
})

interface Ended {
  status: number | null
  stdout: string
  stderr: string
}
const health = (env: Record<string, string>, ...args: string[]): Promise<Ended> =>
  new Promise((resolve) => {
    const child = spawn(process.execPath, [inRoot('services/cli/headgate.ts'), 'health', ...args], {
      env: surroundings(env),
    })
    const ended: Ended = { status: null, stdout: '', stderr: '' }
    child.stdout.on('data', (part: Buffer) => (ended.stdout += part.toString()))
    child.stderr.on('data', (part: Buffer) => (ended.stderr += part.toString()))
    child.on('close', (status) => resolve({ ...ended, status }))
  })

/** Null: it accepts and says nothing. */
async function serve(doors: Doors | null, tls?: { cert: string; key: string }): Promise<string> {
  const answer = (url: string): { status: number; body: string } => {
    const asked = new URL(url, 'http://here').searchParams.get('door') ?? undefined
    const { status, body } = readyzAnswer(doors ?? {}, asked)
    return { status, body: JSON.stringify(body) }
  }
  const heard: Parameters<typeof createServer>[1] = (request, response) => {
    if (doors === null) return
    const { status, body } = answer(request.url ?? '/')
    response.writeHead(status, { 'content-type': 'application/json' }).end(body)
  }
  const server = tls === undefined ? createServer(heard) : createTlsServer(tls, heard)
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return String((server.address() as AddressInfo).port)
}

/** Nobody listens there. */
async function free(): Promise<string> {
  const port = await serve({})
  await new Promise((resolve) => servers.pop()?.close(resolve))
  return port
}

const DOWN: Doors = { nats: ['NATS is not connected'] }

test('a door that serves is enough; one that is named must serve itself', async () => {
  const port = await serve({ ...DOWN, http: [] })
  const env = { HEADGATE_HTTP_PORT: port, HEADGATE_GATEWAY_PORT: await serve({ http: [] }) }
  expect(await health(env)).toMatchObject({
    status: 0,
    stdout: 'ready (nats: NATS is not connected; http: ready)\n',
  })
  expect((await health(env, '--door', 'http')).status).toBe(0)
  const nats = await health(env, '--door', 'nats', '--json')
  expect(nats.status).toBe(1)
  expect(JSON.parse(nats.stdout)).toMatchObject({ ready: false, reasons: DOWN.nats })
})

test('no door that serves is status 1', async () => {
  const ended = await health({ HEADGATE_HTTP_PORT: await serve(DOWN) })
  expect(ended).toMatchObject({ status: 1, stdout: 'not ready (nats: NATS is not connected)\n' })
})

test('the HTTP door alone is asked at its own port', async () => {
  const env = { HEADGATE_HTTP_PORT: await free(), HEADGATE_GATEWAY_PORT: await serve({ http: [] }) }
  expect(await health(env)).toMatchObject({ status: 0, stdout: 'ready (http: ready)\n' })
})

test('with TLS it asks over https, whoever signed the certificate, and wherever all addresses are served', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'headgate-health-'))
  const { cert, key } = await selfSigned(dir)
  await rm(dir, { recursive: true })
  const env = {
    HEADGATE_HTTP_PORT: await serve({ nats: [] }, { cert, key }),
    HEADGATE_TLS_CERT: '/cert.pem',
    HEADGATE_HOST: '0.0.0.0',
  }
  expect(await health(env)).toMatchObject({ status: 0 })
})

test('nobody there, silence, and a stranger are told apart', async () => {
  const [a, b] = [await free(), await free()]
  const nobody = await health({ HEADGATE_HTTP_PORT: a, HEADGATE_GATEWAY_PORT: b })
  expect(nobody).toMatchObject({ status: 1, stdout: '' })
  expect(nobody.stderr).toContain(
    `nobody listens at http://127.0.0.1:${a}, nor at http://127.0.0.1:${b}`,
  )
  const silent = await health({ HEADGATE_HTTP_PORT: await serve(null) }, '--timeout', '100')
  expect(silent.status).toBe(1)
  expect(silent.stderr).toContain('has not answered within 100 ms')
  const stranger = await health({ HEADGATE_HTTP_PORT: await serve({}) })
  expect(stranger.status).toBe(1)
  expect(stranger.stderr).toContain('answered 400 and not as a Headgate does')
})

test.each([
  [{ HEADGATE_HTTP_PORT: '0' }, [], 'HEADGATE_HTTP_PORT=0: expected the port'],
  [{ HEADGATE_GATEWAY_PORT: 'x' }, [], 'HEADGATE_GATEWAY_PORT=x: expected the port'],
  [{}, ['--door', 'back'], 'Allowed choices are any, nats, http'],
  [{}, ['--timeout', '0'], 'expected a whole number from 1'],
])('called wrong ends with status 2: %j %j', async (env, args, said) => {
  const ended = await health(env, ...args)
  expect(ended.stderr).toContain(said)
  expect(ended.status).toBe(2)
})
