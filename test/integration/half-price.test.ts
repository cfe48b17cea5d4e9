/** Half the price over a real nats-server: jobs that can wait go through the provider's batches, whatever dies. */
import Anthropic from '@anthropic-ai/sdk'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { connectHeadgate, type Headgate } from '#client'
import { jetstreamManager } from '@nats-io/jetstream'
import { HEADER } from '#contracts/messages'
import { connect, headers } from '@nats-io/transport-node'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  startSimulatedProvider,
  type SimulatedProvider,
  type SimulatedProviderOptions,
} from '../../services/simulated-provider/listener.ts'
import { body, endOf, openHouse, type House } from '../support/house.ts'
import { natsServer, type NatsServer } from '../support/nats-server.ts'
import { launch, type Program } from '../support/program.ts'

const MODEL = 'claude-sonnet-4-5'
const YAML = `
routes:
  - { model: ${MODEL}, batches: true }
  - { model: claude-haiku-4-5 }
tenants:
  unknown: default
  strict: { batches: false }
jobs:
  batches: { wait: 0, gather: 1, poll_max: 1, find: 1 }
`
const AT_ONCE: SimulatedProviderOptions = { ttftMs: 0, tokensPerSecond: 0, outputTokens: 12 }

const prompt = (text: string, more: object = {}) =>
  body({ messages: [{ role: 'user', content: text }], metadata: { user_id: text }, ...more })

/** How often each prompt ran, and through what. */
function executions(provider: SimulatedProvider): Record<string, string> {
  const runs: Record<string, string> = {}
  for (const { executed, user, batch } of provider.ledger().entries) {
    if (!executed || user === null) continue
    const how = batch === null ? 'line' : 'batch'
    runs[user] = user in runs ? `${runs[user]}, ${how}` : how
  }
  return runs
}
const each = (ids: readonly string[], how: string) => Object.fromEntries(ids.map((id) => [id, how]))

/** Subjects of the stream of jobs that hold a job or a claim. */
async function left(url: string): Promise<string[]> {
  const nc = await connect({ servers: url })
  try {
    const jsm = await jetstreamManager(nc)
    const { state } = await jsm.streams.info('HEADGATE_JOBS_llm', { subjects_filter: '>' })
    return Object.keys(state.subjects ?? {}).filter((subject) => !subject.includes('.flow.'))
  } finally {
    await nc.close()
  }
}

describe('in one house', () => {
  let house: House
  const open = async (provider: SimulatedProviderOptions = {}) => {
    house = await openHouse({ jobs: true, yaml: YAML, provider: { ...AT_ONCE, ...provider } })
    // No slot takes anything: what waits, waits for a batch.
    await house.scheduler.operator.lane({ lane: 'batch', paused: true })
  }
  afterEach(() => house.close())

  const submit = (ids: readonly string[], more: object = {}, client = house.client) =>
    Promise.all(ids.map((id) => client.submit(prompt(id, more), { id, lane: 'batch' })))
  const result = (id: string, client = house.client) => client.result(id, { waitMs: 20_000 })

  test('a backlog goes through batches, and each job has one result, streamed or not', async () => {
    await open({ batchMs: 1_000 })
    // More than the window: some of them wait in the scheduler, some in the store.
    const ids = Array.from({ length: 9 }, (_, i) => `half${i}`)
    await submit(ids.slice(0, 6))
    const nc = await connect({ servers: house.nats.url })
    for (const id of ids.slice(6)) {
      const given = headers()
      given.set(HEADER.id, id)
      const text = JSON.stringify(prompt(id, { stream: true }))
      await nc.request('llm.v1.submit.acme.batch', text, { headers: given, timeout: 5_000 })
    }
    await nc.close()
    for (const id of ids) {
      const { accounting, body: message } = await result(id)
      expect(accounting).toMatchObject({
        ...{ id, outcome: 'completed', servedBy: 'batch', model: MODEL, attempts: 1 },
      })
      expect(accounting.outputTokens).toBe(message.usage.output_tokens)
    }
    expect(executions(house.provider)).toEqual(each(ids, 'batch'))
    await expect.poll(() => left(house.nats.url), { timeout: 5_000 }).toEqual([])
    expect(await house.client.status('half0')).toMatchObject({ state: 'settled' })
  })

  test('who may not wait is served in line, and who is cancelled is told so, once', async () => {
    await open({ batchMs: 3_000 })
    await submit(['kept', 'called-off'])
    const near = { id: 'near', lane: 'batch', deadlineMs: 600_000 }
    await house.client.submit(prompt('near'), near)
    await submit(['small'], { model: 'claude-haiku-4-5' })
    const strict = await connectHeadgate({ servers: house.nats.url, tenant: 'strict' })
    await submit(['strict'], {}, strict)
    const sdk = new Anthropic({ apiKey: 'sk-planted-key', baseURL: house.provider.url })
    await expect
      .poll(async () => (await sdk.messages.batches.list()).data[0]?.request_counts.processing, {
        timeout: 10_000,
      })
      .toBe(2)
    expect(await house.client.status('called-off')).toMatchObject({ state: 'queued' })
    expect(await house.client.cancel('called-off')).toMatchObject({ cancelled: true })
    expect(await endOf(result('called-off'))).toBe('cancelled')
    expect((await result('kept')).accounting.servedBy).toBe('batch')
    await house.scheduler.operator.lane({ lane: 'batch', paused: false })
    expect((await result('near')).accounting.servedBy).toBe('upstream')
    expect((await result('small')).accounting.servedBy).toBe('upstream')
    expect((await result('strict', strict)).accounting.servedBy).toBe('upstream')
    expect(await endOf(result('called-off'))).toBe('cancelled')
    await expect.poll(() => left(house.nats.url), { timeout: 5_000 }).toEqual([])
    await strict.close()
  })

  test.each([
    ['lost on the way', { kind: 'reset_before_headers' }],
    ['an error of the server, though it was carried out', { kind: 'internal_500', executed: true }],
    ['a limit', { kind: 'rate_limited_requests', retryAfter: 1 }],
  ] as const)('a create whose answer is %s: each job runs once', async (_what, fault) => {
    await open({ batchMs: 500 })
    house.provider.fault({ ...fault, path: 'batches', times: 1 })
    await submit(['a', 'b', 'c'])
    if (fault.kind === 'rate_limited_requests') {
      // Refused, they are back in line, and a slot may have them.
      await expect.poll(() => house.provider.stats().byStatus['429'], { timeout: 10_000 }).toBe(1)
      await house.scheduler.operator.lane({ lane: 'batch', paused: false })
    }
    const served = await Promise.all(['a', 'b', 'c'].map((id) => result(id)))
    const how = fault.kind === 'rate_limited_requests' ? 'line' : 'batch'
    expect(served.map(({ accounting }) => accounting.servedBy)).toEqual(
      Array(3).fill(how === 'line' ? 'upstream' : 'batch'),
    )
    expect(executions(house.provider)).toEqual(each(['a', 'b', 'c'], how))
  })
})

describe('in processes of their own', () => {
  let nats: NatsServer
  let provider: SimulatedProvider
  let client: Headgate
  let dir: string
  const programs: Program[] = []
  beforeEach(async () => {
    nats = await natsServer()
    provider = await startSimulatedProvider({ ...AT_ONCE, batchMs: 2_000 })
    client = await connectHeadgate({ servers: nats.url, tenant: 'acme' })
    dir = await mkdtemp(join(tmpdir(), 'headgate-half-'))
    await writeFile(join(dir, 'headgate.yaml'), YAML)
  })
  afterEach(async () => {
    for (const program of programs.splice(0)) await program.kill()
    await client.close()
    await provider.close()
    await nats.stop()
    await rm(dir, { recursive: true })
  })

  const scheduler = async () => {
    const program = launch('scheduler', {
      NATS_URL: nats.url,
      ANTHROPIC_BASE_URL: provider.url,
      ANTHROPIC_API_KEY: 'sk-planted-key',
      HEADGATE_HTTP_PORT: '0',
      HEADGATE_CONFIG: join(dir, 'headgate.yaml'),
    })
    programs.push(program)
    expect((await program.told).type).toBe('ready')
    return program
  }
  const pause = async () => {
    const nc = await connect({ servers: nats.url })
    await nc.request('llm.v1.admin.lane', JSON.stringify({ lane: 'batch', paused: true }))
    await nc.close()
  }

  test('killed while a batch is under way, another reads its results, and nothing runs twice', async () => {
    const first = await scheduler()
    await pause()
    const ids = Array.from({ length: 6 }, (_, i) => `killed${i}`)
    await Promise.all(ids.map((id) => client.submit(prompt(id), { id, lane: 'batch' })))
    const sdk = new Anthropic({ apiKey: 'sk-planted-key', baseURL: provider.url })
    await expect
      .poll(async () => (await sdk.messages.batches.list()).data.length, { timeout: 15_000 })
      .toBe(1)
    first.child.kill('SIGKILL')
    await first.exit
    await scheduler()
    for (const id of ids) {
      const { accounting } = await client.result(id, { waitMs: 60_000 })
      expect(accounting).toMatchObject({ id, servedBy: 'batch' })
    }
    expect(executions(provider)).toEqual(each(ids, 'batch'))
    await expect.poll(() => left(nats.url), { timeout: 5_000 }).toEqual([])
  }, 90_000)
})
