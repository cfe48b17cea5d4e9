/** The HTTP door under odd input: its pure parts under most of it, then a running one over real sockets.
 *  100,000 cases in all. FUZZ_SEED repeats a run: its seed is printed. */
import { randomInt } from 'node:crypto'
import { validateHeaderValue } from 'node:http'
import fc, { type IProperty } from 'fast-check'
import { afterAll, beforeAll, describe, test } from 'vitest'
import { clientRefusals, HeadgateError } from '#client'
import { isToken } from '#contracts/ids'
import { refusal } from '#contracts/messages'
import { OUTCOMES, SERVED_BY } from '#contracts/outcome'
import { refusals } from '#contracts/refusals'
import {
  accountingHeaders,
  errorAnswer,
  refusalAnswer,
  trailersOf,
  wholeAnswer,
  type HttpAnswer,
} from '../../services/gateway/answer.ts'
import { readCall } from '../../services/gateway/call-headers.ts'
import { callers } from '../../services/gateway/callers.ts'
import { readers, type Reader } from '../../services/gateway/readers.ts'
import { errorFrame, frameOf, pingFrame } from '../../services/gateway/sse.ts'
import { uploads } from '../../services/gateway/uploads.ts'
import { openDoor, type Door } from '../support/door.ts'
import { memoryHeld } from '../support/garbage.ts'
import { openLine, shown, type Line } from '../support/http-line.ts'
import { readReplies, type HttpReply } from '../support/http-reader.ts'
import { manualClock } from '../support/manual-clock.ts'
import {
  anyAsked,
  anyGarbage,
  anyHeaders,
  anyText,
  MARK,
  requestBytes,
  type Asked,
} from '../support/odd-values.ts'
import { readSse } from '../support/sse-reader.ts'
import { expect } from '../support/quick-expect.ts'

const SEED = Number(process.env['FUZZ_SEED'] ?? randomInt(2 ** 31))
console.log(`door-fuzz: FUZZ_SEED=${SEED}`)

const holds = <T>(cases: number, property: IProperty<T>): void =>
  fc.assert(property, { numRuns: cases, seed: SEED })

const CODES = new Set([...Object.keys(refusals), ...Object.keys(clientRefusals)])

/** The shape of an error of the API's, with our one key more; its body, parsed. */
function checkError(
  status: number,
  body: string,
): { headgate: { code: string; attempts: number } } {
  const said = JSON.parse(body) as {
    type: string
    error: { type: string; message: string }
    request_id: string
    headgate: { code: string; retryable: boolean; attempts: number }
  }
  expect(status).toBeGreaterThanOrEqual(400)
  expect(said.type).toBe('error')
  expect(typeof said.error.type).toBe('string')
  expect(typeof said.error.message).toBe('string')
  expect(typeof said.request_id).toBe('string')
  if (!CODES.has(said.headgate.code)) throw new Error(`no code of ours: ${said.headgate.code}`)
  return said
}

describe('pure parts', { timeout: 60_000 }, () => {
  test('headers of any kind become a call or a refusal that repeats nothing (12,000)', () => {
    holds(
      12_000,
      fc.property(anyHeaders, (headers) => {
        const read = readCall(headers)
        if (!read.ok) {
          expect(read.refusal.code).toBe('invalid_request')
          expect(read.refusal.message).not.toContain(MARK)
          return
        }
        for (const token of [read.options.lane, read.options.id])
          expect(token === undefined || isToken(token)).toBe(true)
        for (const [name, value] of Object.entries(read.options.headers ?? {})) {
          const given = headers[name.toLowerCase()]
          expect(value).toBe(Array.isArray(given) ? given.join(', ') : given)
        }
      }),
    )
  })

  test('nobody is a tenant but by a key, or on this machine under its own name (12,000)', () => {
    const held = callers({
      host: '127.0.0.1',
      keyless: () => false,
      tenantOf: (key) => (key === 'hg_1' ? 'acme' : null),
    })
    const open = callers({ host: '127.0.0.1', keyless: () => true, tenantOf: () => null })
    holds(
      12_000,
      fc.property(anyHeaders, fc.boolean(), (headers, knows) => {
        const asked = knows ? { ...headers, 'x-api-key': 'hg_1' } : headers
        const caller = held(asked)
        expect('tenant' in caller ? caller.tenant : null).toBe(knows ? 'acme' : null)
        if ('refusal' in caller) expect(caller.refusal.message).not.toContain(MARK)
        const local = open(headers)
        if ('refusal' in local) {
          expect(local.refusal.code).toBe('forbidden')
          return
        }
        const { host, origin } = headers
        const name = String(Array.isArray(host) ? host[0] : host)
        expect(name).toMatch(/^(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?$/i)
        if (origin !== undefined) expect(origin).toBe(`http://${name}`)
      }),
    )
  })

  const NAME = /^[A-Za-z0-9_.-]{1,64}$/
  /** What a reader of events gets for bytes that hold line breaks. */
  const joined = (bytes: Uint8Array): string =>
    Buffer.from(bytes)
      .toString('latin1')
      .replaceAll(/\r\n|\r/g, '\n')
  const eventBytes = fc.oneof(
    fc.uint8Array({ maxLength: 80 }),
    anyText.map((text) => Buffer.from(text)),
    fc
      .tuple(
        fc.oneof(anyText, fc.constantFrom('ping', 'message_start', 'odd.event-1')),
        fc.json(),
        fc.nat(4),
      )
      .map(([type, json, space]) =>
        Buffer.from(`{"type":${JSON.stringify(type)},${'\r\n'.repeat(space)}"more":${json}}`),
      ),
  )

  test('a frame read again is one event, with the same data and a name that is one (24,000)', () => {
    holds(
      24_000,
      fc.property(eventBytes, (data) => {
        const events = readSse(frameOf(data))
        expect(events).toHaveLength(1)
        expect(events[0]?.data).toBe(joined(data))
        expect(events[0]?.name).toMatch(NAME)
        const type = typeOf(data)
        if (type !== null && NAME.test(type)) expect(events[0]?.name).toBe(type)
      }),
    )
  })

  test('frames after one another stay apart, pings and errors among them (6,000)', () => {
    const frame = fc.oneof(
      fc.tuple(fc.constant('event' as const), eventBytes),
      fc.tuple(fc.constant('error' as const), eventBytes),
      fc.tuple(fc.constant('ping' as const), fc.constant(Buffer.from('{"type": "ping"}'))),
    )
    const written = { event: frameOf, error: errorFrame, ping: () => pingFrame }
    holds(
      6_000,
      fc.property(fc.array(frame, { maxLength: 6 }), (frames) => {
        const bytes = Buffer.concat(frames.map(([kind, data]) => written[kind](data)))
        const events = readSse(bytes)
        expect(events.map((one) => one.data)).toEqual(frames.map(([, data]) => joined(data)))
        for (const [i, [kind]] of frames.entries())
          if (kind !== 'event') expect(events[i]?.name).toBe(kind)
      }),
    )
  })

  const count = fc.oneof(fc.nat(), fc.constantFrom(0, 1e15))
  const accounting = fc.record({
    id: anyText,
    outcome: fc.constantFrom(...OUTCOMES, null),
    servedBy: fc.constantFrom(...SERVED_BY),
    model: fc.option(anyText),
    attempts: count,
    preemptions: count,
    ambiguous: count,
    queueMs: count,
    upstreamMs: count,
    totalMs: count,
    requestId: fc.option(anyText),
    inputTokens: fc.option(count),
    outputTokens: fc.option(count),
    events: fc.option(count),
  })

  /** Whatever a socket would take for the end of a header, or for another answer. */
  function checkHeaders(headers: Readonly<Record<string, string>>): void {
    for (const [name, value] of Object.entries(headers)) {
      validateHeaderValue(name, value)
      expect(value).toMatch(/^[\x20-\x7e]*$/)
      expect(value.length).toBeLessThanOrEqual(256)
    }
  }
  const checkAnswer = ({ status, headers }: HttpAnswer): void => {
    checkHeaders(headers)
    expect(Number.isInteger(status) && status >= 200 && status <= 599).toBe(true)
  }

  test('no header of an answer can split it, whatever came over the bus (10,000)', () => {
    holds(
      10_000,
      fc.property(accounting, anyText, fc.constantFrom('r_made', 'x'), (of, text, id) => {
        checkHeaders(accountingHeaders(of))
        checkHeaders(trailersOf(of))
        checkAnswer(wholeAnswer(Buffer.from(text), of, id))
        const refused = refusalAnswer(refusal('invalid_request', text), id)
        checkAnswer(refused)
        checkError(refused.status, refused.body)
      }),
    )
  })

  test('any error is an answer with a status of an error and a body that says so (16,000)', () => {
    const error = fc.record({
      code: fc.constantFrom(...Object.keys(refusals), ...Object.keys(clientRefusals)),
      message: anyText,
      status: fc.option(
        fc.oneof(fc.integer({ min: -1, max: 1_000 }), fc.double(), fc.constantFrom(NaN, Infinity)),
      ),
      retryable: fc.boolean(),
      retryAfterMs: fc.option(fc.oneof(fc.nat(), fc.double())),
      bytes: fc.option(fc.uint8Array({ maxLength: 20 })),
      accounting: fc.option(accounting),
    })
    holds(
      16_000,
      fc.property(error, (of) => {
        const answer = errorAnswer(new HeadgateError(of as never), 'r_made')
        checkAnswer(answer)
        expect(answer.status).toBeGreaterThanOrEqual(400)
        if (of.bytes === null) checkError(answer.status, String(answer.body))
        else expect(answer.body).toBe(of.bytes)
        if (!of.retryable) expect(answer.headers['x-should-retry']).toBe('false')
        const wait = answer.headers['retry-after']
        if (wait !== undefined) expect(wait).toMatch(/^\d{1,16}$/)
      }),
    )
  })

  test('what readers leave unread stays under the common bound, past its own only while it reads, and is nothing when they are gone (4,000)', () => {
    const act = fc.record({
      who: fc.nat(5),
      do: fc.constantFrom('write', 'write', 'write', 'all', 'read', 'read', 'wait', 'close'),
      bytes: fc.nat(60),
    })
    holds(
      4_000,
      fc.property(fc.array(act, { maxLength: 60 }), (acts) => {
        const clock = manualClock()
        const limits = { eachBytesMax: 100, allBytesMax: 250, stallMs: 3_000 }
        const all = readers({ limits: () => limits, after: (ms, call) => clock.after(ms, call) })
        const people = Array.from({ length: 6 }, () => {
          const to = { unread: 0, taken: 0 }
          const still = { taken: 0, looks: 0 }
          const reader = null as never as Reader
          const who = { to, ended: 0, reader, gone: false, still, bounded: true }
          who.reader = all.open(to, () => {
            who.ended++
            to.unread = 0
          })
          return who
        })
        for (const one of acts) {
          const who = people[one.who]!
          if (one.do === 'wait') {
            for (const { to, still } of people) {
              still.looks = to.unread > 0 && to.taken === still.taken ? still.looks + 1 : 0
              still.taken = to.taken
            }
            clock.advance(1_000)
            for (const { to, still, bounded } of people)
              if (bounded && still.looks >= 3) expect(to.unread).toBeLessThanOrEqual(100)
          }
          if (one.do === 'read') {
            const bytes = Math.min(one.bytes, who.to.unread)
            who.to.unread -= bytes
            who.to.taken += bytes
          }
          if (one.do === 'close') {
            who.gone = true
            who.to.unread = 0
            who.reader.close()
          }
          if (one.do !== 'write' && one.do !== 'all') continue
          if (who.gone || who.ended > 0) continue
          who.to.unread += one.bytes
          if (one.do === 'all') who.bounded = false
          if (one.do === 'all') who.reader.wroteAll()
          else who.reader.wrote()
          const unread = people.reduce((sum, { to }) => sum + to.unread, 0)
          expect(unread).toBeLessThanOrEqual(limits.allBytesMax)
        }
        for (const { ended } of people) expect(ended).toBeLessThanOrEqual(1)
        for (const { reader } of people) reader.close()
        expect(all.bytes).toBe(0)
        clock.advance(10_000)
        expect(clock.pending()).toBe(0)
      }),
    )
  })

  test('uploads never hold more than they may, and give everything back (4,000)', () => {
    const upload = fc.record({
      headers: fc.oneof(
        fc.nat(400).map((length) => ({ 'content-length': String(length) })),
        fc.constant({ 'transfer-encoding': 'chunked' }),
        anyText.map((length) => ({ 'content-length': length })),
        fc.constant({}),
      ),
      ends: fc.constantFrom('handed over', 'cut', 'stays'),
    })
    holds(
      4_000,
      fc.property(fc.array(upload, { maxLength: 20 }), (asked) => {
        const door = fakeScope()
        let refused = 0
        uploads(door.scope, {
          limits: () => ({ bytesMax: 1_000, queuedMax: 0, waitMs: 0 }),
          tenantOf: () => 'default',
          tenantShare: () => 1,
          eachBytesMax: 300,
          after: () => () => {},
          refuse: () => refused++,
        })
        const open: { cut(): void }[] = []
        for (const { headers, ends } of asked) {
          const one = door.ask(headers)
          if (ends === 'handed over') one.handOver()
          if (ends === 'cut') one.cut()
          else open.push(one)
        }
        for (const one of open) one.cut()
        refused = 0
        // All of it is there again: three of the largest, and not a fourth.
        for (let i = 0; i < 4; i++) door.ask({ 'transfer-encoding': 'chunked' })
        expect(refused).toBe(1)
      }),
    )
  })
})

/** The part of a fastify scope that hears of requests. */
function fakeScope() {
  const hooks: Record<string, (...args: unknown[]) => void> = {}
  const scope = { addHook: (name: string, hook: never) => (hooks[name] = hook) }
  return {
    scope: scope as never,
    ask(headers: Record<string, string>) {
      const request = { headers }
      let close = () => {}
      const reply = { raw: { once: (_: string, call: () => void) => (close = call) } }
      hooks['preParsing']?.(request, reply, null, () => {})
      return {
        handOver: () => hooks['preHandler']?.(request, reply, () => {}),
        cut: () => close(),
      }
    },
  }
}

/** Null: it has none, or two. */
function typeOf(data: Uint8Array): string | null {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(data)
    const { type } = JSON.parse(text) as { type?: unknown }
    return typeof type === 'string' && text.split('"type"').length === 2 ? type : null
  } catch {
    return null
  }
}

// ---- over sockets ----

const KEY = 'hg_planted_key'
const LANES = 24

describe('a running door', () => {
  const doors: Door[] = []
  let keyed: Door
  let keyless: Door
  beforeAll(async () => {
    const hash = await crypto.subtle.digest('SHA-256', Buffer.from(KEY))
    const yaml = `limits: { request_bytes: 100000 }
gateway: { headers_ms: 5000, request_ms: 5000 }
`
    const keys = `tenants: { acme: { keys: ["sha256:${Buffer.from(hash).toString('hex')}"] } }\n`
    keyed = await openDoor({ yaml: yaml + keys, provider: { outputTokens: 2 } })
    keyless = await openDoor({ yaml, provider: { outputTokens: 2 } })
    doors.push(keyed, keyless)
  })
  afterAll(async () => {
    for (const door of doors) await door.close()
  })

  test('whatever comes is answered once, in the words of the API, and leaves nothing behind (12,000)', async () => {
    const cases = fc.sample(anyCase, { numRuns: 12_000, seed: SEED })
    const before = await memory(doors)
    const next = cases.entries()
    const tally: Record<string, number> = {}
    const work = async (lane: number): Promise<void> => {
      const wire = new Wire(lane % 3 === 0 ? keyless : keyed, lane % 3 === 0 ? null : KEY)
      for (const [index, one] of next) {
        try {
          const seen = await wire.run(one)
          tally[seen] = (tally[seen] ?? 0) + 1
        } catch (error) {
          const told = JSON.stringify([one, wire.before], shortBuffers).slice(0, 8_000)
          throw new Error(`case ${index} of FUZZ_SEED=${SEED}: ${String(error)}\n${told}`, {
            cause: error,
          })
        }
      }
      wire.close()
    }
    await Promise.all(Array.from({ length: LANES }, (_, lane) => work(lane)))
    for (const door of doors) await door.rest()
    console.log(`door-fuzz: ${JSON.stringify(tally)}`)
    // Every kind of end was seen, so that nothing was left out by a slip of the test.
    for (const kind of ['200', '400', '401', '404', '405', '413', '431', 'cut'])
      expect(tally[kind]).toBeGreaterThan(0)
    for (const door of doors) expect(door.logged.join('\n')).not.toContain(MARK)
    const after = await memory(doors)
    expect(after - before).toBeLessThan(40_000_000)
  }, 120_000)
})

type Case =
  | { kind: 'asked'; asked: Asked[]; host: string; keyed: boolean; expects: boolean }
  | { kind: 'garbage'; bytes: Buffer; first: Asked[] }
  | { kind: 'cut'; asked: Asked; at: number; how: 'reset' | 'close' | 'half' }

const anyCase = fc.oneof(
  {
    arbitrary: fc.record({
      kind: fc.constant('asked' as const),
      asked: fc.oneof(
        { arbitrary: anyAsked.map((one) => [one]), weight: 6 },
        { arbitrary: fc.array(anyAsked, { minLength: 2, maxLength: 8 }), weight: 1 },
      ),
      host: fc.constantFrom('127.0.0.1', '127.0.0.1', 'localhost:8781', '[::1]', `${MARK}.example`),
      keyed: fc.oneof(
        { arbitrary: fc.constant(true), weight: 7 },
        { arbitrary: fc.constant(false), weight: 1 },
      ),
      expects: fc.oneof(
        { arbitrary: fc.constant(false), weight: 8 },
        { arbitrary: fc.constant(true), weight: 1 },
      ),
    }),
    weight: 8,
  },
  {
    arbitrary: fc.record({
      kind: fc.constant('garbage' as const),
      bytes: anyGarbage,
      first: fc.oneof(
        { arbitrary: fc.constant<Asked[]>([]), weight: 3 },
        { arbitrary: fc.array(anyAsked, { minLength: 1, maxLength: 2 }), weight: 1 },
      ),
    }),
    weight: 2,
  },
  {
    arbitrary: fc.record({
      kind: fc.constant('cut' as const),
      asked: anyAsked,
      at: fc.nat(),
      how: fc.constantFrom('reset' as const, 'close' as const, 'half' as const),
    }),
    weight: 1,
  },
)

/** Asks one case after another, on one connection as long as it may be kept. */
class Wire {
  readonly #door: Door
  readonly #key: string | null
  #line: Line | null = null
  /** What was asked on this connection before, for a failure to tell. */
  before: unknown = null

  constructor(door: Door, key: string | null) {
    this.#door = door
    this.#key = key
  }

  close(): void {
    this.#line?.socket.destroy()
    this.#line = null
  }

  /** In one word, what came. */
  async run(one: Case): Promise<string> {
    const known = one.kind !== 'asked' || one.keyed
    const auth: [string, string][] = known && this.#key !== null ? [['x-api-key', this.#key]] : []
    if (one.kind === 'asked') return this.#asked(one, auth)
    this.close()
    return one.kind === 'cut' ? this.#cut(one, auth) : this.#garbage(one, auth)
  }

  async #asked({ asked, host, expects }: Case & { kind: 'asked' }, auth: Fields): Promise<string> {
    const more: [string, string][] = [['host', host], ...auth]
    if (expects) more.push(['expect', '100-continue'])
    const line = (this.#line ??= openLine(this.#door.url))
    line.clear()
    line.socket.write(Buffer.concat(asked.map((each) => requestBytes(each, more))))
    const methods = asked.map(({ method }) => method)
    const read = () => finalOf(readReplies(line.got(), methods, line.ended()))
    await line.until(() => line.ended() || read().replies.length >= asked.length)
    const { replies, rest } = read()
    // Who asks whether to go on while it still waits for another answer may find the connection closed.
    const cut = expects && asked.length > 1 && line.ended()
    if ((replies.length !== asked.length && !cut) || rest.length > 0)
      throw new Error(`${replies.length} of ${asked.length} answers, then: ${shown(rest)}`)
    for (const [i, reply] of replies.entries()) check(reply, asked[i]!)
    this.before = [
      line.got(),
      expects,
      asked.map((a) => [a.path, a.method, a.headers, a.body.length, a.chunk]),
    ]
    if (line.ended() || replies.at(-1)?.headers['connection'] === 'close') this.close()
    return String(replies.at(-1)?.status ?? 'closed')
  }

  /** What came before it is answered or not; then comes one refusal, or none where it would be taken for an
   *  answer to something else; then the end. */
  async #garbage({ bytes, first }: Case & { kind: 'garbage' }, auth: Fields): Promise<string> {
    const keyLine = auth.map(([name, value]) => `${name}: ${value}\r\n`).join('')
    const bad = Buffer.from(bytes.toString('latin1').replace('KEY', keyLine), 'latin1')
    const good = first.map((asked) => requestBytes(asked, [['host', '127.0.0.1'], ...auth]))
    const line = openLine(this.#door.url)
    line.socket.write(Buffer.concat([...good, bad]))
    const methods = [...first.map(({ method }) => method), 'POST']
    const read = () => finalOf(readReplies(line.got(), methods, line.ended()))
    // One that is told that it has no host may go on.
    await line.until(() => line.ended() || read().replies.length >= methods.length)
    line.socket.destroy()
    const { replies, rest } = read()
    if (rest.length > 0) throw new Error(`after ${replies.length} answers: ${shown(rest)}`)
    for (const [i, asked] of first.entries()) if (replies[i] !== undefined) check(replies[i], asked)
    const last = replies[first.length]
    if (last === undefined) {
      if (first.length === 0) throw new Error('no answer')
      return 'closed'
    }
    expect([400, 413, 431]).toContain(last.status)
    checkError(last.status, last.body.toString())
    if (last.body.includes(MARK)) throw new Error('an echo')
    return String(last.status)
  }

  /** The request is cut somewhere, and the connection with it: whatever is answered, it ends. */
  async #cut({ asked, at, how }: Case & { kind: 'cut' }, auth: Fields): Promise<string> {
    const line = openLine(this.#door.url)
    const bytes = requestBytes(asked, [['host', '127.0.0.1'], ...auth])
    await new Promise((resolve) => line.socket.write(bytes.subarray(0, at % bytes.length), resolve))
    if (how === 'reset') line.socket.resetAndDestroy()
    else if (how === 'close') line.socket.destroy()
    else line.socket.end()
    await line.until(() => line.ended())
    return 'cut'
  }
}

type Fields = readonly [string, string][]

/** Without the interim ones. */
const finalOf = ({ replies, rest }: { replies: HttpReply[]; rest: Buffer }) => ({
  replies: replies.filter(({ status }) => status >= 200),
  rest,
})

function check({ status, headers, body, trailers }: HttpReply, { method, path }: Asked): void {
  if (headers['content-type']?.startsWith('text/event-stream')) checkStream(body, trailers)
  else if (method !== 'HEAD') JSON.parse(body.toString())
  if (status === 200 || method === 'HEAD' || /^\/(readyz|healthz)/.test(path)) {
    expect(body.includes(MARK)).toBe(false)
    return
  }
  const { headgate } = checkError(status, body.toString())
  expect(headers['content-type']).toMatch(/^application\/json/)
  expect(headers['request-id']).toBeDefined()
  // 500 would be a fault of ours. What the upstream said is the upstream's.
  expect(status).not.toBe(500)
  if (headgate.attempts === 0 && body.includes(MARK)) throw new Error(`an echo: ${body.toString()}`)
}

function checkStream(body: Buffer, trailers: Record<string, string>): void {
  const events = readSse(body)
  for (const { name, data } of events)
    expect((JSON.parse(data) as { type: string }).type).toBe(name)
  expect(events.at(-1)?.name).toBe('message_stop')
  expect(trailers['headgate-outcome']).toBe('completed')
}

async function memory(doors: Door[]): Promise<number> {
  for (const door of doors) await door.rest()
  // Twice, with a turn between: what a finaliser lets go of goes in the second.
  memoryHeld()
  await new Promise(setImmediate)
  return memoryHeld()
}

const shortBuffers = (_: string, value: unknown): unknown => {
  const { type, data } = (value ?? {}) as { type?: unknown; data?: number[] }
  return type === 'Buffer' && Array.isArray(data)
    ? Buffer.from(data).toString('latin1').slice(0, 5_000)
    : value
}
