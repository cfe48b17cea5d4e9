/** `headgate limits sync`, before a provider that is a script. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { headgate } from '../support/program.ts'

const dir = mkdtempSync(join(tmpdir(), 'headgate-limits-'))
const path = join(dir, 'headgate.yaml')
const ADMIN = 'sk-ant-admin-planted'
const asked: { url: string; key: unknown }[] = []
let answers: Record<string, { status?: number; body: unknown }> = {}
let server: Server
let url = ''

beforeAll(async () => {
  server = createServer((request, response) => {
    asked.push({ url: request.url ?? '', key: request.headers['x-api-key'] })
    const { status = 200, body } = answers[request.url ?? ''] ?? { status: 404, body: {} }
    response.writeHead(status, { 'content-type': 'application/json' })
    response.end(typeof body === 'string' ? body : JSON.stringify(body))
  })
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => {
  server.close()
  rmSync(dir, { recursive: true, force: true })
})
afterEach(() => {
  asked.length = 0
  answers = {}
})

const ORG = '/v1/organizations/rate_limits?group_type=model_group'
const group = (models: string[] | null, limits: unknown[], type = 'model_group') => ({
  ...{ type: 'rate_limit', group_type: type, models, limits },
})
const per = (name: string, value: unknown) => ({ type: `${name}_per_minute`, value })
const opus = group(
  ['claude-opus-4-5', 'claude-opus-4-6'],
  [per('requests', 4_000), per('input_tokens', 2_000_000), per('output_tokens', 400_000)],
)

const write = (routes: string): void =>
  writeFileSync(
    path,
    `# our own\nupstreams: { default: { base_url: "${url}" }, other: { base_url: "${url}" } }\nroutes:\n${routes}`,
  )
async function sync(...args: string[]) {
  const run = headgate(['limits', 'sync', '--config', path, ...args], {
    ANTHROPIC_ADMIN_KEY: ADMIN,
  })
  return { status: await run.exit, said: run.output(), text: readFileSync(path, 'utf8') }
}

describe('limits sync', () => {
  test('writes what is told, keeps comments, and makes one quota of models that share theirs', async () => {
    answers[ORG] = {
      body: { data: [opus, group(null, [], 'web_search'), 'odd'], next_page: 'more' },
    }
    answers[`${ORG}&page=more`] = {
      body: { data: [group(['claude-haiku-4-5'], [per('requests', 10), per('moon', 1)])] },
    }
    write(
      '  - { model: claude-opus-4-5, rpm: 50 } # was a guess\n  - { model: claude-opus-4-6 }\n  - { model: claude-haiku-4-5, itpm: 7 }\n  - { model: own }\n  - { model: claude-opus-4-5-other, upstream: other }\n',
    )
    const { status, said, text } = await sync()
    expect(status).toBe(0)
    expect(text).toContain('# our own')
    expect(text).toContain('# was a guess')
    expect(text).toMatch(
      /model: claude-opus-4-5, rpm: 4000, quota: claude-opus-4-5, itpm: 2000000, otpm: 400000/,
    )
    expect(text).toMatch(/model: claude-opus-4-6, quota: claude-opus-4-5, rpm: 4000/)
    expect(text).toMatch(/model: claude-haiku-4-5, itpm: 7, rpm: 10 \}/)
    expect(said).toContain('routes.0 (claude-opus-4-5).rpm: 50 -> 4000')
    expect(said).toContain('the provider tells no limits of own')
    expect(said).not.toContain('other')
    expect(asked.every(({ key }) => key === ADMIN)).toBe(true)
    expect(said + text).not.toContain(ADMIN)
    const again = await sync('--check')
    expect([again.status, again.text]).toEqual([0, text])
  })

  test('--check writes nothing, and its status says that the file is behind', async () => {
    answers[ORG] = { body: { data: [opus], next_page: null } }
    write('  - { model: claude-opus-4-5, rpm: 50 }\n')
    const before = readFileSync(path, 'utf8')
    const { status, said, text } = await sync('--check', '--json')
    expect(status).toBe(1)
    expect(text).toBe(before)
    expect(JSON.parse(said)).toMatchObject({ written: false, unknown: [] })
  })

  test("a workspace's limits stand over those of the organisation", async () => {
    answers[ORG] = { body: { data: [opus] } }
    answers['/v1/organizations/workspaces/wrk_1/rate_limits?group_type=model_group'] = {
      body: { data: [group(['claude-opus-4-5'], [per('requests', 7)])] },
    }
    write('  - { model: claude-opus-4-5 }\n')
    const { text } = await sync('--workspace', 'wrk_1')
    expect(text).toMatch(/rpm: 7, itpm: 2000000/)
  })

  test.each([
    [{ status: 401, body: {} }, /the key is refused \(401\); it takes an admin key/],
    [{ status: 500, body: '<html>' }, /status 500/],
    [{ body: '<html>' }, /the answer is no JSON/],
    [{ body: { models: [] } }, /none of the Rate Limits API/],
  ])('an odd answer is told, and nothing is written: %o', async (answer, words) => {
    answers[ORG] = answer
    write('  - { model: claude-opus-4-5 }\n')
    const before = readFileSync(path, 'utf8')
    const { status, said, text } = await sync()
    expect(status).toBe(1)
    expect(said).toMatch(words)
    expect(said).not.toContain(ADMIN)
    expect(text).toBe(before)
  })

  test('a key that was pasted over two lines is never printed', async () => {
    write('  - { model: claude-opus-4-5 }\n')
    const run = headgate(['limits', 'sync', '--config', path], {
      ANTHROPIC_ADMIN_KEY: `${ADMIN}\nx`,
    })
    expect(await run.exit).toBe(2)
    expect(run.output()).not.toContain(ADMIN)
    expect(run.output()).toContain('ANTHROPIC_ADMIN_KEY holds what no key has in it')
  })

  test('without a key, an upstream or routes it says what is missing', async () => {
    write('  - { model: claude-opus-4-5 }\n')
    const none = headgate(['limits', 'sync', '--config', path], {})
    expect(await none.exit).toBe(2)
    expect(none.output()).toContain('ANTHROPIC_ADMIN_KEY is not set')
    expect((await sync('--upstream', 'moon')).said).toContain('there are default, other')
    writeFileSync(path, 'drain_ms: 5000\n')
    expect((await sync()).said).toContain('it names no routes')
  })
})
