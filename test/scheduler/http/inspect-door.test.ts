/** The inspector's door: on loopback, for this machine's own pages only. */
import { request as rawRequest } from 'node:http'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { READERS_MAX, startInspectDoor } from '../../../services/scheduler/http/inspect-door.ts'

let door: { url: string; close(): Promise<void> }
let tells: Set<(message: object) => void>

beforeEach(async () => {
  tells = new Set()
  const listen = (tell: (message: object) => void) => {
    tells.add(tell)
    tell({ type: '@xstate.actor', name: '</script>' })
    return () => void tells.delete(tell)
  }
  door = await startInspectDoor({ port: 0, source: { listen } })
})
afterEach(() => door.close())

const statusFor = (headers: Record<string, string>): Promise<number | undefined> =>
  new Promise((resolve, reject) => {
    const asked = rawRequest(`${door.url}/events`, { headers }, (answer) => {
      resolve(answer.statusCode)
      answer.destroy()
    })
    asked.on('error', reject)
    asked.end()
  })

test('it listens on loopback and frames nothing but the inspector', async () => {
  expect(new URL(door.url).hostname).toBe('127.0.0.1')
  const page = await fetch(door.url)
  expect(page.headers.get('content-security-policy')).toContain(
    "default-src 'self'; frame-src https://stately.ai",
  )
  expect(await page.text()).not.toMatch(/<script>/)
})

test('neither another name nor another page may listen', async () => {
  expect(await statusFor({ host: 'elsewhere.example' })).toBe(403)
  expect(await statusFor({ origin: 'https://elsewhere.example' })).toBe(403)
  expect(await statusFor({ 'sec-fetch-site': 'cross-site' })).toBe(403)
  expect(await statusFor({})).toBe(200)
})

test('each message is one event, and no more readers than are served', async () => {
  const answers = await Promise.all(
    Array.from({ length: READERS_MAX }, () => fetch(`${door.url}/events`)),
  )
  expect((await fetch(`${door.url}/events`)).status).toBe(503)
  const reader = answers[0]!.body!.pipeThrough(new TextDecoderStream()).getReader()
  let text = ''
  while (!/data: .*\n\n/.test(text)) text += (await reader.read()).value ?? ''
  const [, data = ''] = /data: (.*)\n\n/.exec(text) ?? []
  expect(JSON.parse(data)).toEqual({ type: '@xstate.actor', name: '</script>' })
  await reader.cancel()
  for (const answer of answers.slice(1)) await answer.body?.cancel()
})
