import { getEventListeners } from 'node:events'
import { createRequire } from 'node:module'
import Anthropic from '@anthropic-ai/sdk'
import { afterEach, describe, expect, onTestFinished, test } from 'vitest'
import { seededDice } from '#core/estimators/dice'
import type { Millis } from '#contracts/units'
import {
  BODY_GRACE_MS,
  RETRY_AFTER_MAX_MS,
  safeMessageCreate,
  type MessagesClient,
  type SafeMessageOptions,
} from '../../services/library/safe-message.ts'
import {
  startSimulatedProvider,
  FAULT_KINDS,
  faultKinds,
  type FaultKind,
} from '../../services/simulated-provider/listener.ts'
import { AT_ONCE, MODEL } from '../simulated-provider/caller.ts'
import { heard } from '../support/heard.ts'
import { manualClock } from '../support/manual-clock.ts'
import { scriptedUpstream, type Turn } from '../support/scripted-upstream.ts'

const PROMPT = 'planted-prompt-7f3a'
const KEY = 'planted-key-9c1e'
const params: Anthropic.MessageCreateParamsNonStreaming = {
  model: MODEL,
  max_tokens: 100,
  messages: [{ role: 'user', content: PROMPT }],
}

const JSON_TYPE = { 'content-type': 'application/json' }
const ANSWER = JSON.stringify({
  id: 'msg_1',
  type: 'message',
  role: 'assistant',
  model: MODEL,
  content: [{ type: 'text', text: 'Much.' }],
  stop_reason: 'end_turn',
  stop_sequence: null,
  usage: { input_tokens: 10, output_tokens: 2 },
})
const errorBody = (status: number): string =>
  JSON.stringify({ type: 'error', error: { type: 'some_error', message: `${status}: ${PROMPT}` } })

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0)) await close()
})

/** A client of the vendor's, which keeps every error that it throws. Its own retries are left on. */
function clientOf(url: string, more: ConstructorParameters<typeof Anthropic>[0] = {}) {
  const client = new Anthropic({ apiKey: KEY, baseURL: url, logLevel: 'off', ...more })
  return { client, thrown: thrownBy(client) }
}

function thrownBy(client: MessagesClient): unknown[] {
  const thrown: unknown[] = []
  const create = client.messages.create.bind(client.messages)
  client.messages.create = async (...args) => {
    try {
      return await create(...args)
    } catch (error) {
      thrown.push(error)
      throw error
    }
  }
  return thrown
}

/** Time that passes by itself between tries, unless `held`; a call's own limit runs on `clock`. */
function system(of: { dice?: readonly number[]; held?: boolean; timeoutMs?: Millis } = {}) {
  const { dice = [], held = false, timeoutMs = 60_000 } = of
  const clock = manualClock()
  const armed = heard<Millis>()
  const waits = heard<Millis>()
  let next = 0
  const watched = {
    clock,
    /** Calls that began, by when their own limit began to run. */
    armed,
    waits,
  }
  // Spread, it is the option alone.
  return withHidden(watched, {
    system: {
      after(ms: Millis, call: () => void) {
        const limit = ms === timeoutMs + BODY_GRACE_MS
        const all = limit ? armed : waits
        all.add(ms)
        if (limit || held) return clock.after(ms, call)
        queueMicrotask(call)
        return () => {}
      },
      random: () => dice[next++ % Math.max(1, dice.length)] ?? 0,
    },
  })
}

function withHidden<Hidden extends object, Seen extends object>(hidden: Hidden, seen: Seen) {
  for (const [name, value] of Object.entries(hidden)) Object.defineProperty(seen, name, { value })
  return seen as Hidden & Seen
}

function lines() {
  const warn = heard<string>()
  const error = heard<string>()
  return {
    warn,
    error,
    log: { warn: (line: string) => warn.add(line), error: (line: string) => error.add(line) },
  }
}

async function upstream() {
  const made = await scriptedUpstream()
  closers.push(() => made.close())
  let calls = 0
  return {
    ...made,
    calls: () => calls,
    /** Each turn gets the next of these; the last stands. */
    answers(...answers: ((turn: Turn) => void)[]) {
      made.always((turn) =>
        (answers[Math.min(calls++, answers.length - 1)] as (t: Turn) => void)(turn),
      )
    },
  }
}

const ok = (turn: Turn): void => turn.reply({ status: 200, headers: JSON_TYPE, body: ANSWER })
const fails =
  (status: number, headers: Record<string, string> = {}) =>
  (turn: Turn): void =>
    turn.reply({ status, headers: { ...JSON_TYPE, ...headers }, body: errorBody(status) })

const failure = (call: Promise<unknown>): Promise<unknown> =>
  call.then(
    () => expect.unreachable('it should have failed'),
    (error: unknown) => error,
  )

describe('what is tried again', () => {
  test('a 529 and then an answer give the Message, by two calls that the SDK did not multiply', async () => {
    const far = await upstream()
    far.answers(fails(529, { 'x-should-retry': 'true' }), ok)
    const { client } = clientOf(far.url, { maxRetries: 4 })
    const { log, warn, error } = lines()
    const message = await safeMessageCreate(client, params, { ...system(), log })
    expect(message).toMatchObject(JSON.parse(ANSWER))
    expect(far.calls()).toBe(2)
    expect(warn.all).toHaveLength(1)
    expect(error.all).toEqual([])
  })

  test('six calls at most, and the very error of the last', async () => {
    const far = await upstream()
    far.answers(fails(429))
    const { client, thrown } = clientOf(far.url)
    const { log, warn, error } = lines()
    const caught = await failure(safeMessageCreate(client, params, { ...system(), log }))
    expect(far.calls()).toBe(6)
    expect(thrown).toHaveLength(6)
    expect(caught).toBe(thrown[5])
    expect(caught).toBeInstanceOf(Anthropic.RateLimitError)
    expect([warn.all.length, error.all.length]).toEqual([5, 1])
  })

  const AGAIN: readonly FaultKind[] = [
    'storm_529',
    'compaction_unavailable',
    'rate_limited_requests',
    'rate_limited_input',
    'rate_limited_output',
    'rate_limited_bare',
    'concurrent_connections',
    'ramp_limited',
  ]
  const refusals = FAULT_KINDS.filter((kind) =>
    ['error', 'page'].includes(faultKinds[kind].shape.does),
  )

  test.for(refusals)('%s is tried again only if it may pass', async (kind) => {
    const provider = await startSimulatedProvider(AT_ONCE)
    closers.push(() => provider.close())
    provider.fault({ kind, ...(kind === 'status' ? { status: 418 } : {}) })
    const { client, thrown } = clientOf(provider.url, { fetchOptions: { redirect: 'manual' } })
    const { log, warn, error } = lines()
    const caught = await failure(safeMessageCreate(client, params, { ...system(), log }))
    const again = AGAIN.includes(kind)
    expect(provider.ledger().entries).toHaveLength(again ? 6 : 1)
    expect(caught).toBe(thrown.at(-1))
    expect(caught).toBeInstanceOf(Anthropic.APIError)
    expect([warn.all.length, error.all.length]).toEqual(again ? [5, 1] : [0, 0])
  })

  test('a refused or reset connection and an answer that is no JSON come back at once', async () => {
    const far = await upstream()
    far.answers((turn) => turn.reset())
    const reset = clientOf(far.url)
    expect(await failure(safeMessageCreate(reset.client, params, system()))).toBe(reset.thrown[0])
    expect(reset.thrown).toHaveLength(1)
    far.answers((turn) => turn.reply({ status: 200, headers: JSON_TYPE, body: '{"id":' }))
    const broken = clientOf(far.url)
    expect(await failure(safeMessageCreate(broken.client, params, system()))).toBe(broken.thrown[0])
    expect(broken.thrown).toHaveLength(1)
    await far.close()
    const refused = clientOf(far.url)
    const caught = await failure(safeMessageCreate(refused.client, params, system()))
    expect(caught).toBe(refused.thrown[0])
    expect(caught).toBeInstanceOf(Anthropic.APIConnectionError)
    expect(refused.thrown).toHaveLength(1)
  })

  test('what the API says must not be tried again is not', async () => {
    const far = await upstream()
    far.answers(fails(529, { 'x-should-retry': 'false', 'retry-after': '1' }))
    const { client, thrown } = clientOf(far.url)
    expect(await failure(safeMessageCreate(client, params, system()))).toBe(thrown[0])
    expect(far.calls()).toBe(1)
  })

  test('no retries are none', async () => {
    const far = await upstream()
    far.answers(fails(529))
    const { client, thrown } = clientOf(far.url)
    const { log, warn, error } = lines()
    const caught = await failure(
      safeMessageCreate(client, params, { ...system(), log, retries: 0 }),
    )
    expect(caught).toBe(thrown[0])
    expect(far.calls()).toBe(1)
    expect(warn.all).toEqual([])
    expect(error.all).toEqual(['Claude call failed with 529, attempt 1 of 1; no tries left'])
  })
})

describe('how long it waits', () => {
  test('uniform below a ceiling that doubles from base to cap', async () => {
    const far = await upstream()
    far.answers(fails(529))
    const { client } = clientOf(far.url)
    const given = system({ dice: [0.5, 0.25, 0, 0.999, 0.5, 0.5, 0.5] })
    const { log } = lines()
    await failure(safeMessageCreate(client, params, { ...given, log, retries: 7 }))
    expect(given.waits.all).toEqual([500, 500, 0, 7_992, 8_000, 16_000, 16_000])
  })

  test("base and cap are the caller's to choose", async () => {
    const far = await upstream()
    far.answers(fails(429))
    const { client } = clientOf(far.url)
    const given = system({ dice: [0.5] })
    const options = { ...given, log: lines().log, baseMs: 200, capMs: 500 }
    await failure(safeMessageCreate(client, params, options))
    expect(given.waits.all).toEqual([100, 200, 250, 250, 250])
  })

  const OWN = 800
  test.for<[header: string, waitMs: Millis, cut?: 'cut']>([
    ['5', 5_500],
    ['1.5', 2_000],
    [' 7 ', 7_500],
    // The own delay is the larger one.
    ['0.3', OWN + 500],
    // Not a number of seconds to wait: as if there was none.
    ['0', OWN],
    ['-3', OWN],
    ['abc', OWN],
    ['', OWN],
    ['5s', OWN],
    ['1e3', OWN],
    ['0x10', OWN],
    ['NaN', OWN],
    ['Infinity', OWN],
    ['Wed, 21 Oct 2026 07:28:00 GMT', OWN],
    ['300', RETRY_AFTER_MAX_MS + 500],
    // Beyond the bound.
    ['301', RETRY_AFTER_MAX_MS + 500, 'cut'],
    ['2678400', RETRY_AFTER_MAX_MS + 500, 'cut'],
    ['9'.repeat(400), RETRY_AFTER_MAX_MS + 500, 'cut'],
  ])('retry-after "%s" is a wait of %d ms', async ([text, waitMs, cut]) => {
    for (const status of [429, 529]) {
      const far = await upstream()
      far.answers(fails(status, { 'retry-after': text }), ok)
      const { client } = clientOf(far.url)
      const { log, warn } = lines()
      const given = system({ dice: [OWN / 1_000] })
      await safeMessageCreate(client, params, { ...given, log })
      expect(given.waits.all).toEqual([waitMs])
      const said = cut === undefined ? '' : ' (retry-after was longer, and cut)'
      expect(warn.all).toEqual([
        `Claude call failed with ${status}, attempt 1 of 6; next in ${waitMs} ms${said}`,
      ])
    }
  })

  test("the buffer is the caller's to choose, and comes only with a retry-after", async () => {
    const far = await upstream()
    far.answers(fails(429, { 'retry-after': '2' }), fails(429), ok)
    const { client } = clientOf(far.url)
    const given = system({ dice: [0.5] })
    await safeMessageCreate(client, params, { ...given, log: lines().log, bufferMs: 70 })
    expect(given.waits.all).toEqual([2_070, 1_000])
  })

  test.for([1, 2, 3, 4, 5])(
    '1,000 callers that fail in the same instant do not come back in the same instant (seed %d)',
    async (seed) => {
      const dice = seededDice(seed)
      const waits: Millis[] = []
      const failed = new Map<number, number>()
      await Promise.all(
        Array.from({ length: 1_000 }, (_, caller) =>
          safeMessageCreate(
            {
              messages: {
                async create() {
                  const times = failed.get(caller) ?? 0
                  failed.set(caller, times + 1)
                  if (times === 3) return JSON.parse(ANSWER) as Anthropic.Message
                  throw Object.assign(new Error('Overloaded'), { status: 529 })
                },
              },
            },
            params,
            {
              log: lines().log,
              system: {
                random: () => dice.next(),
                after(ms, call) {
                  if (ms !== 60_000 + BODY_GRACE_MS) {
                    waits.push(ms)
                    queueMicrotask(call)
                  }
                  return () => {}
                },
              },
            },
          ),
        ),
      )
      expect(waits).toHaveLength(3_000)
      // All callers move in step: the first 1,000 waits are everyone's first.
      for (const [retry, ceiling] of [1_000, 2_000, 4_000].entries()) {
        const own = waits.slice(1_000 * retry, 1_000 * (retry + 1))
        expect(Math.max(...own)).toBeLessThanOrEqual(ceiling)
        // Uniform: chi-square over 20 bins, 19 degrees of freedom; one honest run in 1,000 is above 43.8.
        expect(chiSquare(own, { ceiling, bins: 20 })).toBeLessThan(43.8)
        // Of 1,000 in 100 bins 10 are expected in each; 30 of them would be 6 deviations off.
        expect(Math.max(...histogram(own, { ceiling, bins: 100 }))).toBeLessThan(30)
      }
    },
  )
})

function histogram(all: readonly number[], by: { ceiling: number; bins: number }): number[] {
  const counts = Array.from({ length: by.bins }, () => 0)
  for (const one of all)
    counts[Math.min(by.bins - 1, Math.floor((one / by.ceiling) * by.bins))]! += 1
  return counts
}

function chiSquare(all: readonly number[], by: { ceiling: number; bins: number }): number {
  const expected = all.length / by.bins
  return histogram(all, by).reduce((sum, one) => sum + (one - expected) ** 2 / expected, 0)
}

describe('a call that hangs', () => {
  test("is ended by the SDK's own timer before the head, and tried again", async () => {
    const far = await upstream()
    far.answers(() => {}, ok)
    const { client, thrown } = clientOf(far.url)
    const { log, warn } = lines()
    // Long enough for the second call, on a busy machine too.
    const timeoutMs = 1_000
    const given = system({ timeoutMs })
    const message = await safeMessageCreate(client, params, { ...given, log, timeoutMs })
    expect(message.id).toBe('msg_1')
    expect(thrown[0]).toBeInstanceOf(Anthropic.APIConnectionTimeoutError)
    expect(warn.all).toEqual(['Claude call failed with timeout, attempt 1 of 6; next in 0 ms'])
  })

  test("the SDK's own timeout error comes back after the last try", async () => {
    const far = await upstream()
    far.answers(() => {})
    const { client, thrown } = clientOf(far.url)
    const timeoutMs = 300
    const options = { ...system({ timeoutMs }), log: lines().log, timeoutMs, retries: 2 }
    const caught = await failure(safeMessageCreate(client, params, options))
    expect(far.calls()).toBe(3)
    expect(caught).toBe(thrown[2])
    expect(caught).toBeInstanceOf(Anthropic.APIConnectionTimeoutError)
  })

  test('an answer that stalls after its head is ended after 60 s and its socket closed', async () => {
    const far = await upstream()
    const { client } = clientOf(far.url)
    const { log, warn, error } = lines()
    const given = system()
    const call = failure(safeMessageCreate(client, params, { ...given, log, retries: 1 }))
    for (let attempt = 0; attempt < 2; attempt++) {
      const turn = await far.next()
      turn.head({ status: 200, headers: JSON_TYPE })
      turn.chunk(ANSWER.slice(0, 40))
      given.clock.advance(60_000)
      expect(warn.all).toHaveLength(attempt)
      given.clock.advance(BODY_GRACE_MS)
      await turn.closed
    }
    expect(await call).toBeInstanceOf(Anthropic.APIConnectionTimeoutError)
    expect(warn.all).toEqual(['Claude call failed with timeout, attempt 1 of 2; next in 0 ms'])
    expect(error.all).toEqual(['Claude call failed with timeout, attempt 2 of 2; no tries left'])
    expect(given.clock.pending()).toBe(0)
  })

  test('a fetch that ignores its signal cannot hold it up', async () => {
    const { client } = clientOf('http://127.0.0.1:9', { fetch: () => new Promise(() => {}) })
    const given = system({ held: true })
    const call = failure(safeMessageCreate(client, params, { ...given, log: lines().log }))
    for (let attempt = 1; attempt <= 6; attempt++) {
      await given.armed.take(attempt)
      given.clock.advance(60_000 + BODY_GRACE_MS)
      if (attempt === 6) break
      await given.waits.take(attempt)
      given.clock.advance(0)
    }
    expect(await call).toBeInstanceOf(Anthropic.APIConnectionTimeoutError)
  })

  const wrapped = (message: string, code: string, text: string): Error =>
    new TypeError(text, { cause: Object.assign(new Error(message), { code }) })

  test.for<[what: string, response: () => Promise<Response>]>([
    [
      'making the connection',
      () =>
        Promise.reject(wrapped('Connect Timeout Error', 'UND_ERR_CONNECT_TIMEOUT', 'fetch failed')),
    ],
    [
      'making the connection, as the operating system says it,',
      () => Promise.reject(wrapped('connect ETIMEDOUT 192.0.2.1:443', 'ETIMEDOUT', 'fetch failed')),
    ],
    [
      'reading the answer',
      async () => {
        const error = wrapped('Body Timeout Error', 'UND_ERR_BODY_TIMEOUT', 'terminated')
        const body = new ReadableStream({ start: (controller) => controller.error(error) })
        return new Response(body, { headers: JSON_TYPE })
      },
    ],
  ])("fetch's own timeout for %s is tried again", async ([, response]) => {
    let calls = 0
    const fetch = (): Promise<Response> =>
      calls++ === 0 ? response() : Promise.resolve(new Response(ANSWER, { headers: JSON_TYPE }))
    const { client } = clientOf('http://127.0.0.1:9', { fetch })
    await safeMessageCreate(client, params, { ...system(), log: lines().log })
    expect(calls).toBe(2)
  })

  test('every call is given a timeout and no retries of its own', async () => {
    const given: unknown[] = []
    const client: MessagesClient = {
      messages: {
        async create(body, options) {
          given.push(body, options?.maxRetries, options?.timeout)
          return JSON.parse(ANSWER) as Anthropic.Message
        },
      },
    }
    await safeMessageCreate(client, params, system())
    expect(given).toEqual([params, 0, 60_000])
  })
})

describe('a caller who has enough', () => {
  test('ends a wait at once: no further call, no timer, no listener', async () => {
    const far = await upstream()
    far.answers(fails(429, { 'retry-after': '60' }))
    const { client } = clientOf(far.url)
    const given = system({ held: true })
    const aborting = new AbortController()
    const options = { ...given, log: lines().log, signal: aborting.signal }
    const call = failure(safeMessageCreate(client, params, options))
    expect(await given.waits.take(1)).toEqual([60_500])
    expect(given.clock.pending()).toBe(1)
    aborting.abort()
    expect(await call).toBeInstanceOf(Anthropic.APIUserAbortError)
    expect(given.clock.pending()).toBe(0)
    expect(getEventListeners(aborting.signal, 'abort')).toEqual([])
    expect(far.calls()).toBe(1)
  })

  test('ends a call at once, and it is not tried again', async () => {
    const far = await upstream()
    const { client, thrown } = clientOf(far.url)
    const aborting = new AbortController()
    const { log, warn, error } = lines()
    const options = { ...system(), log, signal: aborting.signal }
    const call = failure(safeMessageCreate(client, params, options))
    const turn = await far.next()
    aborting.abort()
    await turn.closed
    expect(await call).toBe(thrown[0])
    expect(await call).toBeInstanceOf(Anthropic.APIUserAbortError)
    expect([...warn.all, ...error.all]).toEqual([])
  })

  test('sends nothing after an abort that came before', async () => {
    const far = await upstream()
    far.answers(ok)
    const { client, thrown } = clientOf(far.url)
    const options = { ...system(), signal: AbortSignal.abort() }
    const caught = await failure(safeMessageCreate(client, params, options))
    expect(caught).toBe(thrown[0])
    expect(caught).toBeInstanceOf(Anthropic.APIUserAbortError)
    expect(far.calls()).toBe(0)
  })

  test('ends the wait even from inside the warning', async () => {
    const far = await upstream()
    far.answers(fails(529))
    const { client } = clientOf(far.url)
    const given = system({ held: true })
    const aborting = new AbortController()
    const log = { warn: () => aborting.abort(), error: () => {} }
    const options = { ...given, log, signal: aborting.signal }
    const caught = await failure(safeMessageCreate(client, params, options))
    expect(caught).toBeInstanceOf(Anthropic.APIUserAbortError)
    expect(given.clock.pending()).toBe(0)
  })

  test('leaves no listener and no timer behind after an answer', async () => {
    const far = await upstream()
    far.answers(fails(529), fails(529), ok)
    const { client } = clientOf(far.url)
    const given = system()
    const { signal } = new AbortController()
    await safeMessageCreate(client, params, { ...given, log: lines().log, signal })
    expect(getEventListeners(signal, 'abort')).toEqual([])
    expect(given.clock.pending()).toBe(0)
  })
})

describe('another copy of the SDK', () => {
  const Other = createRequire(import.meta.url)('@anthropic-ai/sdk') as typeof Anthropic

  test('has its own classes, and its errors are known and given back as they are', async () => {
    expect(Other.APIConnectionTimeoutError).not.toBe(Anthropic.APIConnectionTimeoutError)
    const far = await upstream()
    far.answers(fails(529), () => {}, fails(429), fails(401))
    const client = new Other({ apiKey: KEY, baseURL: far.url, logLevel: 'off' })
    const thrown = thrownBy(client)
    const { log, warn } = lines()
    const timeoutMs = 40
    const options = { ...system({ timeoutMs }), log, timeoutMs }
    const caught = await failure(safeMessageCreate(client, params, options))
    expect(caught).toBe(thrown[3])
    expect(caught).toBeInstanceOf(Other.AuthenticationError)
    expect(warn.all.map((line) => /with (\w+)/.exec(line)?.[1])).toEqual(['529', 'timeout', '429'])
  })

  test('gets its own classes where the SDK has no error that fits', async () => {
    const far = await upstream()
    const client = new Other({ apiKey: KEY, baseURL: far.url, logLevel: 'off' })
    const given = system()
    const options = { ...given, log: lines().log, retries: 0 }
    const call = failure(safeMessageCreate(client, params, options))
    const turn = await far.next()
    turn.head({ status: 200, headers: JSON_TYPE })
    given.clock.advance(60_000 + BODY_GRACE_MS)
    expect(await call).toBeInstanceOf(Other.APIConnectionTimeoutError)
  })

  test('is known by the classes that hang on its client, whatever they are called', async () => {
    class Shrunk extends Error {
      override name = 'e'
    }
    class Client implements MessagesClient {
      static readonly APIConnectionTimeoutError = Shrunk
      calls = 0
      readonly messages = {
        create: async () => {
          if (this.calls++ === 0) throw new Shrunk()
          return JSON.parse(ANSWER) as Anthropic.Message
        },
      }
    }
    const client = new Client()
    await safeMessageCreate(client, params, { ...system(), log: lines().log })
    expect(client.calls).toBe(2)
  })

  test.for<[what: string, error: object, calls: number]>([
    ['headers in a plain record', { status: 429, headers: { 'retry-after': '5' } }, 2],
    [
      'a spend limit that stands only in the body',
      {
        status: 429,
        error: { error: { details: { error_code: 'enforced_spend_limit_reached' } } },
      },
      1,
    ],
    ['a timeout that only its name tells', { name: 'APIConnectionTimeoutError' }, 2],
    ['an abort that nobody here asked for', { name: 'AbortError' }, 2],
    ['a status in words', { status: '529' }, 1],
    ['nothing that is known', {}, 1],
  ])('%s is understood without its classes', async ([, error, calls]) => {
    let made = 0
    const client: MessagesClient = {
      messages: {
        async create() {
          if (made++ === 0) throw error
          return JSON.parse(ANSWER) as Anthropic.Message
        },
      },
    }
    const given = system({ dice: [0.8] })
    const call = safeMessageCreate(client, params, { ...given, log: lines().log })
    if (calls === 1) expect(await failure(call)).toBe(error)
    else expect((await call).id).toBe('msg_1')
    expect(made).toBe(calls)
    if ('headers' in error) expect(given.waits.all).toEqual([5_500])
  })
})

describe('what it says', () => {
  test('a warning per retry and an error at the end: what, which of how many, how long', async () => {
    const far = await upstream()
    const day = { 'retry-after': '86400' }
    far.answers(fails(529), fails(429, { 'retry-after': '5' }), fails(429, day), fails(529))
    const { client } = clientOf(far.url)
    const { log, warn, error } = lines()
    await failure(safeMessageCreate(client, params, { ...system({ dice: [0.25] }), log }))
    expect(warn.all).toEqual([
      'Claude call failed with 529, attempt 1 of 6; next in 250 ms',
      'Claude call failed with 429, attempt 2 of 6; next in 5500 ms',
      'Claude call failed with 429, attempt 3 of 6; next in 300500 ms (retry-after was longer, and cut)',
      'Claude call failed with 529, attempt 4 of 6; next in 2000 ms',
      'Claude call failed with 529, attempt 5 of 6; next in 4000 ms',
    ])
    expect(error.all).toEqual(['Claude call failed with 529, attempt 6 of 6; no tries left'])
    // The API's message quotes the prompt.
    const said = [...warn.all, ...error.all].join('\n')
    expect(said).not.toContain(PROMPT)
    expect(said).not.toContain(KEY)
  })

  test('to the console, when nobody else listens', async () => {
    const far = await upstream()
    far.answers(fails(529))
    const { client } = clientOf(far.url)
    const said: unknown[][] = []
    const { warn, error } = console
    onTestFinished(() => void Object.assign(console, { warn, error }))
    console.warn = (...args) => said.push(['warn', ...args])
    console.error = (...args) => said.push(['error', ...args])
    await failure(safeMessageCreate(client, params, { ...system(), retries: 1 }))
    expect(said).toEqual([
      ['warn', 'Claude call failed with 529, attempt 1 of 2; next in 0 ms'],
      ['error', 'Claude call failed with 529, attempt 2 of 2; no tries left'],
    ])
  })
})

describe('what makes no sense', () => {
  const never: MessagesClient = {
    messages: { create: () => expect.unreachable('nothing should be sent') },
  }

  test.for<[options: SafeMessageOptions, says: string]>([
    [{ retries: -1 }, 'retries: expected a whole number from 0 to 100, got -1'],
    [{ retries: 2.5 }, 'retries: expected a whole number from 0 to 100, got 2.5'],
    [{ retries: Infinity }, 'retries: expected a whole number from 0 to 100, got Infinity'],
    [{ timeoutMs: 0 }, 'timeoutMs: expected a whole number from 1 to 2147483647, got 0'],
    [
      { timeoutMs: 2 ** 31 },
      'timeoutMs: expected a whole number from 1 to 2147483647, got 2147483648',
    ],
    [{ baseMs: Number.NaN }, 'baseMs: expected a number of at least 0, got NaN'],
    [{ capMs: -5 }, 'capMs: expected a number of at least 0, got -5'],
    [{ bufferMs: Infinity }, 'bufferMs: expected a number of at least 0, got Infinity'],
  ])('%o is refused before anything is sent', async ([options, says]) => {
    await expect(safeMessageCreate(never, params, options)).rejects.toThrow(new RangeError(says))
  })

  test('so is a stream', async () => {
    const streamed = { ...params, stream: true } as unknown as typeof params
    await expect(safeMessageCreate(never, streamed)).rejects.toThrow(TypeError)
  })
})

test('without options it lives on the real clock and real dice', async () => {
  const far = await upstream()
  far.answers(fails(529), ok)
  const { client } = clientOf(far.url)
  const { log, warn } = lines()
  const message = await safeMessageCreate(client, params, { log, baseMs: 20 })
  expect(message.id).toBe('msg_1')
  expect(Number(/next in (\d+) ms/.exec(warn.all[0] ?? '')?.[1])).toBeLessThanOrEqual(20)
})

test.each([[undefined], [{}], [{ messages: {} }]])(
  '%j is no client, and told so',
  async (client) => {
    await expect(safeMessageCreate(client as unknown as MessagesClient, params)).rejects.toThrow(
      'safeMessageCreate: expected a client of @anthropic-ai/sdk first',
    )
  },
)
