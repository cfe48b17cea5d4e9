/** Everything that the TypeScript SDK can ask of the Messages API, through the door and at the upstream itself:
 *  what the upstream hears and what the program reads are the same. */
import { randomBytes } from 'node:crypto'
import Anthropic from '@anthropic-ai/sdk'
import { betaZodTool } from '@anthropic-ai/sdk/helpers/beta/zod'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { cannedClaude, SIGNATURE, type CannedClaude } from '../support/canned-claude.ts'
import { openDoor, params, type Door } from '../support/door.ts'
import { scriptedUpstream, type ScriptedUpstream, type Turn } from '../support/scripted-upstream.ts'

describe('as against the API itself', () => {
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

  /** Runs it both ways; gives what the upstream heard through the door, and what the program read. */
  async function both<Read>(run: (sdk: Anthropic) => Promise<Read>) {
    const direct = await run(door.direct())
    const asked = claude.heard()
    const read = await run(door.sdk())
    const heard = claude.heard()
    expect(read).toEqual(direct)
    expect(heard.map(bytesOf)).toEqual(asked.map(bytesOf))
    return { read, heard }
  }

  test('a tool is offered, used, and its result given back', async () => {
    const { read, heard } = await both(async (sdk) => {
      const asked = params({ tools: [WEATHER] })
      const first = await sdk.messages.create(asked)
      const use = first.content.find((block) => block.type === 'tool_use')
      const result = { type: 'tool_result' as const, tool_use_id: use?.id ?? '', content: 'rain' }
      const messages = [
        ...asked.messages,
        { role: 'assistant' as const, content: first.content },
        { role: 'user' as const, content: [result] },
      ]
      return [first, await sdk.messages.create({ ...asked, messages })]
    })
    expect(read.map(({ stop_reason }) => stop_reason)).toEqual(['tool_use', 'end_turn'])
    expect(jsonOf(heard[0])).toMatchObject({ tools: [WEATHER] })
    expect(heard[1]?.body.toString()).toContain('"tool_use_id":"toolu_01canned"')
  })

  test('a thought comes with its signature, and goes back with it', async () => {
    const { read, heard } = await both(async (sdk) => {
      const asked = { ...params(), thinking: { type: 'adaptive' as const } }
      const first = await sdk.messages.stream(asked).finalMessage()
      const messages = [
        ...asked.messages,
        { role: 'assistant' as const, content: first.content },
        { role: 'user' as const, content: 'Go on.' },
      ]
      return [first, await sdk.messages.create({ ...asked, messages })]
    })
    expect(read[0]?.content[0]).toMatchObject({ type: 'thinking', signature: SIGNATURE })
    expect(heard[1]?.body.toString()).toContain(JSON.stringify(SIGNATURE))
  })

  test('an image arrives byte for byte', async () => {
    const image = randomBytes(1_500_000)
    const { heard } = await both((sdk) =>
      sdk.messages.create({
        ...params(),
        messages: [{ role: 'user', content: [pictureOf(image), { type: 'text', text: 'What?' }] }],
      }),
    )
    const asked = jsonOf(heard[0]) as { messages: { content: { source: { data: string } }[] }[] }
    const arrived = Buffer.from(asked.messages[0]?.content[0]?.source.data ?? '', 'base64')
    expect(arrived.equals(image)).toBe(true)
  })

  test("the stream helper tells the same events in the same order, a tool's input among them", async () => {
    const { read } = await both(async (sdk) => {
      const told: unknown[] = []
      const thinking = { type: 'adaptive' as const }
      const stream = sdk.messages.stream({ ...params({ tools: [WEATHER] }), thinking })
      stream.on('connect', () => told.push('connect'))
      stream.on('streamEvent', (event) => told.push(event))
      stream.on('text', (...of) => told.push('text', ...of))
      stream.on('inputJson', (...of) => told.push('inputJson', ...of))
      stream.on('thinking', (...of) => told.push('thinking', ...of))
      stream.on('signature', (of) => told.push('signature', of))
      stream.on('contentBlock', (of) => told.push('contentBlock', of))
      stream.on('message', (of) => told.push('message', of))
      stream.on('finalMessage', (of) => told.push('finalMessage', of))
      stream.on('end', () => told.push('end'))
      await stream.done()
      return told
    })
    for (const name of ['text', 'inputJson', 'thinking', 'signature', 'finalMessage', 'end'])
      expect(read).toContain(name)
  })

  test('a beta is a header upstream; the query that some SDKs mark it with stays here', async () => {
    const betas = ['interleaved-thinking-2025-05-14', 'context-1m-2025-08-07']
    const { heard } = await both((sdk) =>
      sdk
        .withOptions({ defaultQuery: { beta: 'true' } })
        .beta.messages.create({ ...params(), betas, metadata: { user_id: 'u' } }),
    )
    expect(heard[0]?.path).toBe('/v1/messages')
    expect(heard[0]?.headers['anthropic-beta']).toBe(betas.join(','))
  })

  test("the version is the caller's, and without one the configured one", async () => {
    await door.sdk().messages.create(params())
    const versioned = { headers: { 'anthropic-version': null } }
    await door.sdk().messages.create(params(), versioned)
    const versions = claude.heard().map(({ headers }) => headers['anthropic-version'])
    expect(versions).toEqual(['2026-10-21', '2023-06-01'])
  })

  for (const stream of [false, true])
    test(`the tool runner runs its tools, ${stream ? 'streamed' : 'whole'}`, async () => {
      const places: string[] = []
      const weather = betaZodTool({
        name: 'weather',
        description: 'The weather at a place',
        inputSchema: z.object({ place: z.string() }),
        run({ place }) {
          places.push(place)
          return 'rain from the west'
        },
      })
      const { read, heard } = await both(async (sdk) => {
        const asked = { ...params({ tools: [weather] }), tools: [weather], stream }
        const turns: unknown[] = []
        for await (const turn of sdk.beta.messages.toolRunner(asked))
          turns.push('finalMessage' in turn ? await turn.finalMessage() : turn)
        return turns as { stop_reason: string }[]
      })
      expect(read.map(({ stop_reason }) => stop_reason)).toEqual(['tool_use', 'end_turn'])
      expect(heard[1]?.body.toString()).toContain('rain from the west')
      expect(places).toEqual(['Zürich', 'Zürich'])
    })

  test('tokens are counted, models listed page by page and named', async () => {
    const { read } = await both(async (sdk) => {
      const ids: string[] = []
      for await (const { id } of sdk.models.list({ limit: 1 })) ids.push(id)
      const { model, messages } = params()
      return [
        await sdk.messages.countTokens({ model, messages }),
        await sdk.beta.messages.countTokens({ model, messages, betas: ['a-beta'] }),
        ids,
        await sdk.models.retrieve('claude-opus-4-6'),
      ]
    })
    expect(read).toMatchObject([
      { input_tokens: 2_095 },
      { input_tokens: 2_095 },
      ['claude-haiku-4-5', 'claude-sonnet-4-6'],
      { id: 'claude-opus-4-6' },
    ])
  })

  test('the id of a request is the upstream id of a whole answer, and of a stream our own', async () => {
    const whole = await door.sdk().messages.create(params()).withResponse()
    expect(whole.request_id).toBe('req_canned')
    expect(whole.response.headers.get('headgate-id')).toMatch(/^r_/)
    const { data, response, request_id } = await door
      .sdk()
      .messages.create({ ...params(), stream: true })
      .withResponse()
    for await (const event of data) expect(event.type).not.toBe('error')
    expect(request_id).toMatch(/^r_/)
    expect(response.headers.get('headgate-id')).toBe(request_id)
  })
})

describe('a caller who goes', () => {
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

  const aborted = (asked: Promise<unknown>) =>
    expect(asked).rejects.toBeInstanceOf(Anthropic.APIUserAbortError)

  test('an AbortSignal closes a whole call upstream and frees its slot', async () => {
    await open()
    const leaving = new AbortController()
    const asked = door.sdk().messages.create(params(), { signal: leaving.signal })
    const ended = aborted(asked)
    const turn = await upstream.next()
    expect(door.scheduler.loop.held().slots).toBe(1)
    leaving.abort()
    await ended
    await turn.closed
    await door.rest()
  })

  test('leaving a stream early closes it upstream and frees its slot', async () => {
    await open()
    const asked = door.sdk().messages.create({ ...params(), stream: true })
    const turn = await upstream.next()
    begin(turn)
    for await (const event of await asked) {
      expect(event.type).toBe('message_start')
      expect(door.scheduler.loop.held().slots).toBe(1)
      break
    }
    await turn.closed
    await door.rest()
  })

  test("the stream helper's abort does the same", async () => {
    await open()
    const stream = door.sdk().messages.stream(params())
    const ended = aborted(stream.done())
    const started = new Promise((resolve) => stream.once('streamEvent', resolve))
    const turn = await upstream.next()
    begin(turn)
    await started
    stream.abort()
    await ended
    await turn.closed
    await door.rest()
  })

  test('a call that still waits for its turn leaves the queue', async () => {
    await open('llm_gateway: { max_inflight_global: 1 }')
    const first = door.sdk().messages.create(params())
    const turn = await upstream.next()
    const leaving = new AbortController()
    const listener = door.scheduler.recording.listen({ queueMax: 100 })
    const ended = aborted(door.sdk().messages.create(params(), { signal: leaving.signal }))
    while (door.scheduler.loop.liveCount < 2) await listener.next()
    leaving.abort()
    await ended
    while (door.scheduler.loop.liveCount > 1) await listener.next()
    turn.reply(MESSAGE)
    await first
    await door.rest()
  })

  test("the SDK's own timeout takes the call back", async () => {
    await open()
    const asked = door.sdk().messages.create(params(), { timeout: 200 })
    const ended = expect(asked).rejects.toBeInstanceOf(Anthropic.APIConnectionTimeoutError)
    const turn = await upstream.next()
    await ended
    await turn.closed
    await door.rest()
  })
})

describe('with the retries that the SDK has by default', () => {
  let door: Door
  let upstream: ScriptedUpstream | null = null
  afterEach(async () => {
    await door.close()
    await upstream?.close()
    upstream = null
  })

  /** An SDK as it comes, and what came back when: as often as it asked. */
  const counted = () => {
    const answers: { askedAt: number; answeredAt: number; retryAfter: string | null }[] = []
    const sdk = new Anthropic({
      baseURL: door.url,
      apiKey: 'hg_any',
      logLevel: 'off',
      async fetch(url, init) {
        const askedAt = performance.now()
        const answer = await fetch(url, init)
        const retryAfter = answer.headers.get('retry-after')
        answers.push({ askedAt, answeredAt: performance.now(), retryAfter })
        return answer
      },
    })
    return { sdk, answers }
  }
  const settledCodes = () =>
    door.scheduler.recording
      .recent()
      .flatMap(({ event }) => (event.name === 'request.settled' ? [event.data.code] : []))

  for (const kind of ['bad_request_400', 'unauthorized_401', 'spend_enforced'] as const)
    test(`what would fail again is asked once: ${kind}`, async () => {
      door = await openDoor({ yaml: QUICK })
      door.provider.fault({ kind })
      const { sdk, answers } = counted()
      await expect(sdk.messages.create(params())).rejects.toBeInstanceOf(Anthropic.APIError)
      expect(answers).toHaveLength(1)
      expect(door.provider.ledger().entries).toHaveLength(1)
    })

  for (const kind of ['internal_500', 'storm_529', 'timeout_408'] as const)
    test(`what Headgate has retried, the SDK does not: ${kind}`, async () => {
      door = await openDoor({ yaml: QUICK })
      door.provider.fault({ kind })
      const { sdk, answers } = counted()
      await expect(sdk.messages.create(params())).rejects.toBeInstanceOf(Anthropic.APIError)
      expect(answers).toHaveLength(1)
      expect(settledCodes()).toEqual(['retries_exhausted'])
      expect(door.provider.ledger().entries).toHaveLength(3)
    })

  test('a wrong key is asked with once', async () => {
    door = await openDoor({ yaml: 'tenants: { acme: { keys: ["hg_another_key"] } }' })
    const { sdk, answers } = counted()
    const refused = expect(sdk.messages.create(params()))
    await refused.rejects.toBeInstanceOf(Anthropic.AuthenticationError)
    expect(answers).toHaveLength(1)
  })

  test('a full queue is asked again after its retry-after, and then answers', async () => {
    upstream = await scriptedUpstream()
    door = await openDoor({ upstreamUrl: upstream.url, yaml: NARROW })
    const { sdk } = counted()
    const [first, turn] = [sdk.messages.create(params()), await upstream.next()]
    const listener = door.scheduler.recording.listen({ queueMax: 100 })
    const second = sdk.messages.create(params())
    while (door.scheduler.loop.liveCount < 2) await listener.next()
    const third = counted()
    const waits = third.sdk.messages.create(params()).withResponse()
    while (!settledCodes().includes('queue_full')) await listener.next()
    upstream.always((next) => next.reply(MESSAGE))
    turn.reply(MESSAGE)
    const { data } = await waits
    expect(data.type).toBe('message')
    const [refused, answered] = third.answers
    const waitedMs = (answered?.askedAt ?? 0) - (refused?.answeredAt ?? 0)
    expect(third.answers).toHaveLength(2)
    // A millisecond for the grain of timers.
    expect(waitedMs).toBeGreaterThanOrEqual(Number(refused?.retryAfter) * 1_000 - 1)
    await Promise.all([first, second])
  })
})

const QUICK = 'lanes: { interactive: { base_backoff_ms: 1, cap_backoff_ms: 2 } }'
const NARROW = `llm_gateway: { max_inflight_global: 1 }
lanes: { interactive: { queue_max: 1 } }`

const WEATHER = {
  name: 'weather',
  description: 'The weather at a place',
  input_schema: { type: 'object' as const, properties: { place: { type: 'string' } } },
}

const pictureOf = (image: Buffer) => ({
  type: 'image' as const,
  source: {
    type: 'base64' as const,
    media_type: 'image/png' as const,
    data: image.toString('base64'),
  },
})

const MESSAGE = {
  status: 200,
  headers: { 'content-type': 'application/json' },
  body: '{"type":"message","content":[],"usage":{"input_tokens":1,"output_tokens":1}}',
}

function begin(turn: Turn): void {
  turn.head({ status: 200, headers: { 'content-type': 'text/event-stream' } })
  turn.chunk(
    'event: message_start\ndata: {"type":"message_start","message":{"content":[],"usage":{}}}\n\n',
  )
}

const bytesOf = ({ method, body }: Turn) => `${method} ${body.toString('latin1')}`
const jsonOf = (turn: Turn | undefined): unknown => JSON.parse(turn?.body.toString() ?? 'null')
