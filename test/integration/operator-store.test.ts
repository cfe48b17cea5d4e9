/** Operators act while the store does not: schedulers as processes of their own, on a nats-server whose JetStream
 *  is deleted, full, or standing still. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Kvm } from '@nats-io/kv'
import { jetstreamManager } from '@nats-io/jetstream'
import { connect, type NatsConnection } from '@nats-io/transport-node'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { startSimulatedProvider } from '../../services/simulated-provider/listener.ts'
import { natsServer, type NatsServer } from '../support/nats-server.ts'
import { standStill } from '../support/stand-still.ts'
import { launch } from '../support/program.ts'

const TOKEN = 'let-me-in'
let provider: Awaited<ReturnType<typeof startSimulatedProvider>>
let nats: NatsServer
let nc: NatsConnection
const programs: ReturnType<typeof launch>[] = []

beforeAll(async () => {
  provider = await startSimulatedProvider({ ttftMs: 0, tokensPerSecond: 0, outputTokens: 2 })
})
afterAll(() => provider.close())
beforeEach(async () => {
  nats = await natsServer()
  nc = await connect({ servers: nats.url })
})
afterEach(async () => {
  await Promise.all(programs.splice(0).map((one) => one.kill()))
  await nc.close()
  await nats.stop('SIGKILL')
})

async function scheduler(env: Record<string, string> = {}) {
  const program = launch('scheduler', {
    NATS_URL: nats.url,
    ANTHROPIC_BASE_URL: provider.url,
    ANTHROPIC_API_KEY: 'sk-planted-key',
    HEADGATE_HTTP_PORT: '0',
    HEADGATE_ADMIN_TOKEN: TOKEN,
    ...env,
  })
  programs.push(program)
  const told = await program.told
  if (told.type === 'failed') throw new Error(told.message)
  const url = told.http ?? ''
  return {
    program,
    async act(op: string, body: object): Promise<Answer> {
      const headers = { authorization: `Bearer ${TOKEN}` }
      const sent = { method: 'POST', headers, body: JSON.stringify(body) }
      const response = await fetch(`${url}/api/admin/${op}`, sent)
      expect(response.status).toBe(200)
      return (await response.json()) as Answer
    },
    emergency: async (): Promise<boolean> =>
      ((await (await fetch(`${url}/api/snapshot`)).json()) as { emergency: boolean }).emergency,
  }
}
interface Answer {
  durable: boolean
  reason: string | null
  obeyed_by: string[]
}

const overNats = async (op: string, body: object): Promise<Answer> =>
  (await nc.request(`llm.v1.admin.${op}`, JSON.stringify(body), { timeout: 20_000 })).json<Answer>()

test('the bucket is deleted: everyone obeys, over NATS and over HTTP, and it is stored anew', async () => {
  const [one, two] = [await scheduler(), await scheduler()]
  const manager = await jetstreamManager(nc)
  await manager.streams.delete('KV_headgate_config_llm')
  const on = await overNats('emergency', { on: true })
  expect(on.durable).toBe(true)
  expect(on.obeyed_by).toHaveLength(2)
  expect(await Promise.all([one.emergency(), two.emergency()])).toEqual([true, true])

  await manager.streams.delete('KV_headgate_config_llm')
  const off = await two.act('emergency', { on: false })
  expect(off.obeyed_by).toHaveLength(2)
  expect(await Promise.all([one.emergency(), two.emergency()])).toEqual([false, false])

  await one.act('emergency', { on: true })
  // One that comes later finds it.
  expect(await (await scheduler()).emergency()).toBe(true)
})

test('the bucket is full: obeyed, and the answer says that it is not stored', async () => {
  const one = await scheduler()
  const manager = await jetstreamManager(nc)
  const { config } = await manager.streams.info('KV_headgate_config_llm')
  await manager.streams.update('KV_headgate_config_llm', { ...config, max_bytes: 10 })
  const said = await one.act('emergency', { on: true })
  expect(said.durable).toBe(false)
  expect(said.reason).toMatch(/^JetStream refused: maximum/)
  expect(await one.emergency()).toBe(true)
  const lane = await overNats('lane', { lane: 'batch', paused: true })
  expect(lane.durable).toBe(false)
})

test('the server stands still, or is killed: an act over HTTP is in force within two seconds', async () => {
  const one = await scheduler()
  await standStill(nats.pid)
  const began = performance.now()
  const still = await one.act('emergency', { on: true })
  expect(performance.now() - began).toBeLessThan(2_500)
  expect(still).toMatchObject({ durable: false, reason: expect.stringMatching(/has not answered/) })
  expect(await one.emergency()).toBe(true)
  process.kill(nats.pid, 'SIGCONT')
  await nats.kill()
  const away = await one.act('emergency', { on: false })
  expect(away.durable).toBe(false)
  expect(await one.emergency()).toBe(false)
})

test('two prefixes on one account switch apart, and read what the shared bucket said before', async () => {
  const older = await new Kvm(nc).create('headgate_config')
  await older.put('paused_lanes', 'batch')
  const dir = await mkdtemp(join(tmpdir(), 'headgate-prefix-'))
  const file = join(dir, 'staging.yaml')
  await writeFile(file, 'subject_prefix: staging\n')
  const [one, staging] = [await scheduler(), await scheduler({ HEADGATE_CONFIG: file })]
  const snapshot = await nc.request('llm.v1.admin.snapshot', '')
  const { lanes } = snapshot.json<{ lanes: Record<string, { paused?: boolean }> }>()
  expect(JSON.stringify(lanes)).toContain('"paused":true')
  await one.act('lane', { lane: 'batch', paused: false })
  await staging.act('emergency', { on: true })
  const answer = await one.act('lane', { lane: 'interactive', paused: true })
  expect(answer.obeyed_by).toHaveLength(1)
  expect(await Promise.all([one.emergency(), staging.emergency()])).toEqual([false, true])
  const streams = await (await jetstreamManager(nc)).streams.list().next()
  const names = streams.map(({ config }) => config.name)
  const own = ['HEADGATE_JOBS', 'HEADGATE_DEAD', 'HEADGATE_RESULTS']
  const kept = ['batches', 'cache', 'config', 'fleet', 'gatherings', 'usage']
  const buckets = kept.map((name) => `KV_headgate_${name}`)
  const of = (prefix: string) => [...own, ...buckets].map((name) => `${name}_${prefix}`)
  expect(names.toSorted()).toEqual(
    [...of('llm'), ...of('staging'), 'KV_headgate_config'].toSorted(),
  )
  expect((await older.get('paused_lanes'))?.string()).toBe('batch')
  await rm(dir, { recursive: true })
})
