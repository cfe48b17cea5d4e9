/** The dashboard over real HTTP: its files, its stream, and acts that are refused. */
import { readFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { frame as frameShape, jobLife, type Frame, type JobLife } from '#contracts/dashboard'
import { pageFiles, type Feed } from '#dashboard'
import type { Operator } from '#ports'
import { dashboardDoor } from '../../services/scheduler/http/dashboard-door.ts'
import { startHttp, type HttpOptions } from '../../services/scheduler/http/server.ts'
import { recording } from '../../services/scheduler/observability/record.ts'
import { simulatedFaults } from '../../services/scheduler/provider/simulated-faults.ts'
import {
  startSimulatedProvider,
  type SimulatedProvider,
} from '../../services/simulated-provider/listener.ts'
import { PATIENCE } from '../../services/dashboard/readers.ts'
import { event } from '../scheduler/observability/events.ts'
import { fed, stillSnapshot } from '../support/fed.ts'
import type { ManualClock } from '../support/manual-clock.ts'
import { noUsage } from '../support/no-usage.ts'

const TOKEN = 'a-long-admin-token'
const files = pageFiles()

let asked: unknown[]
let server: { url: string; close(): Promise<void> }
let feed: Feed
let clock: ManualClock

const told = (what: unknown): Promise<unknown> => Promise.resolve(asked.push(what))
const operator: Operator = {
  snapshot: () => ({}),
  config: told,
  emergency: told,
  lane: told,
  status: async () => null,
  cancel: async () => null,
  jobs: told,
  budgets: () => Promise.resolve({ budgets: [], more: false }),
  usage: noUsage,
  upstream: told,
  drain: () => told('drain'),
}

async function start(more: Partial<HttpOptions> = {}): Promise<void> {
  server = await startHttp({
    host: '127.0.0.1',
    port: 0,
    operator,
    recorder: recording({ buffer: 10, sinks: [] }),
    metrics: { page: () => Promise.resolve({ contentType: 'text/plain', body: '' }) },
    ready: () => ({}),
    adminToken: TOKEN,
    clock,
    mount: (app) => dashboardDoor(app, { files, feed }),
    ...more,
  })
}

beforeEach(async () => {
  asked = []
  ;({ feed, clock } = fed())
  await start()
})
afterEach(async () => {
  feed.close()
  await server.close()
})

const get = (path: string, init?: RequestInit): Promise<Response> => fetch(server.url + path, init)
const post = (op: string, body: unknown, token = TOKEN): Promise<Response> =>
  get(`/api/admin/${op}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}` },
    body: JSON.stringify(body),
  })

describe('the page', () => {
  test('every file comes with its type, an etag, and a policy that lets nothing inline run', async () => {
    for (const [path, { type, etag }] of files) {
      const answer = await get(path)
      expect(answer.status, path).toBe(200)
      expect(answer.headers.get('content-type')).toBe(type)
      const policy = answer.headers.get('content-security-policy') ?? ''
      expect(policy).toContain("default-src 'self'")
      expect(policy).not.toContain('unsafe')
      expect(answer.headers.get('x-content-type-options')).toBe('nosniff')
      await answer.arrayBuffer()
      const again = await get(path, { headers: { 'if-none-match': etag } })
      expect(again.status, path).toBe(304)
    }
    expect((await get('/page/main.ts')).status).toBe(404)
    expect((await get('/page/..%2ffeed.js')).status).toBe(404)
  })

  test('whatever the encoding, the text is the same', async () => {
    const texts = await Promise.all(
      ['br', 'gzip', 'identity', 'br;q=0.5, gzip'].map(async (encoding) => {
        const answer = await get('/vendor/uplot.js', { headers: { 'accept-encoding': encoding } })
        return { encoding: answer.headers.get('content-encoding'), text: await answer.text() }
      }),
    )
    expect(texts.map(({ encoding }) => encoding)).toEqual(['br', 'gzip', null, 'br'])
    expect(new Set(texts.map(({ text }) => text)).size).toBe(1)
  })

  test('nothing of it comes from elsewhere, and all of it is small', () => {
    let size = 0
    for (const [path, file] of files) {
      size += file.br.length
      const text = file.plain.toString()
      if (!path.startsWith('/vendor/'))
        expect(text, path).not.toMatch(/\b(src|href)="(https?:)?\/\//)
      expect(text, path).not.toMatch(/from '#/)
    }
    expect(size).toBeLessThan(150_000)
  })
})

describe('the feed', () => {
  test('is hello and then frames', async () => {
    const answer = await get('/api/feed')
    expect(answer.headers.get('content-type')).toContain('text/event-stream')
    const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader()
    let text = ''
    const until = async (wanted: string): Promise<void> => {
      while (!text.includes(wanted)) text += (await reader.read()).value ?? ''
    }
    await until('event: hello')
    clock.advance(1_000)
    while (!/event: frame\ndata: .*\n\n/.test(text)) text += (await reader.read()).value ?? ''
    frameShape.parse(JSON.parse(/event: frame\ndata: (.*)/.exec(text)?.[1] ?? ''))
    await reader.cancel()
  })

  test('a reader that takes nothing is let go before it costs memory', async () => {
    await server.close()
    const tenants = [{ tenant: 'x'.repeat(300_000), inflight: 1, queued: 1 }]
    const own = fed({ snapshot: () => stillSnapshot({ tenants }) })
    ;({ feed, clock } = own)
    await start()
    const { port, host } = new URL(server.url)
    const socket = connect(Number(port), '127.0.0.1')
    socket.on('error', () => {})
    socket.pause()
    socket.write(`GET /api/feed HTTP/1.1\r\nhost: ${host}\r\n\r\n`)
    const readers = (): Frame['readers'] => {
      clock.advance(1_000)
      const last = own.page.frames().at(-1)!.readers
      own.page.got.length = 0
      return last
    }
    let most = 0
    let now = readers()
    // The kernel takes some megabytes before anybody notices.
    for (let s = 0; s < 500 && (most < 2 || now.open > 1); s++) {
      await new Promise((turn) => setImmediate(turn))
      now = readers()
      most = Math.max(most, now.open)
    }
    expect(most).toBe(2)
    expect(now.open).toBe(1)
    expect(now.skipped).toBe(PATIENCE)
    socket.destroy()
  })
})

test.runIf(process.platform === 'linux')(
  'a reader that takes nothing is let go although the kernel takes everything for it',
  async () => {
    await server.close()
    const tenants = [{ tenant: 'x'.repeat(3_000), inflight: 1, queued: 1 }]
    const own = fed({ snapshot: () => stillSnapshot({ tenants }) })
    ;({ feed, clock } = own)
    await start()
    const { port, host } = new URL(server.url)
    const socket = connect(Number(port), '127.0.0.1')
    socket.on('error', () => {})
    socket.pause()
    socket.write(`GET /api/feed HTTP/1.1\r\nhost: ${host}\r\n\r\n`)
    const open = (): number => {
      clock.advance(1_000)
      const last = own.page.frames().at(-1)!.readers.open
      own.page.got.length = 0
      return last
    }
    while (open() < 2) await new Promise((turn) => setImmediate(turn))
    let frames = 0
    for (; open() > 1; frames++) {
      // Whoever began to read the kernel's table before us has read it by then.
      for (let turn = 0; turn < 3; turn++)
        for (const table of ['/proc/net/tcp', '/proc/net/tcp6'])
          await readFile(table, 'latin1').catch(() => '')
    }
    // The reader's own kernel takes some dozens of frames; the writer's would take a thousand.
    expect(frames).toBeLessThan(200)
    socket.destroy()
  },
)

describe('what is asked', () => {
  test('tenants and requests answer as JSON; what does not fit is a 400, what is unknown a 404', async () => {
    const hostile = '<img onerror=alert(1)>'
    feed.record(event('request.settled', { tenant: hostile }))
    feed.record(event('request.queued'))
    const answer = await get('/api/tenants?search=IMG')
    expect(answer.headers.get('content-type')).toContain('application/json')
    expect(await answer.json()).toMatchObject({ rows: [{ tenant: hostile }] })
    expect((await get(`/api/tenants/${encodeURIComponent(hostile)}`)).status).toBe(200)
    expect((await get('/api/tenants?limit=-1')).status).toBe(400)
    expect((await get('/api/tenants?sort=tenant&sort=share')).status).toBe(400)
    expect((await get('/api/tenants/nobody')).status).toBe(404)
    expect((await get('/api/requests?state=x')).status).toBe(400)
    expect((await get('/api/requests/acme/r_1')).status).toBe(200)
    expect((await get('/api/requests/acme/none')).status).toBe(404)
    expect((await get('/api/history?span=year')).status).toBe(400)
    // No durable jobs are kept here.
    expect((await get('/api/jobs/acme/j_1')).status).toBe(404)
  })

  test('a durable job answers with what is stored of it, and a store that does not answer is a 503', async () => {
    await server.close()
    const life: JobLife = {
      ...{ tenant: 'acme', lane: 'batch', id: 'j_1', state: 'stored', accepted_at: 1 },
      ...{ due_at: null, deadline_at: 2, ended_at: null, outcome: null, attempts: 0 },
      ...{ ambiguous: false, owners: [] },
    }
    const asked: string[] = []
    const own = fed({
      async job(tenant, id) {
        asked.push(`${tenant}/${id}`)
        if (id === 'away') throw new Error('a text that is nobody’s to read')
        return id === 'j_1' ? life : null
      },
    })
    ;({ feed, clock } = own)
    await start()
    expect(await (await get('/api/jobs/acme/j_1')).json()).toEqual(jobLife.parse(life))
    expect((await get('/api/jobs/acme/none')).status).toBe(404)
    const away = await get('/api/jobs/acme/away')
    expect(away.status).toBe(503)
    expect(await away.text()).not.toContain('nobody’s')
    // No subject is built of what is no token.
    for (const odd of ['*', '%3E', 'a.b', 'x'.repeat(65)])
      expect((await get(`/api/jobs/${odd}/j_1`)).status).toBe(404)
    expect(asked).toEqual(['acme/j_1', 'acme/none', 'acme/away'])
  })
})

describe('acts', () => {
  test('a wrong token does nothing, on any of them', async () => {
    const acts: [string, unknown][] = [
      ['emergency', { on: true }],
      ['lane', { lane: 'batch', paused: true }],
      ['drain', {}],
      ['fault', { kind: 'storm' }],
    ]
    for (const [op, body] of acts) {
      const answer = await post(op, body, 'wrong')
      expect(answer.status, op).toBe(401)
    }
    expect(asked).toEqual([])
  })

  test('another site may not act, even with the token', async () => {
    const headers = { authorization: `Bearer ${TOKEN}`, origin: 'https://elsewhere.example' }
    const answer = await get('/api/admin/fault', { method: 'POST', headers, body: '{}' })
    expect(answer.status).toBe(403)
  })

  test('without the simulated provider there are no faults', async () => {
    const answer = await post('fault', { kind: 'storm' })
    expect(answer.status).toBe(404)
    expect(JSON.stringify(await answer.json())).toContain('simulated provider')
  })
})

describe('faults of the simulated provider', () => {
  let provider: SimulatedProvider

  beforeEach(async () => {
    await server.close()
    provider = await startSimulatedProvider({ port: 0 })
    const faults = simulatedFaults({ baseUrl: provider.url, clock })
    ;({ feed, clock } = fed({ faults: () => faults.lasting() }))
    await start({ fault: (ask) => faults.set(ask) })
  })
  afterEach(() => provider.close())

  const inForce = async (): Promise<string[]> => {
    const answer = await fetch(`${provider.url}/_sim/faults`)
    const { faults } = (await answer.json()) as { faults: { kind: string }[] }
    return faults.map(({ kind }) => kind)
  }

  test('each kind is set at the provider, and off ends all', async () => {
    const kinds = ['storm', 'quota_drop', 'hang']
    for (const kind of kinds) expect((await post('fault', { kind })).status).toBe(200)
    expect(await inForce()).toEqual(['storm_529', 'quota_drop', 'hang_before_headers'])
    expect(await (await post('fault', { kind: 'off' })).json()).toEqual({ faults: [] })
    expect(await inForce()).toEqual([])
  })

  test('an odd fault is refused in words; a provider that is gone is said to be', async () => {
    const span = 'for_ms: expected a whole number of milliseconds from 1000 to 600000'
    for (const [body, words] of [
      [{ kind: 'meteor' }, 'kind: expected one of storm, quota_drop, hang, off'],
      [{}, 'kind: expected one of storm, quota_drop, hang, off'],
      [{ kind: 'storm', for_ms: 1e9 }, span],
      [{ kind: 'storm', for_ms: 10 }, span],
      [{ kind: 'storm', for_ms: '60' }, span],
      [{ kind: 'storm', for_ms: 1_000.5 }, span],
      [{ kind: 'storm', for_ms: null }, span],
      [{ kind: 'quota_drop', rpm: 0 }, 'rpm: expected a whole number from 1 to 100000'],
      [{ kind: 'hang', model: 7 }, 'model: expected the name of a model'],
      [{ kind: 'hang', model: 'm'.repeat(200) }, 'model: expected at most 128 characters'],
      [{ kind: 'hang', x: 1 }, 'body: expected only kind, model, for_ms and rpm, found "x"'],
      [[], 'body: expected a JSON object'],
      [7, 'body: expected a JSON object'],
    ] as const) {
      const answer = await post('fault', body)
      expect(answer.status, JSON.stringify(body)).toBe(400)
      const { error } = (await answer.json()) as { error: { message: string } }
      expect(error.message).toBe(words)
    }
    expect(await inForce()).toEqual([])
    await provider.close()
    const answer = await post('fault', { kind: 'storm' })
    expect(answer.status).toBe(502)
    expect(JSON.stringify(await answer.json())).toContain('does not answer')
  })
})

describe('a caller that asks more than it reads', () => {
  test('a HEAD of the stream is nothing here, and holds no reader', async () => {
    expect((await get('/api/feed', { method: 'HEAD' })).status).toBe(404)
    expect((await get('/api/events', { method: 'HEAD' })).status).toBe(404)
    expect((await get('/healthz', { method: 'HEAD' })).status).toBe(200)
  })

  test('one connection has one feed', async () => {
    const connect = feed.connect.bind(feed)
    let readers = 0
    feed.connect = (reader) => {
      readers++
      return connect(reader)
    }
    const socket = await pipelined('/api/feed', 3)
    await heard(socket, 'text/event-stream')
    expect(readers).toBe(1)
    socket.destroy()
  })

  test('who found no place may ask again on the same connection', async () => {
    const connect = feed.connect.bind(feed)
    feed.connect = () => false
    const socket = await pipelined('/api/feed', 1)
    await heard(socket, '503 Service Unavailable')
    feed.connect = connect
    socket.write('GET /api/feed HTTP/1.1\r\nHost: localhost\r\n\r\n')
    await heard(socket, 'text/event-stream')
    socket.destroy()
  })

  test('more than 16 unanswered requests on a connection end it', async () => {
    const socket = await pipelined('/metrics', 400)
    let answers = 0
    socket.on('data', (chunk: Buffer) => {
      answers += chunk.toString().split('HTTP/1.1 200').length - 1
    })
    await new Promise((resolve) => socket.once('close', resolve))
    expect(answers).toBeLessThan(400)
    expect((await get('/healthz')).status).toBe(200)
  })

  /** So many requests in one piece; nothing is read until somebody listens. */
  function pipelined(path: string, times: number): Promise<ReturnType<typeof connect>> {
    const { port } = new URL(server.url)
    return new Promise((resolve, reject) => {
      const socket = connect(Number(port), '127.0.0.1', () => {
        socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`.repeat(times))
        resolve(socket)
      })
      socket.on('error', (error: NodeJS.ErrnoException) => {
        if (error.code !== 'ECONNRESET' && error.code !== 'EPIPE') reject(error)
      })
      socket.resume()
    })
  }

  function heard(socket: ReturnType<typeof connect>, words: string): Promise<void> {
    return new Promise((resolve) => {
      let text = ''
      socket.on('data', (chunk: Buffer) => {
        text += chunk.toString()
        if (text.includes(words)) resolve()
      })
    })
  }
})
