/** Half the price over a real nats-server: jobs that can wait go through the provider's batches, whatever dies. */
import Anthropic from '@anthropic-ai/sdk'
import { describe, expect, test, vi } from 'vitest'
import { connectHeadgate } from '#client'
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
import { body, endOf, openHouse } from '../support/house.ts'
import { natsServer } from '../support/nats-server.ts'
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
const soon = (is: () => unknown) => vi.waitFor(is, { timeout: 15_000, interval: 50 })
const nothingLeft = (url: string) => soon(async () => expect(await left(url)).toEqual([]))

/** A house of its own for one test. No slot takes anything there: what waits, waits for a batch. */
async function openPlace(provider: SimulatedProviderOptions = {}) {
  const house = await openHouse({ jobs: true, yaml: YAML, provider: { ...AT_ONCE, ...provider } })
  await house.scheduler.operator.lane({ lane: 'batch', paused: true })
  return {
    ...house,
    submit: (ids: readonly string[], more: object = {}, client = house.client) =>
      Promise.all(ids.map((id) => client.submit(prompt(id, more), { id, lane: 'batch' }))),
    result: (id: string, client = house.client) => client.result(id, { waitMs: 20_000 }),
  }
}
type Place = Awaited<ReturnType<typeof openPlace>>

describe.concurrent('half the price', () => {
  const at = (
    what: string,
    provider: SimulatedProviderOptions,
    play: (place: Place) => Promise<void>,
  ): void =>
    test(what, async () => {
      const place = await openPlace(provider)
      try {
        await play(place)
      } finally {
        await place.close()
      }
    })

  // The longest comes first: only some run at once.
  test('killed while a batch is under way, another reads its results, and nothing runs twice', async () => {
    const nats = await natsServer()
    const provider = await startSimulatedProvider({ ...AT_ONCE, batchMs: 2_000 })
    const client = await connectHeadgate({ servers: nats.url, tenant: 'acme' })
    const dir = await mkdtemp(join(tmpdir(), 'headgate-half-'))
    await writeFile(join(dir, 'headgate.yaml'), YAML)
    const programs: Program[] = []
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
    try {
      const first = await scheduler()
      await pauseBatch(nats.url)
      const ids = Array.from({ length: 6 }, (_, i) => `killed${i}`)
      await Promise.all(ids.map((id) => client.submit(prompt(id), { id, lane: 'batch' })))
      const sdk = new Anthropic({ apiKey: 'sk-planted-key', baseURL: provider.url })
      await soon(async () => expect((await sdk.messages.batches.list()).data).toHaveLength(1))
      first.child.kill('SIGKILL')
      await first.exit
      await scheduler()
      for (const id of ids) {
        const { accounting } = await client.result(id, { waitMs: 60_000 })
        expect(accounting).toMatchObject({ id, servedBy: 'batch' })
      }
      expect(executions(provider)).toEqual(each(ids, 'batch'))
      await nothingLeft(nats.url)
    } finally {
      for (const program of programs) await program.kill()
      await client.close()
      await provider.close()
      await nats.stop()
      await rm(dir, { recursive: true })
    }
  }, 90_000)

  at(
    'a backlog goes through batches, and each job has one result, streamed or not',
    { batchMs: 1_000 },
    async ({ client, nats, provider, submit, result }) => {
      // More than the window: some of them wait in the scheduler, some in the store.
      const ids = Array.from({ length: 9 }, (_, i) => `half${i}`)
      await submit(ids.slice(0, 6))
      const nc = await connect({ servers: nats.url })
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
      expect(executions(provider)).toEqual(each(ids, 'batch'))
      await nothingLeft(nats.url)
      expect(await client.status('half0')).toMatchObject({ state: 'settled' })
    },
  )

  at(
    'who may not wait is served in line, and who is cancelled is told so, once',
    { batchMs: 3_000 },
    async ({ client, nats, provider, scheduler, submit, result }) => {
      await submit(['kept', 'called-off'])
      const near = { id: 'near', lane: 'batch', deadlineMs: 600_000 }
      await client.submit(prompt('near'), near)
      await submit(['small'], { model: 'claude-haiku-4-5' })
      const strict = await connectHeadgate({ servers: nats.url, tenant: 'strict' })
      await submit(['strict'], {}, strict)
      const sdk = new Anthropic({ apiKey: 'sk-planted-key', baseURL: provider.url })
      await soon(async () => {
        const [batch] = (await sdk.messages.batches.list()).data
        expect(batch?.request_counts.processing).toBe(2)
      })
      expect(await client.status('called-off')).toMatchObject({ state: 'queued' })
      expect(await client.cancel('called-off')).toMatchObject({ cancelled: true })
      expect(await endOf(result('called-off'))).toBe('cancelled')
      expect((await result('kept')).accounting.servedBy).toBe('batch')
      await scheduler.operator.lane({ lane: 'batch', paused: false })
      expect((await result('near')).accounting.servedBy).toBe('upstream')
      expect((await result('small')).accounting.servedBy).toBe('upstream')
      expect((await result('strict', strict)).accounting.servedBy).toBe('upstream')
      expect(await endOf(result('called-off'))).toBe('cancelled')
      await nothingLeft(nats.url)
      await strict.close()
    },
  )

  for (const [what, fault] of [
    ['lost on the way', { kind: 'reset_before_headers' }],
    ['an error of the server, though it was carried out', { kind: 'internal_500', executed: true }],
    ['a limit', { kind: 'rate_limited_requests', retryAfter: 1 }],
  ] as const)
    at(
      `a create whose answer is ${what}: each job runs once`,
      { batchMs: 500 },
      async ({ provider, scheduler, submit, result }) => {
        provider.fault({ ...fault, path: 'batches', times: 1 })
        await submit(['a', 'b', 'c'])
        if (fault.kind === 'rate_limited_requests') {
          // Refused, they are back in line, and a slot may have them.
          await soon(() => expect(provider.stats().byStatus['429']).toBe(1))
          await scheduler.operator.lane({ lane: 'batch', paused: false })
        }
        const served = await Promise.all(['a', 'b', 'c'].map((id) => result(id)))
        const how = fault.kind === 'rate_limited_requests' ? 'line' : 'batch'
        expect(served.map(({ accounting }) => accounting.servedBy)).toEqual(
          Array(3).fill(how === 'line' ? 'upstream' : 'batch'),
        )
        expect(executions(provider)).toEqual(each(['a', 'b', 'c'], how))
      },
    )
})

async function pauseBatch(url: string): Promise<void> {
  const nc = await connect({ servers: url })
  await nc.request('llm.v1.admin.lane', JSON.stringify({ lane: 'batch', paused: true }))
  await nc.close()
}
