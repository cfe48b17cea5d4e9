/** Bodies as large as the API takes them: by every way that crosses no NATS, and received in turn. */
import { createHash } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import Anthropic from '@anthropic-ai/sdk'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { createHeadgate, withHeadgate } from '../../services/library/embed.ts'
import { openDoor, params, type Door } from '../support/door.ts'
import { post, rawCall, type RawCall } from '../support/raw-http.ts'

/** What the API's documentation calls 32 MB. */
const LARGEST = 33_554_432

const hashOf = (bytes: string | Uint8Array): string =>
  createHash('sha256').update(bytes).digest('hex')

/** Answers with the hash of what it was sent. */
const upstream = createServer((asked, response) => {
  const hash = createHash('sha256')
  asked.on('data', (bytes: Buffer) => hash.update(bytes))
  asked.once('end', () => {
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ type: 'message', content: [], id: hash.digest('hex') }))
  })
})
let url: string
let door: Door | null = null
const calls: RawCall[] = []

beforeAll(async () => {
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`
})
afterEach(async () => {
  for (const { socket } of calls.splice(0)) socket.destroy()
  await door?.close()
  door = null
})
afterAll(() => {
  upstream.closeAllConnections()
  upstream.close()
})

const open = async (yaml = ''): Promise<Door> => (door = await openDoor({ upstreamUrl: url, yaml }))
const call = (text: string): RawCall => {
  const made = rawCall(door?.url ?? '', text)
  calls.push(made)
  return made
}
/** With a picture in it, as JSON of so many bytes. */
function large(bytes: number) {
  const content = (data: string) => [
    { type: 'image', source: { type: 'base64', media_type: 'image/png', data } },
  ]
  const made = (data: string) => params({ messages: [{ role: 'user', content: content(data) }] })
  const around = JSON.stringify(made('')).length
  return made('A'.repeat(bytes - around))
}
const ask = (body: string | Uint8Array<ArrayBuffer>, path = '/v1/messages') =>
  fetch(`${door?.url}${path}`, { method: 'POST', body })

describe('the largest body there is', () => {
  const asked = large(LARGEST)
  const text = JSON.stringify(asked)
  const hash = hashOf(text)

  test('goes through the door, whole, and not a byte more', async () => {
    await open()
    const answer = await ask(text)
    expect([answer.status, await answer.json()]).toMatchObject([200, { id: hash }])
    const counted = await ask(text, '/v1/messages/count_tokens')
    expect([counted.status, await counted.json()]).toMatchObject([200, { id: hash }])
    const over = await ask(`${text} `)
    expect([over.status, await over.json()]).toMatchObject([
      413,
      {
        error: { message: `the body is over ${LARGEST} bytes, the bound of limits.request_bytes` },
      },
    ])
  })

  test('goes through createHeadgate and withHeadgate', async () => {
    const headgate = await createHeadgate({}, { baseUrl: url, apiKey: 'sk-planted-key' })
    const client = new Anthropic({ baseURL: url, apiKey: 'sk-planted-key', logLevel: 'off' })
    const { body } = await headgate.request(asked as never)
    const message = await withHeadgate(client, { headgate }).messages.create(asked as never)
    expect([body.id, message.id]).toEqual([hash, hash])
    await headgate.close()
  })
})

describe('bodies that find no room', () => {
  const YAML = 'limits: { request_bytes: 400000 }\n'
  const KEYS = 'tenants: { acme: { keys: [hg_of_acme] }, other: { keys: [hg_of_other] } }\n'
  const body = JSON.stringify(params()).padEnd(400_000)
  /** One that is announced and does not come. */
  const holds = (key = 'none') =>
    call(
      post('/v1/messages', '', {
        'content-length': '400000',
        'x-api-key': key,
        expect: '100-continue',
      }),
    )
  const sends = (key = 'none') => call(post('/v1/messages', body, { 'x-api-key': key }))
  const goesOn = (one: RawCall) => one.until((text) => text.includes('100 Continue'))
  const answered = (one: RawCall) => one.until((text) => text.endsWith('}'))

  test('wait unread, and are received when there is some', async () => {
    await open(`${YAML}gateway: { upload_bytes: 1000000 }`)
    const held = [holds(), holds()]
    await Promise.all(held.map(goesOn))
    const [third, fourth] = [sends(), sends()]
    // Both would be answered in the turn in which they are read.
    await fetch(`${door?.url}/healthz`)
    expect([third.text(), fourth.text()]).toEqual(['', ''])
    held[0]?.socket.destroy()
    for (const one of [third, fourth]) expect(await answered(one)).toMatch(/^HTTP\/1\.1 200 /)
  })

  test('are refused after a while, or where too many wait', async () => {
    await open(
      `${YAML}gateway: { upload_bytes: 400000, upload_queued_max: 1, upload_wait_ms: 300 }`,
    )
    await goesOn(holds())
    const [second, third] = [holds(), holds()]
    const first = await Promise.race([answered(second), answered(third)])
    for (const text of [first, await answered(second), await answered(third)]) {
      expect(text).toMatch(/^HTTP\/1\.1 429 /)
      expect(text).toContain('(gateway.upload_bytes)')
    }
  })

  test("wait for their own tenant's share without keeping others out", async () => {
    await open(`${YAML}${KEYS}gateway: { upload_bytes: 2000000 }`)
    const first = holds('hg_of_acme')
    await goesOn(first)
    const second = sends('hg_of_acme')
    expect(await answered(sends('hg_of_other'))).toMatch(/^HTTP\/1\.1 200 /)
    expect(second.text()).toBe('')
    first.socket.destroy()
    expect(await answered(second)).toMatch(/^HTTP\/1\.1 200 /)
  })

  test('and whose callers go leave nothing behind', async () => {
    await open(`${YAML}gateway: { upload_bytes: 400000, upload_queued_max: 1 }`)
    const first = holds()
    await goesOn(first)
    const second = holds()
    await second.until(() => second.socket.bytesWritten > 0)
    await fetch(`${door?.url}/healthz`)
    second.socket.destroy()
    await second.closed
    first.socket.destroy()
    for (let i = 0; i < 3; i++) expect(await answered(sends())).toMatch(/^HTTP\/1\.1 200 /)
  })
})
