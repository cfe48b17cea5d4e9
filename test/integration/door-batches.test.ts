/** Message batches through the door, by the unmodified TypeScript SDK: as against the API itself. */
import Anthropic from '@anthropic-ai/sdk'
import type { BatchCreateParams, MessageBatch } from '@anthropic-ai/sdk/resources/messages/batches'
import { PAGE_BYTES } from '#contracts/batches'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { openBatchDoor, type BatchDoor } from '../support/batch-door.ts'
import { openDoor, params } from '../support/door.ts'

const sha = async (text: string) =>
  Buffer.from(await crypto.subtle.digest('SHA-256', Buffer.from(text))).toString('hex')

let door: BatchDoor
let sdk: Anthropic
beforeAll(async () => {
  const keys = { acme: await sha('hg_acme'), other: await sha('hg_other') }
  door = await openBatchDoor({
    yaml: `
tenants:
  acme: { keys: ['sha256:${keys.acme}'] }
  other: { keys: ['sha256:${keys.other}'], lanes: [premium] }
routes: [{ model: claude-haiku-4-5 }]
gateway: { batch_bytes: 2000000, batches_receiving_max: 8 }
batches: { entries_max: 1500 }
`,
  })
  sdk = door.sdk({ apiKey: 'hg_acme' })
})
afterEach(() => door.scheduler.operator.lane({ lane: 'batch', paused: false }))
afterAll(() => door.close())

const entry = (custom_id: string, more: object = {}): BatchCreateParams.Request => ({
  custom_id,
  params: params(more),
})

/** Until it has ended, asked as an SDK's user would. */
async function ended(id: string, client = sdk): Promise<MessageBatch> {
  for (;;) {
    const batch = await client.messages.batches.retrieve(id)
    if (batch.processing_status === 'ended') return batch
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

async function resultsOf(id: string, client = sdk) {
  const all = []
  for await (const one of await client.messages.batches.results(id)) all.push(one)
  return all
}

const failure = async (asked: Promise<unknown>) =>
  asked.then(
    () => 'it did not fail',
    (error: unknown) => error as InstanceType<typeof Anthropic.APIError>,
  )

describe('a batch', () => {
  test('is created, polled, ends, gives one result for each entry, and is deleted', async () => {
    const ids = Array.from({ length: 25 }, (_, i) => `entry-${i}`)
    const created = await sdk.messages.batches.create({ requests: ids.map((id) => entry(id)) })
    expect(created).toMatchObject({
      type: 'message_batch',
      processing_status: 'in_progress',
      request_counts: { processing: 25, succeeded: 0, errored: 0, canceled: 0, expired: 0 },
      ...{ ended_at: null, cancel_initiated_at: null, archived_at: null, results_url: null },
    })
    expect(created.id).toMatch(/^msgbatch_/)
    expect(Date.parse(created.expires_at) - Date.parse(created.created_at)).toBe(86_400_000)
    const batch = await ended(created.id)
    expect(batch.request_counts).toEqual({
      ...{ processing: 0, succeeded: 25, errored: 0, canceled: 0, expired: 0 },
    })
    expect(Date.parse(batch.ended_at ?? '')).toBeGreaterThanOrEqual(Date.parse(batch.created_at))
    expect(batch.results_url).toBe(`${door.url}/v1/messages/batches/${batch.id}/results`)
    const results = await resultsOf(batch.id)
    expect(results.map(({ custom_id }) => custom_id).toSorted()).toEqual(ids.toSorted())
    for (const { result } of results) {
      if (result.type !== 'succeeded') throw new Error(JSON.stringify(result))
      expect(result.message).toMatchObject({ type: 'message', role: 'assistant' })
    }
    expect(await sdk.messages.batches.delete(batch.id)).toEqual({
      id: batch.id,
      type: 'message_batch_deleted',
    })
    expect(await failure(sdk.messages.batches.retrieve(batch.id))).toMatchObject({ status: 404 })
    expect(await failure(sdk.messages.batches.delete(batch.id))).toMatchObject({ status: 404 })
    expect((await door.kept.batches?.idsOf('acme')) ?? []).not.toContain(batch.id)
  })

  test('tells each entry what is wrong with it, in the words of the API', async () => {
    const { id } = await sdk.messages.batches.create({
      requests: [
        entry('good'),
        entry('no-messages', { messages: [] }),
        entry('no-model', { model: 'nobody-serves-it' }),
      ],
    })
    expect((await ended(id)).request_counts).toMatchObject({ succeeded: 1, errored: 2 })
    const results = new Map(
      (await resultsOf(id)).map(({ custom_id, result }) => [custom_id, result]),
    )
    expect(results.get('good')?.type).toBe('succeeded')
    expect(results.get('no-messages')).toMatchObject({
      type: 'errored',
      error: { type: 'error', error: { type: 'invalid_request_error' } },
    })
    expect(results.get('no-model')).toMatchObject({
      type: 'errored',
      error: { error: { type: 'not_found_error' } },
    })
  })

  test('of several pages is whole', async () => {
    const ids = Array.from({ length: 12 }, (_, i) => `e${i}`)
    const system = 'x'.repeat(PAGE_BYTES / 4)
    const { id } = await sdk.messages.batches.create({
      requests: ids.map((one) => entry(one, { system })),
    })
    const kept = await door.kept.batches?.find({ tenant: 'acme', id })
    expect(kept?.batch.pages).toBeGreaterThan(2)
    expect((await ended(id)).request_counts.succeeded).toBe(ids.length)
    const told = (await resultsOf(id)).map(({ custom_id }) => custom_id)
    expect(told.toSorted()).toEqual(ids.toSorted())
  })

  test('is cancelled in the middle: what did not run is canceled, and each entry has its line', async () => {
    const { operator } = door.scheduler
    await operator.lane({ lane: 'batch', paused: true })
    const ids = Array.from({ length: 60 }, (_, i) => `c${i}`)
    const { id } = await sdk.messages.batches.create({ requests: ids.map((one) => entry(one)) })
    expect(await failure(sdk.messages.batches.delete(id))).toMatchObject({
      status: 400,
      type: 'invalid_request_error',
    })
    expect(await failure(resultsOf(id))).toBeInstanceOf(Anthropic.AnthropicError)
    const canceling = await sdk.messages.batches.cancel(id)
    expect(canceling.processing_status).toBe('canceling')
    expect(canceling.cancel_initiated_at).not.toBeNull()
    const batch = await ended(id)
    expect(batch.request_counts).toMatchObject({ canceled: 60, succeeded: 0, processing: 0 })
    expect((await resultsOf(id)).map(({ result }) => result.type)).toEqual(
      ids.map(() => 'canceled'),
    )
    // Once more is no fault, and changes nothing.
    expect(await sdk.messages.batches.cancel(id)).toEqual(batch)
  })

  test('ends as expired where its time is over before its turn', async () => {
    const { operator } = door.scheduler
    await operator.lane({ lane: 'batch', paused: true })
    const { id } = await sdk.messages.batches.create(
      { requests: [entry('late'), entry('later')] },
      { headers: { 'headgate-deadline-ms': '300' } },
    )
    expect((await ended(id)).request_counts.expired).toBe(2)
    expect((await resultsOf(id)).map(({ result }) => result)).toEqual([
      { type: 'expired' },
      { type: 'expired' },
    ])
  })

  test('goes upstream with the version and betas that it was sent with, and in the lane it names', async () => {
    const beta = await sdk.beta.messages.batches.create(
      { betas: ['some-beta'], requests: [entry('b') as never] },
      { headers: { 'headgate-lane': 'premium' } },
    )
    await ended(beta.id)
    const [lane] = await jobsOf(beta.id)
    expect(lane).toBe('premium')
  })

  test("is its tenant's alone", async () => {
    const { id } = await sdk.messages.batches.create({ requests: [entry('mine')] })
    await ended(id)
    const other = door.sdk({ apiKey: 'hg_other' })
    for (const act of ['retrieve', 'cancel', 'delete', 'results'] as const)
      expect(await failure(other.messages.batches[act](id))).toMatchObject({
        status: 404,
        type: 'not_found_error',
      })
    expect((await other.messages.batches.list()).data).toEqual([])
    // A lane that the tenant may not use.
    const refused = await failure(other.messages.batches.create({ requests: [entry('x')] }))
    expect(refused).toMatchObject({ status: 403, type: 'permission_error' })
  })
})

/** Lanes in which a batch's entries ended. */
async function jobsOf(id: string): Promise<string[]> {
  const found = await door.kept.batches?.results({ tenant: 'acme', id }, 0, {
    count: 10,
    bytes: 1_000_000,
  })
  return (found ?? []).map(
    ({ headers }) => headers.find(([name]) => name === 'Headgate-Lane')?.[1] ?? '',
  )
}

describe('the list', () => {
  test('has the last first, in pages, from either side', async () => {
    for (const { id } of (await sdk.messages.batches.list({ limit: 1_000 })).data) {
      await ended(id)
      await sdk.messages.batches.delete(id)
    }
    const made: string[] = []
    for (let i = 0; i < 5; i++) {
      made.unshift((await sdk.messages.batches.create({ requests: [entry(`l${i}`)] })).id)
      // Ids of one millisecond have no order.
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
    const paged: string[] = []
    for await (const { id } of sdk.messages.batches.list({ limit: 2 })) paged.push(id)
    expect(paged).toEqual(made)
    const first = await sdk.messages.batches.list({ limit: 2 })
    expect(first).toMatchObject({ has_more: true, first_id: made[0], last_id: made[1] })
    const before = await sdk.messages.batches.list({ limit: 2, before_id: made[3] ?? '' })
    expect(before.data.map(({ id }) => id)).toEqual([made[1], made[2]])
    expect(before.has_more).toBe(true)
    for (const limit of [0, 1_001])
      expect(await failure(sdk.messages.batches.list({ limit }))).toMatchObject({
        status: 400,
        message: expect.stringContaining('limit: expected a whole number from 1 to 1000'),
      })
  })
})

describe('what is no batch', () => {
  const post = (body: string | ReadableStream, headers: Record<string, string> = {}) =>
    fetch(`${door.url}/v1/messages/batches`, {
      method: 'POST',
      body,
      headers: { 'x-api-key': 'hg_acme', ...headers },
      duplex: 'half',
    } as RequestInit)

  const many = (count: number) =>
    JSON.stringify({
      requests: Array.from({ length: count }, (_, i) => ({ custom_id: `${i}`, params: {} })),
    })

  test.each([
    ['no JSON', 'requests', 'body: '],
    ['no end', '{"requests":[{"custom_id":"a","params":{}}]', 'body: '],
    ['no list', '{}', 'requests: '],
    ['an empty list', '{"requests":[]}', 'requests: '],
    ['no name', '{"requests":[{"params":{}}]}', 'requests.0.custom_id: '],
    [
      'a name that is none',
      '{"requests":[{"custom_id":"a b","params":{}}]}',
      'requests.0.custom_id: ',
    ],
    ['no params', '{"requests":[{"custom_id":"a"}]}', 'requests.0.params: '],
    [
      'a name twice',
      '{"requests":[{"custom_id":"a","params":{}},{"custom_id":"a","params":{}}]}',
      'requests.1.custom_id: ',
    ],
    ['more entries than may be', many(1_501), 'requests: '],
  ])('%s: 400, which says where, and nothing is kept', async (_what, body, where) => {
    const before = await door.kept.batches?.idsOf('acme')
    const answer = await post(body)
    expect(answer.status).toBe(400)
    const said = (await answer.json()) as { type: string; error: { type: string; message: string } }
    expect(said).toMatchObject({ type: 'error', error: { type: 'invalid_request_error' } })
    expect(said.error.message.startsWith(where)).toBe(true)
    // Told of before the answer leaves; the bus is in order.
    await sdk.messages.batches.list()
    expect(await door.kept.batches?.idsOf('acme')).toEqual(before)
  })

  test('a body that is too large is 413, announced or not', async () => {
    const large = JSON.stringify({ requests: [entry('a', { system: 'x'.repeat(2_000_000) })] })
    const announced = await post(large)
    expect(announced.status).toBe(413)
    expect(await announced.json()).toMatchObject({ error: { type: 'request_too_large' } })
    const streamed = new ReadableStream({
      start(to) {
        to.enqueue(Buffer.from(large))
        to.close()
      },
    })
    expect((await post(streamed)).status).toBe(413)
  })

  test('a caller who goes in the middle leaves nothing', async () => {
    const before = await door.kept.batches?.idsOf('acme')
    const leaving = new AbortController()
    let begun = () => {}
    const read = new Promise<void>((resolve) => (begun = resolve))
    const body = new ReadableStream({
      async pull(to) {
        to.enqueue(Buffer.from('{"requests":['))
        begun()
        await new Promise(() => {})
      },
    })
    const asked = fetch(`${door.url}/v1/messages/batches`, {
      ...{ method: 'POST', body, headers: { 'x-api-key': 'hg_acme' }, signal: leaving.signal },
      duplex: 'half',
    } as RequestInit)
    await read
    const open = async () => (await door.kept.batches?.idsOf('acme'))?.length ?? 0
    while ((await open()) === before?.length) await new Promise((resolve) => setTimeout(resolve, 5))
    leaving.abort()
    await expect(asked).rejects.toThrow()
    while ((await open()) > (before?.length ?? 0))
      await new Promise((resolve) => setTimeout(resolve, 5))
    expect(await door.kept.batches?.idsOf('acme')).toEqual(before)
  })

  test('another method is 405, an id that is none 404', async () => {
    const ask = (method: string, path: string) =>
      fetch(`${door.url}/v1/messages/batches${path}`, {
        method,
        headers: { 'x-api-key': 'hg_acme' },
      })
    expect((await ask('PUT', '')).status).toBe(405)
    expect((await ask('GET', '/msgbatch_x/cancel')).status).toBe(405)
    expect((await ask('GET', '/a%20b')).status).toBe(404)
    expect((await ask('GET', '/msgbatch_nobody')).status).toBe(404)
  })
})

test('without durable jobs: said in the shape of the API, with what is missing', async () => {
  const without = await openDoor()
  const client = without.sdk()
  for (const ask of [
    () => client.messages.batches.create({ requests: [entry('a')] }),
    () => client.messages.batches.retrieve('msgbatch_1'),
    () => client.messages.batches.list(),
  ]) {
    const error = await failure(Promise.resolve(ask()))
    expect(error).toMatchObject({ status: 501, type: 'api_error' })
    expect(String((error as Error).message)).toContain('JetStream')
  }
  await without.close()
})
