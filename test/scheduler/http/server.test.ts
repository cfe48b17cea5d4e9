/** The operator's port over real HTTP: what it says, and whom it does not speak to. */
import { connect } from 'node:net'
import { request as rawRequest } from 'node:http'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { OperatorError, type Operator } from '#ports'
import { ADMIN_BODY_BYTES_MAX } from '../../../services/scheduler/http/admin.ts'
import {
  HEARTBEAT_MS,
  QUEUE_MAX,
  STREAMS_MAX,
} from '../../../services/scheduler/http/event-stream.ts'
import { startHttp, type HttpOptions } from '../../../services/scheduler/http/server.ts'
import { recording, type Recording } from '../../../services/scheduler/observability/record.ts'
import { manualClock, type ManualClock } from '../../support/manual-clock.ts'
import { event } from '../observability/events.ts'
import { noUsage } from '../../support/no-usage.ts'

const TOKEN = 'a-long-admin-token'

let asked: unknown[]
let clock: ManualClock
let recorder: Recording
let reasons: string[]
/** What keeps the HTTP door; null: there is none. */
let gateway: string[] | null
let faults: Error[]
let server: { url: string; close(): Promise<void> }

const operator: Operator = {
  snapshot: () => ({ instance: 'one' }),
  config(yaml) {
    asked.push(['config', yaml])
    return yaml === 'bad'
      ? Promise.reject(new OperatorError('headgate.yaml:1:1: found "bad"'))
      : Promise.resolve({ yaml })
  },
  emergency(on) {
    asked.push(['emergency', on])
    return Promise.resolve({ emergency: on })
  },
  status: async () => null,
  cancel: async () => ({ cancelled: true, state: 'queued' }),
  async jobs(ask) {
    asked.push(['jobs', ask])
    return { jobs: [], next: null }
  },
  budgets(ask) {
    asked.push(['budgets', ask])
    if (ask.tenant === 'away') return Promise.reject(new OperatorError('the store is away'))
    return Promise.resolve({ budgets: [], more: false })
  },
  usage: noUsage,
  upstream(name) {
    asked.push(['upstream', name])
    return Promise.resolve({ upstream: name, testing: true })
  },
  lane(of) {
    asked.push(['lane', of])
    return Promise.resolve(of)
  },
  drain: () => Promise.reject(new TypeError('a fault with sk-ant-secret in it')),
}

async function start(more: Partial<HttpOptions> = {}): Promise<void> {
  server = await startHttp({
    host: '127.0.0.1',
    port: 0,
    operator,
    recorder,
    metrics: { page: () => Promise.resolve({ contentType: 'text/plain', body: 'headgate_x 1\n' }) },
    ready: () => ({ nats: reasons, ...(gateway === null ? {} : { http: gateway }) }),
    adminToken: TOKEN,
    clock,
    onFault: (error) => faults.push(error),
    ...more,
  })
}

beforeEach(async () => {
  asked = []
  reasons = []
  gateway = null
  faults = []
  clock = manualClock()
  recorder = recording({ buffer: 100, sinks: [] })
  await start()
})
afterEach(() => server.close())

const get = (path: string, init?: RequestInit): Promise<Response> => fetch(server.url + path, init)
const post = (op: string, body?: string, headers: Record<string, string> = {}): Promise<Response> =>
  get(`/api/admin/${op}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${TOKEN}`, ...headers },
    ...(body === undefined ? {} : { body }),
  })
const json = async (response: Response): Promise<unknown> => response.json()

/** fetch sets its own Host; this one sends what it is told. */
const statusFor = (headers: Record<string, string>): Promise<number | undefined> =>
  new Promise((resolve, reject) => {
    const call = rawRequest(`${server.url}/healthz`, { headers }, (response) => {
      response.resume()
      resolve(response.statusCode)
    })
    call.on('error', reject)
    call.end()
  })

describe('what is said', () => {
  test('health, readiness with its reasons, metrics, snapshot, and a page with links', async () => {
    expect(await json(await get('/healthz'))).toEqual({ status: 'ok' })
    expect(await json(await get('/readyz'))).toMatchObject({ ready: true, reasons: [] })
    reasons = ['NATS is not connected']
    const notReady = await get('/readyz')
    expect(notReady.status).toBe(503)
    expect(await json(notReady)).toEqual({
      ready: false,
      reasons,
      doors: { nats: { ready: false, reasons } },
    })
    expect(await (await get('/metrics')).text()).toBe('headgate_x 1\n')
    expect(await json(await get('/api/snapshot'))).toEqual({ instance: 'one' })
    expect(await (await get('/')).text()).toContain('<a href="/metrics">')
  })

  test('each door is ready or not for reasons of its own', async () => {
    reasons = ['NATS is not connected']
    gateway = []
    const asked = async (query: string): Promise<unknown[]> => {
      const response = await get(`/readyz${query}`)
      const { reasons: why } = (await json(response)) as { reasons?: string[] }
      return [response.status, why]
    }
    expect(await asked('')).toEqual([200, []])
    expect(await asked('?door=any')).toEqual([200, []])
    expect(await asked('?door=http')).toEqual([200, []])
    expect(await asked('?door=nats')).toEqual([503, reasons])
    gateway = ['draining']
    expect(await asked('')).toEqual([503, ['NATS is not connected', 'draining']])
    expect(await asked('?door=http')).toEqual([503, ['draining']])
    for (const wrong of ['?door=back', '?door=nats&door=http', '?door=memory']) {
      const response = await get(`/readyz${wrong}`)
      expect(response.status).toBe(400)
      expect(await response.text()).toContain('expected any or nats or http')
    }
  })

  test.each(['/', '/healthz', '/metrics', '/api/snapshot', '/nothing', '/api/admin/snapshot'])(
    '%s has strict headers and names no framework',
    async (path) => {
      const { headers } = await get(path)
      expect(headers.get('content-security-policy')).toContain("default-src 'none'")
      expect(headers.get('x-content-type-options')).toBe('nosniff')
      expect(headers.get('x-powered-by')).toBeNull()
      expect(headers.get('server')).toBeNull()
      expect(headers.get('access-control-allow-origin')).toBeNull()
    },
  )

  test('budgets, to whoever may read, and what is asked wrongly', async () => {
    asked.length = 0
    const all = await get('/api/budgets')
    expect([all.status, await all.json()]).toEqual([200, { budgets: [], more: false }])
    expect((await get('/api/budgets?tenant=acme')).status).toBe(200)
    expect(asked).toEqual([
      ['budgets', { tenant: null, add: null }],
      ['budgets', { tenant: 'acme', add: null }],
    ])
    // More of one is given with the token only.
    for (const query of ['tenant=a.b', 'tenant=a&tenant=b', 'add=5', 'add[amount]=5', 'from=x'])
      expect((await get(`/api/budgets?${query}`)).status, query).toBe(400)
    expect((await get('/api/budgets?tenant=away')).status).toBe(503)
    expect(asked).toHaveLength(3)
  })

  test('a path that leads nowhere is an error of the usual shape', async () => {
    const response = await get('/nothing/<script>')
    expect(response.status).toBe(404)
    expect(await json(response)).toEqual({
      type: 'error',
      error: { type: 'not_found_error', message: 'nothing here' },
    })
  })

  test('another room may add routes and take the front page', async () => {
    await server.close()
    await start({
      mount(app) {
        app.get('/', (_request, reply) => {
          reply.header('content-security-policy', "default-src 'self'")
          return reply.type('text/html').send('<h1>dashboard</h1>')
        })
      },
    })
    const response = await get('/')
    expect(await response.text()).toContain('dashboard')
    expect(response.headers.get('content-security-policy')).toBe("default-src 'self'")
  })

  test('a port that is taken is told with its knob', async () => {
    const port = Number(new URL(server.url).port)
    await expect(
      startHttp({
        host: '127.0.0.1',
        port,
        operator,
        recorder,
        metrics: { page: () => Promise.resolve({ contentType: '', body: '' }) },
        ready: () => ({}),
        adminToken: null,
        clock,
      }),
    ).rejects.toThrow(`HEADGATE_HTTP_PORT: port ${port} on 127.0.0.1 is in use`)
  })
})

describe('administration', () => {
  test.each([
    ['snapshot', undefined, { instance: 'one' }],
    ['emergency', '{"on":true}', { emergency: true }],
    ['upstream', '{"upstream":"default"}', { upstream: 'default', testing: true }],
    ['lane', '{"lane":"batch","paused":true}', { lane: 'batch', paused: true }],
    ['config', undefined, { yaml: null }],
    ['config', '{}', { yaml: null }],
    ['config', '{"instance":"one"}', { yaml: null }],
    ['config', 'drain_ms: 1\n', { yaml: 'drain_ms: 1\n' }],
    ['config', '{"yaml":"drain_ms: 1"}', { yaml: 'drain_ms: 1' }],
    ['config', '{"drain_ms":1}', { yaml: '{"drain_ms":1}' }],
  ])('%s %s', async (op, body, answer) => {
    const response = await post(op, body)
    expect(response.status).toBe(200)
    expect(await json(response)).toEqual(answer)
  })

  test.each([
    ['emergency', '{"on":"yes"}', 400, 'invalid_request_error'],
    ['emergency', undefined, 400, 'invalid_request_error'],
    ['emergency', '[]', 400, 'invalid_request_error'],
    ['upstream', '{}', 400, 'invalid_request_error'],
    ['lane', '{"lane":"batch"}', 400, 'invalid_request_error'],
    ['config', 'bad', 400, 'invalid_request_error'],
    ['config', 'x'.repeat(ADMIN_BODY_BYTES_MAX + 1), 413, 'request_too_large'],
    ['reboot', undefined, 404, 'not_found_error'],
    ['__proto__', undefined, 404, 'not_found_error'],
    ['drain', undefined, 500, 'api_error'],
  ])('%s with %.20s is refused', async (op, body, status, type) => {
    const response = await post(op, body)
    expect(response.status).toBe(status)
    const text = await response.text()
    expect(JSON.parse(text)).toMatchObject({ type: 'error', error: { type } })
    expect(text).not.toContain('secret')
    expect(faults).toHaveLength(status === 500 ? 1 : 0)
  })

  test.each([
    ['no token', { authorization: '' }, 401],
    ['a wrong token', { authorization: 'Bearer wrong' }, 401],
    ['the start of the token', { authorization: `Bearer ${TOKEN.slice(0, -1)}` }, 401],
    ['more than the token', { authorization: `Bearer ${TOKEN}x` }, 401],
    ['another scheme', { authorization: `Basic ${TOKEN}` }, 401],
    ['a foreign origin', { origin: 'https://evil.example' }, 403],
    ['an origin of no one', { origin: 'null' }, 403],
    ['a foreign site', { 'sec-fetch-site': 'cross-site' }, 403],
  ])('%s changes nothing', async (_who, headers, status) => {
    const response = await post('emergency', '{"on":true}', headers)
    expect(response.status).toBe(status)
    expect(await json(response)).toMatchObject({ type: 'error' })
    expect(asked).toEqual([])
  })

  test('a page of its own may, with the token', async () => {
    expect((await post('emergency', '{"on":true}', { origin: server.url })).status).toBe(200)
  })

  test.each([null, ''])(
    'with the token %j nobody may, and is told the knob',
    async (adminToken) => {
      await server.close()
      await start({ adminToken })
      for (const authorization of ['Bearer ', 'Bearer null', 'Bearer undefined', '']) {
        const response = await post('snapshot', undefined, { authorization })
        expect(response.status).toBe(403)
        expect(await response.text()).toContain('HEADGATE_ADMIN_TOKEN')
      }
    },
  )

  test('it is not to be had by GET', async () => {
    expect((await get('/api/admin/drain')).status).toBe(404)
  })
})

describe('names and garbage', () => {
  test.each([
    ['localhost:8780', 200],
    ['127.0.0.1', 200],
    ['[::1]:8780', 200],
    ['LOCALHOST', 200],
    ['evil.example', 403],
    ['127.0.0.1.evil.example', 403],
    ['localhost@evil.example', 403],
    ['localhost:1:2', 403],
  ])('on a loopback address, Host %s is answered %i', async (host, status) => {
    expect(await statusFor({ host })).toBe(status)
  })

  test('on another address any name may be ours', async () => {
    await server.close()
    await start({ host: '0.0.0.0' })
    expect(await statusFor({ host: 'headgate.internal' })).toBe(200)
  })

  test('what is not HTTP gets a line and is gone', async () => {
    const { hostname, port } = new URL(server.url)
    const answer = await new Promise<string>((resolve, reject) => {
      const socket = connect({ host: hostname, port: Number(port) })
      let text = ''
      socket.on('data', (chunk) => (text += String(chunk)))
      socket.on('close', () => resolve(text))
      socket.on('error', reject)
      socket.write('\u0016\u0003\u0001 hello\r\n\r\n')
    })
    expect(answer).toContain('400 Bad Request')
  })
})

describe('the event stream', () => {
  /** Reads until `enough`; the stream stays open. */
  async function readUntil(response: Response, enough: (text: string) => boolean): Promise<string> {
    const reader = response.body?.getReader()
    const decoder = new TextDecoder()
    let text = ''
    while (reader !== undefined && !enough(text)) {
      const { value, done } = await reader.read()
      if (done) break
      text += decoder.decode(value, { stream: true })
    }
    reader?.releaseLock()
    return text
  }

  const open = (headers: Record<string, string> = {}): [Promise<Response>, AbortController] => {
    const stop = new AbortController()
    return [get('/api/events', { signal: stop.signal, headers }), stop]
  }

  test('first what is kept, then each as it comes, with heartbeats between', async () => {
    recorder.record(event('request.queued'))
    const [answer, stop] = open()
    const response = await answer
    expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
    expect(response.headers.get('x-content-type-options')).toBe('nosniff')
    const first = await readUntil(response, (text) => text.includes('id: 1\n'))
    expect(first).toContain('event: request.queued\ndata: {"name":"request.queued","time":"2026-')
    recorder.record(event('breaker'))
    expect(await readUntil(response, (text) => text.includes('id: 2\n'))).toContain('breaker')
    clock.advance(HEARTBEAT_MS)
    expect(await readUntil(response, (text) => text.includes('ping'))).toContain(': ping\n\n')
    stop.abort()
  })

  test('a reader that comes back hears what it missed, and how much is gone', async () => {
    for (let i = 0; i < 150; i++) recorder.record(event('request.queued'))
    const [answer, stop] = open({ 'last-event-id': '10' })
    const text = await readUntil(await answer, (so) => so.includes('id: 150\n'))
    expect(text).toContain('event: lost\ndata: {"lost":40}\n\nid: 51\n')
    stop.abort()
  })

  test(`${STREAMS_MAX} readers are served and the next is refused until one leaves`, async () => {
    const streams = Array.from({ length: STREAMS_MAX }, () => open())
    await Promise.all(streams.map(([answer]) => answer))
    const [refused] = open()
    expect((await refused).status).toBe(503)
    for (const [, stop] of streams) stop.abort()
  })

  test('a reader that does not read costs a bounded queue, and nobody else waits', async () => {
    const { hostname, port } = new URL(server.url)
    const socket = connect({ host: hostname, port: Number(port) })
    await new Promise((resolve) => socket.once('connect', resolve))
    socket.write(`GET /api/events HTTP/1.1\r\nhost: localhost\r\n\r\n`)
    await new Promise((resolve) => socket.once('data', resolve))
    socket.pause()
    const detail = 'x'.repeat(20_000)
    // Far more than the two sockets and the queue hold; each turn of the loop lets the writer go on.
    for (let i = 0; i < QUEUE_MAX * 3; i++) {
      recorder.record(event('alarm', { detail }))
      if (i % 100 === 0) await get('/healthz')
    }
    let text = ''
    const lost = new Promise<string>((resolve) => {
      socket.on('data', (chunk) => {
        text += String(chunk)
        const found = /"lost":(\d+)/.exec(text)?.[1]
        if (found !== undefined) resolve(found)
        text = text.slice(-100)
      })
    })
    socket.resume()
    expect(Number(await lost)).toBeGreaterThan(500)
    socket.destroy()
  })

  test('closing ends every stream', async () => {
    const [answer] = open()
    const response = await answer
    await server.close()
    expect(await readUntil(response, () => false)).toContain(': headgate')
    expect(clock.pending()).toBe(0)
    await start()
  })
})
