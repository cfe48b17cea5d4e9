/** What was used outlives the process that counted it: killed, it loses its last second at most; stopped, nothing. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, type NatsConnection } from '@nats-io/transport-node'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { connectHeadgate, type Headgate } from '#client'
import { dayOf, type UsageReport } from '#contracts/usage-report'
import { systemClock } from '../../services/platform/system.ts'
import { natsUsageStore } from '../../services/scheduler/nats/usage-store.ts'
import {
  startSimulatedProvider,
  type SimulatedProvider,
} from '../../services/simulated-provider/listener.ts'
import { body } from '../support/house.ts'
import { natsServer, type NatsServer } from '../support/nats-server.ts'
import { headgate, launch, type Program } from '../support/program.ts'

const DAY = 86_400_000
let dir: string
let nats: NatsServer
let nc: NatsConnection
let provider: SimulatedProvider
let client: Headgate
const programs: Program[] = []

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'headgate-usage-'))
  nats = await natsServer({ dir })
  nc = await connect({ servers: nats.url })
  provider = await startSimulatedProvider({ ttftMs: 0, tokensPerSecond: 0, outputTokens: 9 })
  client = await connectHeadgate({ servers: nats.url, tenant: 'acme' })
}, 60_000)
afterAll(async () => {
  for (const one of programs) await one.kill()
  await client.close()
  await nc.close()
  await provider.close()
  await nats.stop()
  await rm(dir, { recursive: true, force: true })
})

async function scheduler(): Promise<Program> {
  const program = launch('scheduler', {
    NATS_URL: nats.url,
    ANTHROPIC_BASE_URL: provider.url,
    ANTHROPIC_API_KEY: 'sk-planted-key',
    HEADGATE_HTTP_PORT: '0',
  })
  programs.push(program)
  expect(await program.told).toMatchObject({ type: 'ready' })
  return program
}

const calls = async (count: number): Promise<void> => {
  for (let i = 0; i < count; i++) await client.request(body())
}

/** A test may begin before midnight. */
const yesterday = (): string => dayOf(Date.now() - DAY)

const reported = async (): Promise<number> => {
  const { rows } = (await client.admin('usage', { from: yesterday(), by: [] })) as UsageReport
  return rows.reduce((sum, row) => sum + row.calls, 0)
}

test('a killed instance left what it had written, and the next one writes beside it', async () => {
  const store = await natsUsageStore({
    ...{ connection: nc, clock: systemClock, bucket: 'headgate_usage_llm', replicas: 1 },
    keepMs: 100 * DAY,
  })
  const first = await scheduler()
  await calls(5)
  // It writes by itself: nobody asks it.
  const written = async (): Promise<number> => {
    const days = await Promise.all([yesterday(), dayOf(Date.now())].map((day) => store.read(day)))
    return days.flat().reduce((sum, row) => sum + row.calls, 0)
  }
  await expect.poll(written, { timeout: 10_000, interval: 100 }).toBe(5)
  first.child.kill('SIGKILL')
  await first.exit

  const second = await scheduler()
  await calls(3)
  expect(await reported()).toBe(8)
  await calls(1)
  second.child.kill('SIGTERM')
  expect(await second.exit).toBe(0)

  await scheduler()
  expect(await reported()).toBe(9)
  const said = headgate(['usage', '--nats', nats.url, '--csv', '--by', 'tenant'], {})
  expect(await said.exit).toBe(0)
  expect(said.output()).toMatch(/^acme,true,9,/m)
}, 120_000)
