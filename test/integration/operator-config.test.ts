/** What an operator's configuration text may change, over NATS and over HTTP, on a real nats-server: never where
 *  prompts go, with which key, who may come in, or what is read at a start. */
import { connect, type NatsConnection } from '@nats-io/transport-node'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openHouse, type House } from '../support/house.ts'

const KEYS = 'tenants: { acme: { keys: [hg_planted_key_of_acme] } }'
const UPSTREAMS = 'upstreams: { default: {}, other: { base_url: "http://127.0.0.1:9" } }'
const YAML = `${KEYS}\n${UPSTREAMS}\nllm_gateway: { max_inflight_global: 30 }\n`

let house: House
let nc: NatsConnection

beforeAll(async () => {
  house = await openHouse({ yaml: YAML, http: true })
  nc = await connect({ servers: house.nats.url })
})
afterAll(async () => {
  await nc.close()
  await house.close()
})
beforeEach(() => {
  house.scheduler.configure(YAML)
  house.logged.length = 0
})

/** The answer, or the words of the refusal. */
type Told = Record<string, unknown> & { refused?: string }
const ways: Record<string, (body: string) => Promise<Told>> = {
  async NATS(body) {
    const answer = (await nc.request('llm.v1.admin.config', body, { timeout: 5_000 })).json<Told>()
    const { error } = answer as { error?: { message: string } }
    return error === undefined ? answer : { refused: error.message }
  },
  async HTTP(body) {
    const response = await fetch(`${house.scheduler.httpUrl}/api/admin/config`, {
      method: 'POST',
      headers: { authorization: 'Bearer let-me-in' },
      body,
    })
    const answer = (await response.json()) as Told
    const { error } = answer as { error?: { message: string } }
    return error === undefined ? answer : { refused: error.message }
  },
}
const inForce = async (): Promise<string> => JSON.stringify(await ways['NATS']!(''))

const ELSEWHERE =
  'upstreams: { default: { base_url: "http://evil.example", api_key_env: AWS_SECRET_ACCESS_KEY }, other: { base_url: "http://127.0.0.1:9" } }'

describe.each(Object.entries(ways))('over %s', (way, send) => {
  test.each([
    ['another address and key', `${KEYS}\n${ELSEWHERE}`, ['base_url', 'api_key_env']],
    [
      'an upstream more',
      `${KEYS}\nupstreams: { default: {}, other: { base_url: "http://127.0.0.1:9" }, x: {} }`,
      ['upstreams'],
    ],
    [
      'upstreams in another order',
      `${KEYS}\nupstreams: { other: { base_url: "http://127.0.0.1:9" }, default: {} }`,
      ['upstreams'],
    ],
    ['no upstreams', KEYS, ['upstreams.other.base_url', 'upstreams']],
    ['another prefix', `${YAML}subject_prefix: foo`, ['subject_prefix']],
    ['other reply addresses', `${YAML}nats: { reply_prefixes: ["x."] }`, ['nats.reply_prefixes']],
    ['no key', UPSTREAMS, ['tenants.acme.keys']],
    [
      'one key more',
      YAML.replace('hg_planted', 'hg_planted_evil, hg_planted'),
      ['tenants.acme.keys'],
    ],
    [
      'a key of another tenant',
      YAML.replace(KEYS, `${KEYS.slice(0, -2)}, evil: { keys: [hg_planted_evil] } }`),
      ['tenants.evil.keys'],
    ],
    ['what is read at a start', `${YAML}cache: { ttl_seconds: 5 }`, ['cache.ttl_seconds']],
    ['nothing at all', ' ', ['tenants.acme.keys', 'upstreams.other.base_url']],
  ])('a text with %s is refused whole, with each path and what to do', async (_, yaml, paths) => {
    const before = await inForce()
    const { refused = '' } = await send(JSON.stringify({ yaml: `${yaml}\ndrain_ms: 77\n` }))
    for (const path of paths)
      expect(refused).toMatch(
        new RegExp(`${path.replaceAll('.', '\\.')}: .*in the configuration file`),
      )
    expect(refused).not.toMatch(/planted|evil\.example|AWS_SECRET/)
    expect(await inForce()).toBe(before)
    expect(house.logged.join('')).toMatch(/"from":"(NATS, _INBOX|HTTP, 127\.0\.0\.1)".*is refused/)
  })

  test('a text that repeats what is in force there is applied, and leaves one line: what, and by whom', async () => {
    const said = await send(JSON.stringify({ yaml: `${YAML}drain_ms: 77\n` }))
    expect(said).toMatchObject({ applied: true })
    const lines = house.logged.filter((line) => line.includes('in force'))
    expect(lines).toHaveLength(1)
    expect(lines[0]).toContain('is in force: drain_ms')
    expect(lines[0]).toContain(
      way === 'NATS' ? '"from":"NATS, _INBOX"' : '"from":"HTTP, 127.0.0.1"',
    )
    expect(house.logged.join('')).not.toContain('planted')
  })

  test('the address that is told is the one in use, and may be said again', async () => {
    const said = await send('')
    expect(said).toMatchObject({
      file: { upstreams: { default: { base_url: house.provider.url } } },
      upstreams: {
        default: {
          base_url: house.provider.url,
          base_url_from: 'ANTHROPIC_BASE_URL',
          key: 'set',
        },
        other: { base_url: 'http://127.0.0.1:9', base_url_from: 'configuration' },
      },
    })
    expect(JSON.stringify(said)).not.toContain('planted')
    const again = YAML.replace('default: {}', `default: { base_url: "${house.provider.url}" }`)
    expect(await send(JSON.stringify({ yaml: again }))).toMatchObject({ applied: true })
  })
})

test('of a changed file addresses and keys are in force at once, and what is read at a start stays', async () => {
  house.scheduler.configure(
    'subject_prefix: foo\ncache: { ttl_seconds: 5 }\nupstreams: { default: { base_url: "http://127.0.0.1:8" } }\n',
  )
  expect(await ways['NATS']!('')).toMatchObject({
    file: {
      subject_prefix: 'llm',
      cache: { ttl_seconds: 3_600 },
      upstreams: { default: { base_url: 'http://127.0.0.1:8' } },
    },
  })
  const logged = house.logged.join('')
  expect(logged).toContain('subject_prefix, cache.ttl_seconds: in force from the next start on')
  expect(logged).toContain('has no HTTP key any more')
  // What waits is no difference to a text that leaves it as it runs.
  const same = 'upstreams: { default: { base_url: "http://127.0.0.1:8" } }'
  expect(await ways['NATS']!(JSON.stringify({ yaml: same }))).toEqual({
    applied: true,
    warnings: [],
  })
  const empty = await ways['NATS']!(JSON.stringify({ yaml: ' ' }))
  expect(empty.refused).toContain('upstreams.default.base_url')
})

test('an empty text is told, where nothing forbids it', async () => {
  house.scheduler.configure('drain_ms: 77')
  expect(await ways['NATS']!(JSON.stringify({ yaml: ' ' }))).toEqual({
    applied: true,
    warnings: ['headgate.yaml: the file is empty: defaults hold'],
  })
})
