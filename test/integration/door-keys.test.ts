/** Who is let in by the HTTP door: keys that come, go and move while it runs, and nobody else's web pages where
 *  there are none. */
import { createHash } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { clientSystem, natsTransport, type Transport } from '#client'
import { subjects } from '#contracts/subjects'
import { openDoor, params, type Door } from '../support/door.ts'
import { openHouse, type House } from '../support/house.ts'
import { natsServer, type NatsServer } from '../support/nats-server.ts'
import { headgate, launch, type Program } from '../support/program.ts'
import { post, rawCall } from '../support/raw-http.ts'
import {
  startSimulatedProvider,
  type SimulatedProvider,
} from '../../services/simulated-provider/listener.ts'

const hashed = (key: string): string => `sha256:${createHash('sha256').update(key).digest('hex')}`

/** `hg_first` and so on, by tenant. */
const fileOf = (tenants: Record<string, string[]>): string =>
  JSON.stringify({
    tenants: Object.fromEntries(
      Object.entries(tenants).map(([name, keys]) => [name, { keys: keys.map(hashed) }]),
    ),
  })

const BODY = JSON.stringify(params())
const IN_FORCE = 'the changed configuration is in force'

interface Running {
  url: string
  nats: string
  program: Program
  close(): Promise<void>
}

/** The door alone, before a scheduler that is elsewhere. */
async function standalone(config: string): Promise<Running> {
  const house: House = await openHouse()
  const program = launch('gateway', {
    NATS_URL: house.nats.url,
    HEADGATE_CONFIG: config,
    HEADGATE_GATEWAY_PORT: '0',
  })
  const { gateway = '', message } = await program.told
  if (message !== undefined) throw new Error(message)
  const close = async () => {
    program.child.kill('SIGTERM')
    expect(await program.exit).toBe(0)
    await house.close()
  }
  return { url: gateway, nats: house.nats.url, program, close }
}

/** `headgate serve --gateway`. */
async function served(config: string): Promise<Running> {
  const nats: NatsServer = await natsServer()
  const provider: SimulatedProvider = await startSimulatedProvider({
    ttftMs: 0,
    tokensPerSecond: 0,
  })
  const program = headgate(['serve', '--gateway', '--config', config], {
    NATS_URL: nats.url,
    ANTHROPIC_BASE_URL: provider.url,
    ANTHROPIC_API_KEY: 'sk-planted-key',
    HEADGATE_HTTP_PORT: '0',
    HEADGATE_GATEWAY_PORT: '0',
  })
  await program.saw('the HTTP door is open')
  const url = /"at":"([^"]+)","msg":"the HTTP door is open"/.exec(program.output())?.[1] ?? ''
  const close = async () => {
    program.child.kill('SIGTERM')
    expect(await program.exit).toBe(0)
    await provider.close()
    await nats.stop()
  }
  return { url, nats: nats.url, program, close }
}

describe.each([
  ['headgate gateway', standalone],
  ['headgate serve --gateway', served],
] as const)('%s', (_, start) => {
  let dir: string
  let config: string
  let running: Running
  let events: Transport
  /** Of requests that have settled, in order. */
  const about: string[] = []
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'headgate-keys-'))
    config = join(dir, 'headgate.yaml')
    await writeFile(config, fileOf({ acme: ['hg_first_key'] }))
    running = await start(config)
    events = await natsTransport({ servers: running.nats, system: clientSystem })
    events.subscribe(subjects('llm').requestEvent('*', '*'), (message) => {
      if (!message.header('ce-type')?.endsWith('.settled')) return
      about.push(message.header('ce-subject') ?? '')
    })
    await events.ready()
  })
  afterAll(async () => {
    await events.close()
    await running.close()
    await rm(dir, { recursive: true })
  })

  const ask = async (headers: Record<string, string>): Promise<number> => {
    const answer = await fetch(`${running.url}/v1/messages`, {
      method: 'POST',
      body: BODY,
      headers,
    })
    const said = (await answer.json()) as { headgate?: { code: string } }
    if (answer.status === 401) expect(said.headgate?.code).toBe('unauthenticated')
    return answer.status
  }
  const by = (key: string): Promise<number> => ask({ 'x-api-key': key })
  let changes = 0
  const change = async (text: string): Promise<void> => {
    await writeFile(config, text)
    changes++
    while (running.program.output().split(IN_FORCE).length <= changes) await line()
  }
  /** The next thing that the program writes. */
  const line = (): Promise<void> =>
    new Promise((resolve) => running.program.child.stdout?.once('data', () => resolve()))

  test('a key that is replaced lets nobody in, and the one that replaces it does', async () => {
    expect([await by('hg_first_key'), await by('hg_second_key')]).toEqual([200, 401])
    await change(fileOf({ acme: ['hg_first_key', 'hg_second_key'] }))
    expect([await by('hg_first_key'), await by('hg_second_key')]).toEqual([200, 200])
    await change(fileOf({ acme: ['hg_second_key'] }))
    expect([await by('hg_first_key'), await by('hg_second_key')]).toEqual([401, 200])
    expect(await ask({ authorization: 'Bearer hg_second_key' })).toBe(200)
    expect(await ask({})).toBe(401)
  })

  test('a key that moves to another tenant is that tenant from then on', async () => {
    const moved = () => about.filter((one) => one.includes('/moves-'))
    let asked = 0
    const by = (key: string) => ask({ 'x-api-key': key, 'headgate-id': `moves-${asked++}` })
    await change(fileOf({ acme: ['hg_third_key'], other: ['hg_second_key'] }))
    expect([await by('hg_second_key'), await by('hg_third_key')]).toEqual([200, 200])
    await change(fileOf({ acme: ['hg_second_key'], other: ['hg_third_key'] }))
    expect([await by('hg_second_key'), await by('hg_third_key')]).toEqual([200, 200])
    await events.ready()
    while (moved().length < 4) await new Promise(setImmediate)
    expect(moved()).toEqual(['other/moves-0', 'acme/moves-1', 'acme/moves-2', 'other/moves-3'])
  })

  test('a configuration that is refused changes no key', async () => {
    await writeFile(config, 'tenants: { acme: { keys: [1] } }')
    await running.program.saw('the changed configuration is refused')
    expect(await by('hg_second_key')).toBe(200)
  })

  test('the last key gone opens nothing', async () => {
    await change(fileOf({}))
    expect([await by('hg_second_key'), await by('hg_first_key'), await ask({})]).toEqual([
      401, 401, 401,
    ])
    await change(fileOf({ acme: ['hg_first_key'] }))
    expect([await by('hg_first_key'), await ask({})]).toEqual([200, 401])
  })

  test('no key is in what it wrote', () => {
    expect(running.program.output()).not.toMatch(/hg_|sha256/)
  })
})

describe('without a key', () => {
  let door: Door
  afterEach(() => door.close())

  const status = async (
    headers: Record<string, string>,
    path = '/v1/messages',
  ): Promise<number> => {
    const { port } = new URL(door.url)
    const named = Object.entries({ host: '127.0.0.1:PORT', connection: 'close', ...headers })
    const told = Object.fromEntries(named.map(([name, text]) => [name, text.replace('PORT', port)]))
    const text = post(path, BODY, told)
    return Number((await rawCall(door.url, text).closed).slice(9, 12))
  }

  describe('on a loopback address', () => {
    beforeEach(async () => {
      door = await openDoor()
    })

    test.each([
      ['its address', {}],
      ['its address without a port', { host: '127.0.0.1' }],
      ['its other name', { host: 'localhost:PORT' }],
      ['its other name in capitals', { host: 'LOCALHOST:PORT' }],
      ['its other address', { host: '[::1]:PORT' }],
      ['any key', { 'x-api-key': 'sk-ant-anything' }],
      ['a page of its own', { origin: 'http://127.0.0.1:PORT' }],
      ['a page of its own, as browsers tell it', { 'sec-fetch-site': 'same-origin' }],
      ['an address that somebody typed', { 'sec-fetch-site': 'none' }],
    ])('it serves %s', async (_, headers) => {
      expect(await status(headers as Record<string, string>)).toBe(200)
    })

    test.each([
      ['a name that points here', { host: 'evil.example:PORT' }],
      ['a name that begins as ours', { host: '127.0.0.1.evil.example:PORT' }],
      ['a name that ends as ours', { host: 'evil-localhost:PORT' }],
      ['a name of a service that gives such names', { host: '127-0-0-1.rebind.example' }],
      ['an address of this machine that is not ours', { host: '10.0.0.1:PORT' }],
      ['any address', { host: '0.0.0.0:PORT' }],
      ['an address in a name', { host: 'localhost@evil.example' }],
      ['a host with a path', { host: 'localhost/evil.example' }],
      ['an empty host', { host: '' }],
      ['a mapped address', { host: '[::ffff:127.0.0.1]' }],
      ['a page from elsewhere', { origin: 'https://evil.example' }],
      ['a page without an origin', { origin: 'null' }],
      ['a page on another port', { origin: 'http://127.0.0.1:1' }],
      ['a page on another of our names', { origin: 'http://localhost:PORT' }],
      ['a page from elsewhere, as browsers tell it', { 'sec-fetch-site': 'cross-site' }],
      ['a page of another port, as browsers tell it', { 'sec-fetch-site': 'same-site' }],
      [
        'a page from elsewhere with any key',
        { 'x-api-key': 'sk-ant-x', origin: 'https://evil.example' },
      ],
    ])('it does not serve %s', async (_, headers) => {
      for (const path of ['/v1/messages', '/v1/messages/count_tokens'])
        expect(await status(headers as Record<string, string>, path)).toBe(403)
      await door.rest()
      expect(door.scheduler.recording.recent()).toEqual([])
    })

    test('a page that asks whether it may is not told so', async () => {
      const answer = await fetch(`${door.url}/v1/messages`, {
        method: 'OPTIONS',
        headers: { origin: 'https://evil.example', 'access-control-request-method': 'POST' },
      })
      expect(answer.ok).toBe(false)
      expect(
        [...answer.headers.keys()].filter((name) => name.startsWith('access-control')),
      ).toEqual([])
    })

    test('the first key that is configured shuts it, and its end does not open it again', async () => {
      expect(await status({})).toBe(200)
      door.scheduler.configure(fileOf({ acme: ['hg_first_key'] }))
      expect(await status({})).toBe(401)
      expect(await status({ 'x-api-key': 'sk-ant-anything' })).toBe(401)
      expect(await status({ 'x-api-key': 'hg_first_key' })).toBe(200)
      door.scheduler.configure('{}')
      expect(await status({})).toBe(401)
    })

    test('nor does it where nobody but the holder of that key came meanwhile', async () => {
      door.scheduler.configure(fileOf({ acme: ['hg_first_key'] }))
      expect(await status({ 'x-api-key': 'hg_first_key' })).toBe(200)
      door.scheduler.configure('{}')
      expect([await status({}), await status({ 'x-api-key': 'hg_first_key' })]).toEqual([401, 401])
    })
  })

  test('it serves the IPv6 loopback address by its own names', async () => {
    door = await openDoor({ host: '::1' })
    expect(door.url).toMatch(/^http:\/\/\[::1\]:\d+$/)
    expect(await status({ host: '[::1]:PORT' })).toBe(200)
    expect(await status({ host: 'localhost:PORT' })).toBe(200)
    expect(await status({ host: '[::2]:PORT' })).toBe(403)
    expect(await status({ host: 'evil.example:PORT' })).toBe(403)
  })

  test.each(['0.0.0.0', '::', '::ffff:127.0.0.1', '10.0.0.1', 'localhost.evil.example'])(
    'it refuses to start on %s, and says what to do',
    async (host) => {
      door = await openDoor()
      await expect(openDoor({ host })).rejects.toThrow(/HEADGATE_HOST: .*tenants\.<name>\.keys/)
    },
  )
})
