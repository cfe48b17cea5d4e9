/** The example program that answers nats-server's question who may come in, against a real nats-server. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from '@nats-io/transport-node'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { connectHeadgate } from '#client'
import { configFile } from '#contracts/config'
import {
  gatewayPermissions,
  operatorPermissions,
  tenantPermissions,
  type Permissions,
} from '#contracts/permissions'
import { hashOf, holderOf, keysOf } from '../../examples/auth-callout/keys.ts'
import { rawConnection } from '../support/guarded-house.ts'
import { body, endOf, openHouse, type House } from '../support/house.ts'
import { inRoot, read } from '../support/tree.ts'

const KEYS = { a: 'hg_key-of-a', b: 'hg_key-of-b', gateway: 'hg_gateway', operator: 'hg_operator' }
const hashed = (name: keyof typeof KEYS) => `sha256:${hashOf(KEYS[name])}`
const yaml = (tenants: string): string =>
  `nats: { reply_prefixes: ["_INBOX_<tenant>."] }\ntenants:\n${tenants}`
const BOTH = yaml(
  `  a: { keys: ["${hashed('a')}"] }\n  b: { keys: ["${hashed('b')}"], lanes: [batch] }\n`,
)

let dir: string
let house: House
let program: Program

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'headgate-callout-'))
  writeFileSync(join(dir, 'headgate.yaml'), BOTH)
  const script = inRoot('examples/auth-callout/make-issuer.ts')
  const made = execFileSync(process.execPath, [script, join(dir, 'issuer.seed')]).toString()
  house = await openHouse({
    yaml: BOTH,
    nats: { config: serverConfig(made.trim().split('=')[1] ?? '') },
    login: { user: 'headgate', password: 'scheduler' },
    clientLogin: { user: 'headgate', password: 'scheduler' },
  })
  program = await launch()
})
afterAll(async () => {
  await program.stop('SIGTERM')
  await house.close()
  vi.unstubAllEnvs()
  rmSync(dir, { recursive: true })
})

/** The example's own, but for address and folder; its variables are in our environment. */
function serverConfig(issuer: string): string {
  vi.stubEnv('AUTH_PASSWORD', 'callout')
  vi.stubEnv('HEADGATE_PASSWORD', 'scheduler')
  vi.stubEnv('AUTH_ISSUER', issuer)
  return read('examples/auth-callout/nats.conf')
    .replace(/^listen: .*$/m, '')
    .replace('"./jetstream"', JSON.stringify(join(dir, 'jetstream')))
}

interface Program {
  child: ChildProcess
  lines: string[]
  /** Resolves with the first line that holds this. */
  saw(text: string): Promise<string>
  stop(signal: NodeJS.Signals): Promise<number | null>
}

async function launch(): Promise<Program> {
  const child = spawn(process.execPath, [inRoot('examples/auth-callout/auth-callout.ts')], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      NATS_URL: house.nats.url,
      NATS_USER: 'auth',
      NATS_PASSWORD: 'callout',
      HEADGATE_CONFIG: join(dir, 'headgate.yaml'),
      AUTH_ISSUER_SEED: join(dir, 'issuer.seed'),
      AUTH_GATEWAY_KEY: hashed('gateway'),
      AUTH_OPERATOR_KEY: hashed('operator'),
    },
  })
  const lines: string[] = []
  const waiting = new Set<() => void>()
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk: Buffer) => {
      lines.push(...chunk.toString().trimEnd().split('\n'))
      for (const look of waiting) look()
    })
  const exit = once(child, 'exit')
  const one: Program = {
    child,
    lines,
    saw: (text) =>
      new Promise((resolve) => {
        const look = (): void => {
          const line = lines.find((said) => said.includes(text))
          if (line === undefined) return
          waiting.delete(look)
          resolve(line)
        }
        waiting.add(look)
        look()
      }),
    async stop(signal) {
      child.kill(signal)
      return (await exit)[0] as number | null
    },
  }
  await one.saw('answers for the tenants')
  return one
}

const login = (login: { user?: string; pass?: string; token?: string }) =>
  connect({ servers: house.nats.url, reconnect: false, timeout: 5_000, ...login })
const raw = (name: keyof typeof KEYS) =>
  rawConnection({ url: house.nats.url, user: name, password: KEYS[name] })
const client = (name: keyof typeof KEYS, tenant: string = name) =>
  connectHeadgate({ servers: house.nats.url, tenant, user: name, password: KEYS[name] })

describe('auth callout', () => {
  test('the right key comes in and is served', async () => {
    const a = await client('a')
    expect(await endOf(a.request(body()))).toBe('completed')
    await a.close()
  })

  test('a key is a password, or a token without any name', async () => {
    const nc = await login({ token: KEYS.a })
    await nc.close()
  })

  test.each([
    ['a wrong key', { user: 'a', pass: 'hg_wrong' }],
    ['no key', { user: 'a', pass: '' }],
    ['nothing at all', {}],
    [
      'the hash instead of the key, as who read the file might try',
      { user: 'a', pass: hashed('a') },
    ],
    ["another's name", { user: 'b', pass: KEYS.a }],
    ["the operator's name", { user: 'operator', pass: KEYS.a }],
    ['a key as long as a book', { user: 'a', pass: 'x'.repeat(3_000) }],
  ])('is closed to %s', async (_, given) => {
    await expect(login(given)).rejects.toThrow(/Authorization/)
  })

  const instance = (pattern: string) => pattern.replace('*', 'x').replace('>', 'x.y')
  const holders: [keyof typeof KEYS, Permissions][] = [
    ['a', tenantPermissions({ subjectPrefix: 'llm', tenant: 'a', lanes: null })],
    ['b', tenantPermissions({ subjectPrefix: 'llm', tenant: 'b', lanes: ['batch'] })],
    [
      'gateway',
      gatewayPermissions({
        subjectPrefix: 'llm',
        tenants: [
          { tenant: 'a', lanes: null },
          { tenant: 'b', lanes: ['batch'] },
        ],
      }),
    ],
    ['operator', operatorPermissions({ subjectPrefix: 'llm' })],
  ]
  /** Whatever anybody may do, and what nobody may. */
  const published = [
    ...holders.flatMap(([, { publish }]) => publish.map(instance)),
    ...['orders.new', '$JS.API.INFO', '$SYS.REQ.USER.AUTH', '_INBOX_a.x', '_INBOX.x'],
  ]
  const subscribed = [
    ...holders.flatMap(([, { subscribe }]) => subscribe),
    ...['>', '$SYS.>', '$JS.>', '_INBOX.>', 'llm.v1.request.*.*'],
  ]
  const beyond = (asked: readonly string[], allowed: readonly string[]) =>
    asked.filter((subject) => !allowed.some((one) => covers(one, subject)))

  test.each(holders)('%s may do what it may, and nothing more', async (name, may) => {
    const { nc, violations, close } = await raw(name)
    for (const subject of published) nc.publish(subject)
    for (const subject of subscribed) nc.subscribe(subject, { callback: () => {} })
    await nc.flush()
    const refused = [
      ...beyond(published, may.publish).map((subject) => `publish ${subject}`),
      ...beyond(subscribed, may.subscribe).map((subject) => `subscription ${subject}`),
    ]
    await violations.take(refused.length)
    await nc.flush()
    const said = violations.all.map(({ operation, subject }) => `${operation} ${subject}`)
    expect(said.toSorted()).toEqual(refused.toSorted())
    await close()
  })

  test('the gateway asks for each tenant, and the operator administrates', async () => {
    const gateway = await client('gateway')
    expect(await endOf(gateway.as('a').request(body()))).toBe('completed')
    expect(await endOf(gateway.as('b').request(body(), { lane: 'batch' }))).toBe('completed')
    expect(await endOf(gateway.as('b').request(body(), { lane: 'premium' }))).toBe('forbidden')
    await gateway.close()
    const operator = await client('operator')
    expect(await operator.admin('snapshot')).toHaveProperty('instance', house.scheduler.instance)
    await operator.close()
  })

  test('a changed file counts for the next who comes, and a broken one leaves the last in force', async () => {
    writeFileSync(join(dir, 'headgate.yaml'), yaml(`  b: { keys: ["${hashed('b')}"] }\n`))
    await expect(login({ user: 'a', pass: KEYS.a })).rejects.toThrow(/Authorization/)
    await (await login({ user: 'b', pass: KEYS.b })).close()
    writeFileSync(join(dir, 'headgate.yaml'), `${BOTH}  secret-thing: [`)
    await (await login({ user: 'b', pass: KEYS.b })).close()
    expect(await program.saw('what it said last holds')).not.toContain('secret')
    writeFileSync(join(dir, 'headgate.yaml'), `${BOTH}# mended\n`)
    await (await login({ user: 'a', pass: KEYS.a })).close()
  })

  test('while it is away nobody new comes in and whoever is in is served; back, it goes on', async () => {
    const early = await client('a')
    expect(await program.stop('SIGKILL')).toBe(null)
    expect(await endOf(early.request(body()))).toBe('completed')
    await expect(login({ user: 'b', pass: KEYS.b })).rejects.toThrow()
    program = await launch()
    const late = await client('b')
    expect(await endOf(late.request(body(), { lane: 'batch' }))).toBe('completed')
    expect(await endOf(early.request(body()))).toBe('completed')
    await Promise.all([early.close(), late.close()])
  })

  test('it comes back by itself when the server does', async () => {
    await house.nats.restart()
    await expect
      .poll(() => login({ user: 'a', pass: KEYS.a }).then((nc) => nc.close()), { timeout: 30_000 })
      .toBeUndefined()
  })

  test('tells no key to anybody: not in its log', () => {
    for (const key of Object.values(KEYS)) expect(program.lines.join('\n')).not.toContain(key)
  })

  test('ends with status 0 when it is asked to', async () => {
    expect(await program.stop('SIGTERM')).toBe(0)
    program = await launch()
  })
})

test('the keys of a file: hashed or plain, each with its holder, and no holder for a stranger', () => {
  const file = configFile.parse({
    tenants: { a: { keys: [hashed('a'), 'plain-key-of-a'] }, b: { lanes: ['batch'] } },
  })
  const keys = keysOf(file, { operator: hashed('operator') })
  const who = (key: string, user = '') => holderOf(keys, { key, user })?.name ?? null
  expect([who(KEYS.a), who('plain-key-of-a', 'a'), who(KEYS.operator)]).toEqual([
    'a',
    'a',
    'operator',
  ])
  expect([who(KEYS.b), who(''), who(KEYS.a, 'b'), who(KEYS.gateway)]).toEqual([
    null,
    null,
    null,
    null,
  ])
})

/** Whether a pattern lets this subject through, which may be a narrower pattern. */
function covers(pattern: string, subject: string): boolean {
  const [wide, narrow] = [pattern.split('.'), subject.split('.')]
  for (const [at, token] of wide.entries()) {
    if (token === '>') return narrow.length > at
    const other = narrow[at]
    if (other === undefined || other === '>' || (token !== '*' && token !== other)) return false
  }
  return wide.length === narrow.length
}
