/** The scheduler as a process of its own: signals, a violent end, and its configuration file. */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Snapshot } from '#contracts/snapshot'
import { connectHeadgate, type Headgate } from '#client'
import {
  startSimulatedProvider,
  type SimulatedProvider,
} from '../../services/simulated-provider/listener.ts'
import { body, endOf } from '../support/house.ts'
import { natsServer, type NatsServer } from '../support/nats-server.ts'

let nats: NatsServer
let provider: SimulatedProvider
let client: Headgate
let dir: string
const children: ChildProcess[] = []

beforeAll(async () => {
  nats = await natsServer()
  provider = await startSimulatedProvider({ ttftMs: 200, tokensPerSecond: 0, outputTokens: 12 })
  client = await connectHeadgate({ servers: nats.url, tenant: 'acme' })
  dir = await mkdtemp(join(tmpdir(), 'headgate-process-'))
})
afterAll(async () => {
  for (const child of children) child.kill('SIGKILL')
  await client.close()
  await provider.close()
  await nats.stop()
  await rm(dir, { recursive: true })
})

interface Told {
  type: string
  http?: string
  message?: string
}

function launch(env: Record<string, string> = {}): {
  child: ChildProcess
  told: Promise<Told>
  exit: Promise<number | null>
  lines: string[]
  saw: (text: string) => Promise<void>
} {
  const child = fork(new URL('../../services/scheduler/main.ts', import.meta.url), [], {
    env: {
      ...process.env,
      NATS_URL: nats.url,
      ANTHROPIC_BASE_URL: provider.url,
      ANTHROPIC_API_KEY: 'sk-planted-key',
      HEADGATE_HTTP_PORT: '0',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  })
  children.push(child)
  const lines: string[] = []
  const waiting = new Set<() => void>()
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk: Buffer) => {
      lines.push(chunk.toString())
      for (const look of waiting) look()
    })
  return {
    child,
    lines,
    told: once(child, 'message').then(([message]) => message as Told),
    exit: once(child, 'exit').then(([code]) => code as number | null),
    saw: (text) =>
      new Promise((resolve) => {
        const look = (): void => {
          if (!lines.join('').includes(text)) return
          waiting.delete(look)
          resolve()
        }
        waiting.add(look)
        look()
      }),
  }
}

test('SIGTERM under load: every request has an answer, and the process ends with 0', async () => {
  const config = join(dir, 'small.yaml')
  await writeFile(config, 'llm_gateway: { max_inflight_global: 5 }\n')
  const { child, told, exit } = launch({ HEADGATE_CONFIG: config })
  expect((await told).type).toBe('ready')
  const asked = Array.from({ length: 30 }, (_, i) =>
    endOf(client.request(body(), { id: `term${i}` })),
  )
  await client.status('term29')
  child.kill('SIGTERM')
  const ends = await Promise.all(asked)
  expect(await exit).toBe(0)
  expect(ends.filter((one) => one === 'completed').length).toBeGreaterThanOrEqual(5)
  expect(new Set(ends)).toEqual(new Set(['completed', 'draining']))
})

test('SIGKILL: callers get a clear end, and a retry on a new instance works', async () => {
  const first = launch()
  await first.told
  const asked = [1, 2, 3].map(() => endOf(client.request(body(), { deadlineMs: 800 })))
  await client.admin('snapshot')
  first.child.kill('SIGKILL')
  await first.exit
  expect(await Promise.all(asked)).toEqual(['no_answer', 'no_answer', 'no_answer'])
  expect(await endOf(client.request(body()))).toBe('unreachable')
  const second = launch()
  await second.told
  expect(await endOf(client.request(body()))).toBe('completed')
  second.child.kill('SIGTERM')
  expect(await second.exit).toBe(0)
})

test.each([
  [
    'an unknown key',
    'llm_gateway: { max_inflight_globall: 5 }\n',
    /llm_gateway\.max_inflight_globall.*max_inflight_global\b/s,
  ],
  [
    'a contradiction',
    'lanes: { premium: { reserved_slots: 30 } }\n',
    /lanes\.premium\.reserved_slots.*30.*20/s,
  ],
  ['no YAML', 'lanes: [\n', /:2:1|:1:/],
  [
    'a value out of range',
    'llm_gateway: { circuit_breaker: { open_seconds: 90 } }\n',
    /open_seconds.*20/s,
  ],
])('a configuration with %s stops the start with its place', async (_, yaml, says) => {
  const config = join(dir, 'bad.yaml')
  await writeFile(config, yaml)
  const { told, exit } = launch({ HEADGATE_CONFIG: config })
  const { type, message = '' } = await told
  expect(type).toBe('failed')
  expect(message).toMatch(/bad\.yaml:\d+:\d+/)
  expect(message).toMatch(says)
  expect(await exit).toBe(1)
})

test('a changed file is applied without losing a request; a broken one is refused whole', async () => {
  const config = join(dir, 'live.yaml')
  await writeFile(config, 'llm_gateway: { max_inflight_global: 3 }\n')
  const { child, told, exit, saw } = launch({ HEADGATE_CONFIG: config })
  const { http } = await told
  const refused = async (): Promise<string | undefined> =>
    /^headgate_config_refused (\d)$/m.exec(await (await fetch(`${http}/metrics`)).text())?.[1]
  const conditions = async (): Promise<string[]> => {
    const seen = (await client.admin('snapshot')) as Snapshot
    return seen.conditions.map((one) => one.condition).filter((name) => name.startsWith('config'))
  }
  const limit = async (): Promise<number> => {
    const { global } = (await client.admin('snapshot')) as { global: { limit: number } }
    return global.limit
  }
  expect(await limit()).toBe(3)
  const asked = Array.from({ length: 12 }, () => endOf(client.request(body())))
  await writeFile(config, 'llm_gateway: { max_inflight_global: 7 }\n')
  await saw('in force')
  expect(await limit()).toBe(7)
  await writeFile(config, 'llm_gateway: { max_inflight_globall: 9 }\n')
  await saw('is refused')
  expect(await limit()).toBe(7)
  expect(await refused()).toBe('1')
  expect(await conditions()).toEqual(['config_refused'])
  await writeFile(config, 'llm_gateway: { max_inflight_global: 8 }\n')
  while ((await limit()) !== 8);
  expect(await refused()).toBe('0')
  expect(await conditions()).toEqual([])
  expect(await Promise.all(asked)).toEqual(Array.from({ length: 12 }, () => 'completed'))
  child.kill('SIGTERM')
  expect(await exit).toBe(0)
})

test('the emergency switch outlives a restart', async () => {
  const first = launch()
  await first.told
  await client.admin('emergency', { on: true })
  first.child.kill('SIGTERM')
  await first.exit
  const second = launch()
  await second.told
  expect(await client.admin('snapshot')).toMatchObject({ emergency: true })
  await client.admin('emergency', { on: false })
  second.child.kill('SIGTERM')
  await second.exit
})
