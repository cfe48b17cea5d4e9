/** The unmodified Python SDK, sync and async, in front of the door: as against the API itself. Skipped, with
 *  one line that says why, where there is no Python or its packages cannot be had. */
import { randomBytes } from 'node:crypto'
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest'
import { faultKinds, type FaultKind } from '../../services/simulated-provider/faults.ts'
import { refused } from '../simulated-provider/fault-table.ts'
import { cannedClaude, SIGNATURE, type CannedClaude } from '../support/canned-claude.ts'
import { openDoor, params, type Door } from '../support/door.ts'
import {
  openPythonSdk,
  type PythonAnswer,
  type PythonCall,
  type PythonEnd,
  type PythonError,
} from '../support/python.ts'
import { scriptedUpstream, type ScriptedUpstream, type Turn } from '../support/scripted-upstream.ts'

const python = await openPythonSdk()
afterAll(() => python?.close())

const CLIENTS = ['sync', 'async'] as const
type Client = (typeof CLIENTS)[number]

/** A call of a client that does not retry; `more` may say otherwise. */
const callAt = (base_url: string, client: Client, more: Partial<PythonCall> = {}): PythonCall => ({
  client,
  do: 'messages.create',
  params: params(),
  ...more,
  options: { base_url, api_key: 'sk-anything', max_retries: 0, ...more.options },
})

const ended = (call: PythonCall): Promise<PythonEnd> =>
  python?.call(call) ?? Promise.reject(new Error('no Python'))

async function answered(call: PythonCall): Promise<PythonAnswer> {
  const end = await ended(call)
  if ('error' in end) throw new Error(`it failed: ${JSON.stringify(end.error)}`)
  return end.ok
}

async function failed(call: PythonCall): Promise<PythonError> {
  const end = await ended(call)
  if ('ok' in end) throw new Error('it did not fail')
  return end.error
}

describe.skipIf(python === null)('every error class is raised as against the API', () => {
  let door: Door
  beforeEach(async () => {
    door = await openDoor({ yaml: ONCE })
  })
  afterEach(() => door.close())

  const told = ({ class: named, parents, status, type, code }: PythonError) => {
    return { named, parents, status, type, code }
  }

  for (const [kind, row] of Object.entries(refused))
    test(`${kind}: ${faultKinds[kind as FaultKind].means}`, async () => {
      door.provider.fault({ ...row.spec, kind: kind as FaultKind })
      const direct = await failed(callAt(door.provider.url, 'sync'))
      expect(direct).toMatchObject({ status: row.status, type: row.type })
      for (const client of CLIENTS) {
        // A model of its own, since a route that was told to wait would.
        const asked = { ...params(), model: MODELS[client] }
        const through = await failed(callAt(door.url, client, { params: asked }))
        expect(told(through)).toEqual(told(direct))
        const { request_id, headgate } = through.body as ErrorBody
        expect(through.request_id).toMatch(/^req_/)
        expect(through.request_id).toBe(request_id)
        expect(through.headers['x-should-retry']).toBe('false')
        const retryAfterMs = Number(through.headers['retry-after'] ?? NaN) * 1_000
        expect(retryAfterMs).toBe(headgate.retryable ? headgate.retry_after_ms : NaN)
        if (headgate.retryable && Number(row.retryAfter ?? 0) > 0)
          expect(through.headers['retry-after']).toBe(row.retryAfter)
      }
    })

  for (const kind of ['too_large_413', 'bad_gateway_502', 'unavailable_html_503'] as const)
    test(`a page of the edge keeps its status and class, and becomes JSON: ${kind}`, async () => {
      door.provider.fault({ kind })
      const direct = await failed(callAt(door.provider.url, 'sync'))
      const through = await failed(callAt(door.url, 'sync'))
      expect([through.class, through.status]).toEqual([direct.class, direct.status])
      const type = kind === 'too_large_413' ? 'request_too_large' : 'api_error'
      expect([direct.type, through.type]).toEqual([null, type])
    })

  for (const client of CLIENTS) {
    test(`a first error event of a stream becomes the status that it should have had, ${client}`, async () => {
      door.provider.fault({ kind: 'error_event_first' })
      const streamed = { params: params({ stream: true }) }
      expect(await failed(callAt(door.url, client, streamed))).toMatchObject({
        class: 'OverloadedError',
        status: 529,
        type: 'overloaded_error',
      })
    })

    test(`an error event in a stream is raised where it stands, ${client}`, async () => {
      door.provider.fault({ kind: 'error_event_late' })
      const streamed = { do: 'messages.stream', params: params() }
      const direct = await failed(callAt(door.provider.url, client, streamed))
      const through = await failed(callAt(door.url, client, streamed))
      expect([through.class, through.status, through.type]).toEqual([
        direct.class,
        direct.status,
        'overloaded_error',
      ])
      expect(through.body).toMatchObject({ headgate: { code: 'stream_broken' } })
    })
  }
})

describe.skipIf(python === null)('answers are as from the API', () => {
  let claude: CannedClaude
  let door: Door
  beforeEach(async () => {
    claude = await cannedClaude()
    door = await openDoor({ upstreamUrl: claude.url })
  })
  afterEach(async () => {
    await door.close()
    await claude.close()
  })

  /** Runs it at the upstream and through the door, with each client; gives what the upstream heard last, and
   *  what the program read. */
  async function allWays<Read>(
    run: (at: (more?: Partial<PythonCall>) => PythonCall) => Promise<Read>,
  ) {
    const direct = await run((more) => callAt(claude.url, 'sync', more))
    const asked = claude.heard().map(bytesOf)
    let heard: Turn[] = []
    for (const client of CLIENTS) {
      const through = await run((more) => callAt(door.url, client, more))
      expect(through).toEqual(direct)
      heard = claude.heard()
      expect(heard.map(bytesOf)).toEqual(asked)
    }
    return { read: direct, heard }
  }

  for (const options of [{}, { max_retries: 2 }])
    test(`a message, ${'max_retries' in options ? 'with the default retries' : 'without retries'}`, async () => {
      const { read } = await allWays(async (at) => (await answered(at({ options }))).body)
      expect(read).toMatchObject({ id: 'msg_01canned', stop_reason: 'end_turn' })
    })

  test('the headers tell the upstream id of a message, and the accounting', async () => {
    const { headers, retries } = await answered(callAt(door.url, 'sync'))
    expect(headers).toMatchObject({ 'request-id': 'req_canned', 'headgate-outcome': 'completed' })
    expect(retries).toBe(0)
  })

  test('a stream, event by event and through the helper', async () => {
    const { read } = await allWays(async (at) => {
      const raw = await answered(at({ params: params({ stream: true }) }))
      const { events, final } = await answered(at({ do: 'messages.stream' }))
      return { raw: raw.events as { type: string }[], events, final }
    })
    expect(read.raw.map(({ type }) => type)).toEqual([
      'message_start',
      'content_block_start',
      'content_block_delta',
      'content_block_delta',
      'content_block_stop',
      'message_delta',
      'message_stop',
    ])
    expect(read.events.filter((name) => name === 'text')).toHaveLength(2)
    expect(read.final).toMatchObject({ id: 'msg_01canned', usage: { output_tokens: 40 } })
  })

  test("a stream's id is our own", async () => {
    const { request_id } = await answered(callAt(door.url, 'async', { do: 'messages.stream' }))
    expect(request_id).toMatch(/^r_/)
  })

  test('a thought with its signature, and a tool with its input, streamed', async () => {
    const asked = params({ thinking: { type: 'adaptive' }, tools: [WEATHER] })
    const { read, heard } = await allWays(async (at) => {
      return (await answered(at({ do: 'messages.stream', params: asked }))).final
    })
    expect(read).toMatchObject({
      stop_reason: 'tool_use',
      content: [
        { type: 'thinking', signature: SIGNATURE },
        { type: 'text' },
        { type: 'tool_use', name: 'weather', input: { place: 'Zürich' } },
      ],
    })
    expect(jsonOf(heard[0])).toMatchObject({ tools: [WEATHER] })
  })

  test('the tool runner runs its tools', async () => {
    const { read, heard } = await allWays(async (at) => {
      return (await answered(at({ do: 'beta.messages.tool_runner' }))).turns
    })
    expect(read.map(({ stop_reason }) => stop_reason)).toEqual(['tool_use', 'end_turn'])
    expect(heard[1]?.body.toString()).toContain('rain from the west')
  })

  test('an image arrives byte for byte', async () => {
    const image = randomBytes(1_500_000)
    const source = { type: 'base64', media_type: 'image/png', data: image.toString('base64') }
    const messages = [{ role: 'user', content: [{ type: 'image', source }] }]
    const { heard } = await allWays(async (at) => {
      return (await answered(at({ params: { ...params(), messages } }))).body
    })
    const [asked] = heard.map(jsonOf) as { messages: typeof messages }[]
    const arrived = Buffer.from(asked?.messages[0]?.content[0]?.source.data ?? '', 'base64')
    expect(arrived.equals(image)).toBe(true)
  })

  test('a beta is a header upstream', async () => {
    const asked = { ...params(), betas: ['interleaved-thinking-2025-05-14'] }
    const { heard } = await allWays(async (at) => {
      return (await answered(at({ do: 'beta.messages.create', params: asked }))).body
    })
    expect(heard[0]?.headers['anthropic-beta']).toBe(asked.betas[0])
  })

  test('tokens are counted, models listed and named', async () => {
    const { model, messages } = params()
    const { read } = await allWays(async (at) => [
      (await answered(at({ do: 'messages.count_tokens', params: { model, messages } }))).body,
      (await answered(at({ do: 'models.list', params: { limit: 1 } }))).body,
      (await answered(at({ do: 'models.retrieve', args: ['claude-opus-4-6'], params: {} }))).body,
    ])
    expect(read).toMatchObject([
      { input_tokens: 2_095 },
      { data: [{ id: 'claude-haiku-4-5' }], has_more: true },
      { id: 'claude-opus-4-6' },
    ])
  })
})

describe.skipIf(python === null)('with the retries that the SDK has by default', () => {
  let door: Door
  let upstream: ScriptedUpstream | null = null
  afterEach(async () => {
    await door.close()
    await upstream?.close()
    upstream = null
  })

  const DEFAULT = { options: { max_retries: 2 } }

  for (const kind of ['bad_request_400', 'unauthorized_401', 'spend_enforced'] as const)
    test(`what would fail again is asked once: ${kind}`, async () => {
      door = await openDoor({ yaml: QUICK })
      door.provider.fault({ kind })
      expect(await failed(callAt(door.url, 'sync', DEFAULT))).toMatchObject({ retries: 0 })
      expect(door.provider.ledger().entries).toHaveLength(1)
    })

  for (const kind of ['internal_500', 'storm_529', 'timeout_408'] as const)
    test(`what Headgate has retried, the SDK does not: ${kind}`, async () => {
      door = await openDoor({ yaml: QUICK })
      door.provider.fault({ kind })
      const error = await failed(callAt(door.url, 'async', DEFAULT))
      expect(error).toMatchObject({ retries: 0, body: { headgate: { code: 'retries_exhausted' } } })
      expect(door.provider.ledger().entries).toHaveLength(3)
    })

  test('a wrong key is asked with once', async () => {
    door = await openDoor({ yaml: 'tenants: { acme: { keys: ["hg_another_key"] } }' })
    const error = await failed(callAt(door.url, 'sync', DEFAULT))
    expect(error).toMatchObject({ class: 'AuthenticationError', retries: 0 })
  })

  test('a full queue is asked again after its retry-after, and then answers', async () => {
    upstream = await scriptedUpstream()
    door = await openDoor({ upstreamUrl: upstream.url, yaml: NARROW })
    const [first, turn] = [answered(callAt(door.url, 'async')), await upstream.next()]
    const listener = door.scheduler.recording.listen({ queueMax: 100 })
    const second = answered(callAt(door.url, 'async'))
    while (door.scheduler.loop.liveCount < 2) await listener.next()
    const third = answered(callAt(door.url, 'async', DEFAULT))
    const wasFull = () =>
      door.scheduler.recording
        .recent()
        .some(({ event }) => event.name === 'request.settled' && event.data.code === 'queue_full')
    while (!wasFull()) await listener.next()
    upstream.always((next) => next.reply(MESSAGE))
    turn.reply(MESSAGE)
    expect(await third).toMatchObject({ retries: 1, body: { type: 'message' } })
    await Promise.all([first, second])
  })
})

describe.skipIf(python === null)('a caller who goes', () => {
  let upstream: ScriptedUpstream
  let door: Door
  const open = async (yaml = '') => {
    upstream = await scriptedUpstream()
    door = await openDoor({ upstreamUrl: upstream.url, yaml })
  }
  afterEach(async () => {
    await door.close()
    await upstream.close()
  })

  for (const client of CLIENTS)
    for (const helper of [false, true])
      test(`closing ${helper ? "the helper's" : 'a'} stream early frees its slot, ${client}`, async () => {
        await open()
        const asked = helper ? { do: 'messages.stream' } : { params: params({ stream: true }) }
        const read = answered(callAt(door.url, client, { ...asked, leave_after: 1 }))
        const turn = await upstream.next()
        expect(door.scheduler.loop.held().slots).toBe(1)
        turn.head({ status: 200, headers: { 'content-type': 'text/event-stream' } })
        turn.chunk(`event: message_start\ndata: ${JSON.stringify(START)}\n\n`)
        expect((await read).events).toHaveLength(1)
        await turn.closed
        await door.rest()
      })

  test('cancelling the task of a whole call frees its slot', async () => {
    await open()
    const call = python?.start(callAt(door.url, 'async'))
    const turn = await upstream.next()
    call?.cancel()
    expect(await call?.ended).toMatchObject({ error: { class: 'CancelledError' } })
    await turn.closed
    await door.rest()
  })

  test('a call that still waits for its turn leaves the queue', async () => {
    await open('llm_gateway: { max_inflight_global: 1 }')
    const first = answered(callAt(door.url, 'sync'))
    const turn = await upstream.next()
    const listener = door.scheduler.recording.listen({ queueMax: 100 })
    const second = python?.start(callAt(door.url, 'async'))
    while (door.scheduler.loop.liveCount < 2) await listener.next()
    second?.cancel()
    expect(await second?.ended).toMatchObject({ error: { class: 'CancelledError' } })
    while (door.scheduler.loop.liveCount > 1) await listener.next()
    turn.reply(MESSAGE)
    expect((await first).body).toMatchObject({ type: 'message' })
    await door.rest()
  })

  for (const client of CLIENTS)
    test(`the SDK's own timeout takes the call back, ${client}`, async () => {
      await open()
      const failing = failed(callAt(door.url, client, { options: { timeout: 0.2 } }))
      const turn = await upstream.next()
      expect(await failing).toMatchObject({ class: 'APITimeoutError' })
      await turn.closed
      await door.rest()
    })
})

/** One attempt, so that what the upstream says is what the caller hears. */
const ONCE = 'lanes: { interactive: { max_attempts: 1 } }'
const QUICK = 'lanes: { interactive: { base_backoff_ms: 1, cap_backoff_ms: 2 } }'
const NARROW = `llm_gateway: { max_inflight_global: 1 }
lanes: { interactive: { queue_max: 1 } }`

const MODELS: Record<Client, string> = { sync: 'claude-haiku-4-5', async: 'claude-sonnet-4-6' }

interface ErrorBody {
  request_id: string
  headgate: { retryable: boolean; retry_after_ms: number | null }
}

const WEATHER = {
  name: 'weather',
  description: 'The weather at a place',
  input_schema: { type: 'object', properties: { place: { type: 'string' } } },
}

const MESSAGE = {
  status: 200,
  headers: { 'content-type': 'application/json' },
  body: '{"type":"message","content":[],"usage":{"input_tokens":1,"output_tokens":1}}',
}

const START = {
  type: 'message_start',
  message: {
    id: 'msg_01',
    type: 'message',
    role: 'assistant',
    model: 'claude-haiku-4-5',
    content: [],
    usage: { input_tokens: 1, output_tokens: 1 },
  },
}

const bytesOf = ({ method, body }: Turn) => `${method} ${body.toString('latin1')}`
const jsonOf = (turn: Turn | undefined): unknown => JSON.parse(turn?.body.toString() ?? 'null')
