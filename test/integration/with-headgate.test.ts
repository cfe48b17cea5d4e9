/** A client that is scheduled stays the client that it was: its key, its address, its headers, its transport. */
import Anthropic from '@anthropic-ai/sdk'
import { createServer, type IncomingMessage } from 'node:http'
import { type AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { Agent, interceptors } from 'undici'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import {
  createHeadgate,
  withHeadgate,
  type EmbeddedHeadgate,
  type WithHeadgateOptions,
} from '../../services/library/embed.ts'
import { cannedClaude, type CannedClaude } from '../support/canned-claude.ts'
import { params } from '../support/door.ts'
import { scriptedUpstream } from '../support/scripted-upstream.ts'

let claude: CannedClaude
const opened: EmbeddedHeadgate[] = []
const embedded = async (...given: Parameters<typeof createHeadgate>) => {
  const made = await createHeadgate(...given)
  opened.push(made)
  return made
}
beforeEach(async () => {
  claude = await cannedClaude()
  // Somebody else's account: whoever sends it has taken the wrong key.
  vi.stubEnv('ANTHROPIC_API_KEY', 'sk-of-the-environment')
  vi.stubEnv('ANTHROPIC_BASE_URL', 'http://127.0.0.1:9')
})
afterEach(async () => {
  vi.unstubAllEnvs()
  for (const one of opened.splice(0)) await one.close()
  await claude.close()
})

type ClientOptions = ConstructorParameters<typeof Anthropic>[0]
const clientOf = (options: ClientOptions) =>
  new Anthropic({ baseURL: claude.url, logLevel: 'off', ...options })
const sentKeys = () =>
  claude.heard().map(({ headers }) => headers['x-api-key'] ?? headers['authorization'] ?? 'none')

describe("the client's own key is sent at each call, and no other", () => {
  const shared = async () => ({
    headgate: await embedded({}, { baseUrl: 'http://127.0.0.1:9', apiKey: 'sk-of-the-headgate' }),
  })
  const own = async (): Promise<WithHeadgateOptions> => ({})
  describe.each([
    ['a Headgate that is made', own],
    ['one that is shared', shared],
  ])('%s', (_, options) => {
    test.each<[string, ClientOptions, string]>([
      ['text', { apiKey: 'sk-text' }, 'Bearer sk-text'],
      ['an async function', { apiKey: async () => 'sk-async' }, 'Bearer sk-async'],
      ['a token', { authToken: 'token' }, 'Bearer token'],
      [
        'credentials',
        { credentials: async () => ({ token: 'minted', expiresAt: null }) },
        'Bearer minted',
      ],
      [
        'a header, and no key',
        { apiKey: null, authToken: null, defaultHeaders: { 'x-api-key': 'sk-header' } },
        'sk-header',
      ],
      [
        'none, left out on purpose',
        { apiKey: null, authToken: null, defaultHeaders: { authorization: null } },
        'none',
      ],
    ])('%s', async (_name, given, expected) => {
      const client = withHeadgate(clientOf(given), await options())
      expect((await client.messages.create(params())).type).toBe('message')
      expect(sentKeys()).toEqual([expected])
    })
  })

  test('of the environment, where the client took it from there', async () => {
    const client = withHeadgate(clientOf({}))
    await client.messages.create(params())
    expect(sentKeys()).toEqual(['Bearer sk-of-the-environment'])
  })

  test('a function is asked at each call, and its failure is heard', async () => {
    let turn = 0
    const client = withHeadgate(
      clientOf({
        apiKey: async () => {
          if (++turn === 3) throw new Error('the vault is shut')
          return `sk-${turn}`
        },
      }),
    )
    await client.messages.create(params())
    await client.messages.create(params())
    await expect(client.messages.create(params())).rejects.toThrow('the vault is shut')
    expect(sentKeys()).toEqual(['Bearer sk-1', 'Bearer sk-2'])
  })

  test('one that is set later, on the client or on what is scheduled', async () => {
    const plain = clientOf({ apiKey: async () => 'sk-first' })
    const client = withHeadgate(plain)
    await client.messages.create(params())
    plain.apiKey = 'sk-second'
    await client.messages.create(params())
    plain.apiKey = null
    plain.authToken = 'token'
    await client.messages.create(params())
    client.authToken = null
    client.apiKey = 'sk-own'
    await client.messages.create(params())
    await client.withOptions({ apiKey: 'sk-copy' }).messages.create(params())
    await plain.messages.create(params())
    expect(sentKeys().slice(0, 2)).toEqual(['Bearer sk-first', 'Bearer sk-second'])
  })

  test('two clients that share a Headgate keep their accounts apart', async () => {
    const headgate = await embedded({}, { apiKey: 'sk-of-the-headgate' })
    const one = withHeadgate(clientOf({ apiKey: 'sk-one' }), { headgate, tenant: 'one' })
    const two = withHeadgate(clientOf({ apiKey: 'sk-two' }), { headgate, tenant: 'two' })
    await Promise.all([one.messages.create(params()), two.messages.create(params())])
    expect(sentKeys().toSorted()).toEqual(['Bearer sk-one', 'Bearer sk-two'])
  })

  test('no key at all is the error of the client, and nothing is sent', async () => {
    vi.stubEnv('ANTHROPIC_API_KEY', undefined)
    vi.stubEnv('ANTHROPIC_CONFIG_DIR', '/nonexistent')
    vi.stubEnv('HOME', '/nonexistent')
    const client = withHeadgate(clientOf({ apiKey: null, authToken: null }))
    await expect(client.messages.create(params())).rejects.toThrow(/authentication method/)
    expect(claude.heard()).toEqual([])
  })

  test('a key in a form that createHeadgate cannot keep is refused at once', async () => {
    const wrong = { apiKey: async () => 'sk' } as never
    await expect(createHeadgate({}, wrong)).rejects.toThrow(/apiKey: expected a key as text/)
  })
})

describe("the client's own way is taken", () => {
  test('its fetch, for every attempt and for what is not scheduled', async () => {
    const seen: string[] = []
    const client = withHeadgate(
      clientOf({
        apiKey: 'sk',
        fetch: (url, init) => {
          const body = init?.body
          seen.push(`${init?.method} ${new URL(String(url)).pathname} ${typeof body}`)
          if (seen.length === 1)
            return Promise.resolve(new Response('{"type":"error"}', { status: 529 }))
          return fetch(url as string, init as RequestInit)
        },
      }),
      { config: { lanes: { interactive: { base_backoff_ms: 1, cap_backoff_ms: 1 } } } },
    )
    await client.messages.create(params())
    await client.messages.countTokens({ model: 'm', messages: params().messages })
    expect(seen).toEqual([
      'POST /v1/messages string',
      'POST /v1/messages string',
      'POST /v1/messages/count_tokens string',
    ])
  })

  test('its headers, query, path and version, byte for byte; what is said to Headgate stays here', async () => {
    const options = {
      apiKey: 'sk',
      baseURL: `${claude.url}/tenant/7`,
      defaultHeaders: { 'x-corporate': 'yes' },
      defaultQuery: { region: 'eu' },
    }
    const direct = clientOf(options)
    const client = withHeadgate(clientOf(options))
    const call = { headers: { 'x-call': '1', 'headgate-lane': 'premium' }, query: { beta: 'true' } }
    const beta = { ...params(), betas: ['a-beta'] }
    await direct.messages
      .create(params(), { headers: { 'x-call': '1' }, query: { beta: 'true' } })
      .catch(() => {})
    await client.messages.create(params(), call).catch(() => {})
    await direct.beta.messages.create(beta).catch(() => {})
    await client.beta.messages.create(beta).catch(() => {})
    const asked = claude.heard().map(({ path, headers, body }) => ({
      path,
      headers,
      body: body.toString(),
    }))
    const [plain, scheduled, plainBeta, scheduledBeta] = asked
    expect(scheduled).toEqual(plain)
    expect(scheduledBeta).toEqual(plainBeta)
    expect(plain?.path).toBe('/tenant/7/v1/messages?region=eu&beta=true')
  })

  test('its dispatcher', async () => {
    const through: string[] = []
    const dispatcher = new Agent().compose(
      (dispatch) => (options, handler) => {
        through.push(String(options.path))
        return dispatch(options, handler)
      },
      interceptors.redirect(),
    )
    const client = withHeadgate(clientOf({ apiKey: 'sk', fetchOptions: { dispatcher } as object }))
    await client.messages.create(params())
    expect(through).toEqual(['/v1/messages'])
    await dispatcher.close()
  })

  test('its proxy, where it has no way of its own to the upstream', async () => {
    const proxied: string[] = []
    const proxy = createServer((request: IncomingMessage, response) => {
      proxied.push(request.url ?? '')
      request.resume()
      response.setHeader('content-type', 'application/json')
      response.end('{"type":"message","role":"assistant","content":[],"usage":{}}')
    })
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
    const { port } = proxy.address() as AddressInfo
    const client = withHeadgate(
      clientOf({
        apiKey: 'sk',
        baseURL: 'http://upstream.invalid',
        fetch: (url, init) =>
          fetch(`http://127.0.0.1:${port}/?to=${String(url)}`, init as RequestInit),
      }),
    )
    expect((await client.messages.create(params())).type).toBe('message')
    expect(proxied).toEqual(['/?to=http://upstream.invalid/v1/messages'])
    proxy.closeAllConnections()
    await new Promise((resolve) => proxy.close(resolve))
  })

  test('its address, also one that is set later', async () => {
    const plain = clientOf({ apiKey: 'sk', baseURL: 'http://127.0.0.1:9' })
    const client = withHeadgate(plain)
    plain.baseURL = claude.url
    expect((await client.messages.create(params())).type).toBe('message')
  })

  test("its timeout counts from the call, and ends it upstream, with the SDK's own error", async () => {
    const upstream = await scriptedUpstream()
    const client = withHeadgate(clientOf({ apiKey: 'sk', baseURL: upstream.url, timeout: 300 }))
    const asked = expect(client.messages.create(params())).rejects.toBeInstanceOf(
      Anthropic.APIConnectionTimeoutError,
    )
    const turn = await upstream.next()
    await asked
    await turn.closed
    await upstream.close()
  })

  test('a fetch of a library with streams of Node is read, whole and streamed', async () => {
    const event = (data: object & { type: string }) =>
      `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`
    const stream = [
      event({
        type: 'message_start',
        message: { type: 'message', content: [], usage: {} },
      } as never),
      event({ type: 'message_stop' }),
    ]
    const client = withHeadgate(
      clientOf({
        apiKey: 'sk',
        fetch: async (_url, init) => {
          const streamed = String(init?.body).includes('"stream":true')
          const pieces = streamed ? stream : ['{"type":"message",', '"content":[],"usage":{}}']
          const type = streamed ? 'text/event-stream' : 'application/json'
          const body = Readable.from(pieces.map((text) => Buffer.from(text)))
          return { status: 200, headers: new Headers({ 'content-type': type }), body } as never
        },
      }),
    )
    expect((await client.messages.create(params())).type).toBe('message')
    const types: string[] = []
    for await (const one of await client.messages.create({ ...params(), stream: true }))
      types.push(one.type)
    expect(types).toEqual(['message_start', 'message_stop'])
  })

  test('a fetch that hears no signal is let go all the same when the caller goes', async () => {
    const read = Promise.withResolvers<void>()
    const left = Promise.withResolvers<void>()
    const body = new ReadableStream(
      { pull: () => read.resolve(), cancel: () => left.resolve() },
      { highWaterMark: 0 },
    )
    const headers = { 'content-type': 'application/json' }
    const client = withHeadgate(
      clientOf({ apiKey: 'sk', fetch: async () => new Response(body, { headers }) }),
    )
    const leaving = new AbortController()
    const asked = client.messages.create(params(), { signal: leaving.signal })
    const ended = expect(asked).rejects.toBeInstanceOf(Anthropic.APIUserAbortError)
    await read.promise
    leaving.abort()
    await ended
    await left.promise
  })

  test("another upstream of the configuration is called with that one's key", async () => {
    vi.stubEnv('OTHER_KEY', 'sk-other')
    const stopped = () => Promise.resolve(new Response('{"type":"error"}', { status: 402 }))
    const client = withHeadgate(clientOf({ apiKey: 'sk-mine', fetch: stopped }), {
      config: {
        upstreams: { default: {}, other: { base_url: claude.url, api_key_env: 'OTHER_KEY' } },
        routes: [
          { model: 'claude-opus-4-5', fallback: ['claude-haiku-4-5'] },
          { model: 'claude-haiku-4-5', upstream: 'other' },
        ],
      },
    })
    await client.messages.create(params({ model: 'claude-opus-4-5' }), {
      headers: { 'headgate-degrade': 'fallback' },
    })
    expect(sentKeys()).toEqual(['Bearer sk-other'])
  })
})

describe('what cannot be scheduled is refused, with the reason', () => {
  test('what is no client of the SDK, and options that there are none of', () => {
    expect(() => withHeadgate({} as never)).toThrow(/client: expected a client of @anthropic-ai/)
    expect(() => withHeadgate(undefined as never)).toThrow(/client: expected/)
    const client = clientOf({ apiKey: 'sk' })
    expect(() => withHeadgate(client, { tenent: 'acme' } as never)).toThrow(
      /no option tenent; did you mean tenant\?/,
    )
    expect(() => withHeadgate(client, { headgate: {} as never })).toThrow(/headgate: expected/)
    expect(() => withHeadgate(client, { tenant: 'a.b' })).toThrow(/tenant: expected 1 to 64/)
    expect(() => withHeadgate(client, { lane: '' })).toThrow(/lane: expected 1 to 64/)
  })

  test.each([
    ['headgate-dealine-ms', /did you mean headgate-deadline-ms\?/],
    ['x-headgate-lane', /did you mean headgate-lane\?/],
    ['headgate-outcome', /stands in answers, not in requests/],
  ])('a header that nobody would hear, before anything is sent: %s', async (name, says) => {
    const client = withHeadgate(clientOf({ apiKey: 'sk', defaultHeaders: { [name]: '1' } }))
    const refused = await client.messages.create(params()).catch((error: unknown) => error)
    expect(refused).toBeInstanceOf(Anthropic.BadRequestError)
    expect(refused).toMatchObject({ message: expect.stringMatching(says) })
    expect((refused as InstanceType<typeof Anthropic.BadRequestError>).requestID).toMatch(/^r_/)
    expect(claude.heard()).toEqual([])
  })

  test("a configuration that is none, in the SDK's error", async () => {
    const client = withHeadgate(clientOf({ apiKey: 'sk' }), {
      config: { llm_gateway: { max_inflight_global: 0 } },
    })
    await expect(client.messages.create(params())).rejects.toThrow(/max_inflight_global: found 0/)
  })

  test("another cloud's paths", async () => {
    const client = withHeadgate(clientOf({ apiKey: 'sk' }))
    for (const path of ['/model/anthropic.claude/invoke', '/v1/models/claude:streamRawPredict'])
      await expect(client.post(path, { body: {} })).rejects.toThrow(/another cloud/)
    expect(claude.heard()).toEqual([])
  })

  test('an id that is live, before anything is sent', async () => {
    const upstream = await scriptedUpstream()
    const client = withHeadgate(clientOf({ apiKey: 'sk', baseURL: upstream.url }))
    const call = { headers: { 'headgate-id': 'mine' } }
    const first = client.messages.create(params(), call)
    const turn = await upstream.next()
    await expect(client.messages.create(params(), call)).rejects.toBeInstanceOf(
      Anthropic.ConflictError,
    )
    turn.reply({
      status: 200,
      headers: { 'content-type': 'application/json' },
      body: '{"type":"message","content":[],"usage":{}}',
    })
    await first
    await upstream.close()
  })
})
