/** The lesser answers as a caller of the door meets them. */
import { afterEach, expect, test } from 'vitest'
import { memoryBus } from '#scheduler/memory/bus'
import { openDoor, params, type Door } from '../support/door.ts'

let door: Door
afterEach(() => door.close())

const ask = (headers: Record<string, string>, more: object = {}) =>
  fetch(`${door.url}/v1/messages`, {
    method: 'POST',
    body: JSON.stringify(params(more)),
    headers: { 'content-type': 'application/json', ...headers },
  })

const YAML = `
upstreams: { default: {}, other: { base_url: URL } }
routes:
  - { model: claude-haiku-4-5, fallback: [claude-sonnet-5] }
  - { model: claude-sonnet-5, upstream: other }
`

test('a stopped account falls back to another model, whose answer says so', async () => {
  door = await openDoor()
  const { url } = door.provider
  const behind = door
  door = await openDoor({ yaml: YAML.replace('URL', url), provider: {} })
  door.provider.fault({ kind: 'payment_402' })
  const answer = await ask({ 'headgate-degrade': 'fallback' })
  expect(answer.status).toBe(200)
  expect(Object.fromEntries(answer.headers)).toMatchObject({
    'headgate-served-by': 'fallback',
    'headgate-model': 'claude-sonnet-5',
    'headgate-attempts': '2',
  })
  expect(await answer.json()).toMatchObject({ model: 'claude-sonnet-5' })
  const streamed = await ask({ 'headgate-degrade': 'fallback' }, { stream: true })
  expect(await streamed.text()).toContain('"model":"claude-sonnet-5"')
  expect((await ask({})).status).toBe(402)
  await behind.close()
})

test('an earlier answer to the same words stands in, marked as cached', async () => {
  door = await openDoor({ bus: memoryBus() })
  const first = await ask({ 'headgate-degrade': 'cache' })
  const text = await first.text()
  expect(first.headers.get('headgate-served-by')).toBe('upstream')
  door.provider.fault({ kind: 'payment_402' })
  const second = await ask({ 'headgate-degrade': 'cache' })
  expect([second.status, second.headers.get('headgate-served-by')]).toEqual([200, 'cache'])
  expect(await second.text()).toBe(text)
  expect((await ask({ 'headgate-degrade': 'cache' }, { max_tokens: 63 })).status).toBe(402)
})

test('defer is refused clearly, and a word that is no step at once', async () => {
  door = await openDoor()
  door.provider.fault({ kind: 'payment_402' })
  const deferred = await ask({ 'headgate-degrade': 'defer' })
  expect(deferred.status).toBe(402)
  expect((await ask({ 'headgate-degrade': 'guess' })).status).toBe(400)
  expect((await ask({ 'headgate-degrade': 'cache,cache' })).status).toBe(400)
})
