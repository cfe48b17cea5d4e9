/** What fails before a byte has left: certainly not run. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createServer, type AddressInfo } from 'node:net'
import type { AttemptCall } from '#ports'
import { bench, type Bench } from './far-side.ts'

let at: Bench
beforeAll(async () => {
  at = await bench({ connectTimeoutMs: 100 })
})
afterAll(() => at.stop())

test.each([
  ['refused', 'http://127.0.0.1:1', 'refused'],
  ['a name that nobody has', 'http://nobody.invalid', 'dns'],
])('%s', async (_name, baseUrl, cause) => {
  const running = at.send({ upstream: { name: 'x', baseUrl, apiKey: null, version: 'v' } })
  expect(await running.verdict).toMatchObject({
    kind: 'fault',
    cause,
    status: null,
    mayHaveRun: false,
    body: null,
  })
})

test('a connection that never stands', async () => {
  const mute = createServer()
  await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve))
  const { port } = mute.address() as AddressInfo
  const baseUrl = `https://127.0.0.1:${port}`
  const running = at.send({ upstream: { name: 'x', baseUrl, apiKey: null, version: 'v' } })
  expect(await running.verdict).toMatchObject({
    kind: 'fault',
    cause: 'connect_timeout',
    mayHaveRun: false,
  })
  mute.close()
})

test.each([
  ['a header that no wire can carry', { headers: { beta: 'a\nb' } }],
  [
    'a key that no wire can carry',
    { upstream: { name: 'x', baseUrl: 'http://127.0.0.1:1', apiKey: 'k\nk', version: 'v' } },
  ],
])('%s: the request is at fault', async (_name, given: Partial<AttemptCall>) => {
  expect(await at.send(given).verdict).toMatchObject({
    kind: 'rejected',
    cause: 'unsendable',
    mayHaveRun: false,
  })
})

test('an address that is none: the request is at fault', async () => {
  const upstream = { name: 'x', baseUrl: 'not an address', apiKey: null, version: 'v' }
  expect(await at.send({ upstream }).verdict).toMatchObject({ kind: 'rejected' })
})
