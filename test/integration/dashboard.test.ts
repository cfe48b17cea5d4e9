/** The dashboard of a scheduler's process: whose faults it may set, and what it never tells. */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { afterEach, expect, test } from 'vitest'
import type { Hello } from '#contracts/dashboard'

const KEY = 'sk-ant-planted-key'
const TOKEN = 'planted-admin-token'
const SIMULATED = 'http://127.0.0.1:1'

let child: ChildProcess

async function launch(
  env: Record<string, string>,
): Promise<{ http: string; inspect: string | null }> {
  child = fork(new URL('../../services/scheduler/main.ts', import.meta.url), [], {
    env: {
      ...process.env,
      HEADGATE_BUS: 'memory',
      HEADGATE_HTTP_PORT: '0',
      HEADGATE_ADMIN_TOKEN: TOKEN,
      ANTHROPIC_API_KEY: KEY,
      ANTHROPIC_BASE_URL: SIMULATED,
      LOG_LEVEL: 'silent',
      ...env,
    },
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  const [told] = (await once(child, 'message')) as [{ http: string; inspect: string | null }]
  return told
}
afterEach(() => void child.kill('SIGKILL'))

/** The feed up to the end of its first frame. */
async function firstOf(url: string): Promise<string> {
  const reader = (await fetch(`${url}/api/feed`))
    .body!.pipeThrough(new TextDecoderStream())
    .getReader()
  let text = ''
  while (!/event: frame\ndata: .*\n\n/.test(text)) text += (await reader.read()).value ?? ''
  await reader.cancel()
  return text
}
const helloOf = (text: string): Hello =>
  JSON.parse(/event: hello\ndata: (.*)/.exec(text)?.[1] ?? 'null') as Hello

const storm = async (url: string): Promise<number> => {
  const answer = await fetch(`${url}/api/admin/fault`, {
    method: 'POST',
    headers: { authorization: `Bearer ${TOKEN}` },
    body: '{"kind":"storm"}',
  })
  return answer.status
}

test('faults may be set where every upstream is the simulated provider; keys and tokens are told nowhere', async () => {
  const { http, inspect } = await launch({ HEADGATE_SIMULATED_URL: SIMULATED })
  const text = await firstOf(http)
  expect(helloOf(text)).toMatchObject({ simulated: true, admin: 'token' })
  // Nobody answers at that address.
  expect(await storm(http)).toBe(502)
  expect(text).not.toContain(KEY)
  expect(text).not.toContain(TOKEN)
  expect(inspect).toBe(null)
  expect((await fetch(`${http}/`)).status).toBe(200)
})

test('where one upstream is another, there are none', async () => {
  const { http } = await launch({ HEADGATE_SIMULATED_URL: 'http://127.0.0.1:2' })
  expect(helloOf(await firstOf(http)).simulated).toBe(false)
  expect(await storm(http)).toBe(404)
})

test('machines are offered to an inspector only when asked, and on loopback', async () => {
  const { inspect } = await launch({ HEADGATE_INSPECT: '0', HEADGATE_HOST: '0.0.0.0' })
  expect(new URL(inspect ?? '').hostname).toBe('127.0.0.1')
  expect((await fetch(inspect ?? '')).status).toBe(200)
})
