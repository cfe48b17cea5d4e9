/** What every Provider promises, as sentences. Run on the fake and, over a real socket, on the real one. */
import { afterEach, describe, expect, test } from 'vitest'
import type { AttemptCall, Clock, Provider, Verdict } from '#ports'
import { listener, sendTo, type Listener, type Sent } from '../support/listener.ts'

/** What the far side does with the attempt. */
export type Scene =
  /** Answers with `ANSWER`, whole. */
  | 'json'
  /** Streams `EVENTS`, with pings between them. */
  | 'stream'
  /** Says 529. */
  | 'overloaded'
  /** Says 429 and: in 7 seconds. */
  | 'throttled'
  /** Says 400, with `ERROR`. */
  | 'rejected'
  /** Takes the request and never says a byte. */
  | 'silent'
  /** Sends the head of a stream and nothing more. */
  | 'head_only'
  /** Streams the first two of `EVENTS` and nothing more. */
  | 'stalled'
  /** Streams the first two of `EVENTS` and breaks off. */
  | 'cut'
  /** Streams the first two of `EVENTS`, then an overloaded error event. */
  | 'overloaded_midway'
  /** Streams a ping, then an overloaded error event. */
  | 'overloaded_first'

export interface FarSide {
  provider: Provider
  clock: Clock & { advance(ms: number): void; pending(): number }
  /** The far side's address, for the call. */
  url: string
  /** Resolves when an attempt has reached the far side. */
  reached(): Promise<void>
  stop(): Promise<void>
}

export const USAGE = {
  inputTokens: 10,
  cacheCreationTokens: 2,
  cacheReadTokens: 3,
  outputTokens: 20,
}
const USAGE_JSON = {
  input_tokens: 10,
  cache_creation_input_tokens: 2,
  cache_read_input_tokens: 3,
  output_tokens: 20,
}
export const ANSWER = JSON.stringify({
  type: 'message',
  content: [{ type: 'text', text: 'Wasser — water' }],
  usage: USAGE_JSON,
})
export const ERROR = JSON.stringify({
  type: 'error',
  error: { type: 'invalid_request_error', message: 'max_tokens: too large' },
  request_id: 'req_far',
})
export const EVENTS: readonly string[] = [
  { type: 'message_start', message: { usage: { ...USAGE_JSON, output_tokens: 1 } } },
  { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
  { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'Wasser — water' } },
  { type: 'content_block_stop', index: 0 },
  { type: 'tide_turned', note: 'an event that nobody knows yet' },
  { type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 20 } },
  { type: 'message_stop' },
].map((event) => JSON.stringify(event))

/** How each scene comes to its end. */
const ENDINGS: Readonly<Record<Scene, 'by itself' | 'by a watchdog'>> = {
  json: 'by itself',
  stream: 'by itself',
  overloaded: 'by itself',
  throttled: 'by itself',
  rejected: 'by itself',
  silent: 'by a watchdog',
  head_only: 'by a watchdog',
  stalled: 'by a watchdog',
  cut: 'by itself',
  overloaded_midway: 'by itself',
  overloaded_first: 'by itself',
}

export function providerConformance(name: string, make: (scene: Scene) => Promise<FarSide>): void {
  describe(`provider: ${name}`, () => {
    let far: FarSide
    afterEach(() => far.stop())

    const callOf = (given: Partial<AttemptCall>): AttemptCall => ({
      tenant: 'acme',
      lane: 'interactive',
      id: 'r_1',
      upstream: { name: 'main', baseUrl: far.url, apiKey: 'key', version: '2023-06-01' },
      model: 'claude-x',
      body: Buffer.from('{}'),
      stream: true,
      headers: {},
      firstByteMs: 30_000,
      idleMs: 60_000,
      ...given,
    })
    const send = async (
      scene: Scene,
      given: Partial<AttemptCall> = {},
    ): Promise<{ running: Sent; sink: Listener }> => {
      far = await make(scene)
      const sink = listener()
      return { running: sendTo(far.provider, callOf(given), sink), sink }
    }
    const ends = async (scene: Scene, given: Partial<AttemptCall> = {}): Promise<Verdict> =>
      (await send(scene, given)).running.verdict

    test('an answer that is not streamed comes whole, its bytes unchanged, with its usage', async () => {
      const { running, sink } = await send('json', { stream: false })
      const verdict = await running.verdict
      expect(verdict).toMatchObject({ kind: 'ok', status: 200, usage: USAGE, ttftMs: null })
      expect(Buffer.from(verdict.body ?? []).toString()).toBe(ANSWER)
      expect(sink.firstBytes.all).toHaveLength(1)
      expect(sink.events.all).toEqual([])
    })

    test('a stream comes event by event, in order, pings left out, unknown events left in', async () => {
      const { running, sink } = await send('stream')
      const verdict = await running.verdict
      expect(verdict).toMatchObject({ kind: 'ok', usage: USAGE, body: null })
      expect(verdict.ttftMs).not.toBeNull()
      expect(sink.firstBytes.all).toHaveLength(1)
      expect(sink.events.all).toEqual(EVENTS)
    })

    test('a refusal of the upstream is a verdict and never a rejection', async () => {
      expect(await ends('overloaded')).toMatchObject({ kind: 'overloaded', status: 529 })
    })

    test('a throttled attempt says how long to stay away', async () => {
      const verdict = await ends('throttled')
      expect(verdict).toMatchObject({ kind: 'throttled', status: 429, retryAfterMs: 7_000 })
    })

    test("the upstream's error JSON comes back as it was", async () => {
      const verdict = await ends('rejected')
      expect(verdict).toMatchObject({ kind: 'rejected', errorType: 'invalid_request_error' })
      expect(Buffer.from(verdict.body ?? []).toString()).toBe(ERROR)
    })

    test('no byte in time is a hang', async () => {
      const { running, sink } = await send('silent', { firstByteMs: 5_000 })
      await far.reached()
      far.clock.advance(5_000)
      expect(await running.verdict).toMatchObject({ kind: 'hang', ttftMs: null })
      expect(sink.firstBytes.all).toEqual([])
    })

    test('an endless first-byte limit leaves the waiting to the deadline', async () => {
      const { running } = await send('silent', { firstByteMs: Infinity })
      await far.reached()
      far.clock.advance(10_000_000)
      running.abort('deadline')
      expect(await running.verdict).toMatchObject({ kind: 'ended', cause: 'deadline' })
    })

    test('silence before the first event is a break, after it a cut', async () => {
      const early = await send('head_only', { idleMs: 1_000 })
      await early.sink.firstBytes.take(1)
      far.clock.advance(1_000)
      expect(await early.running.verdict).toMatchObject({ kind: 'broken', cause: 'idle' })
      await far.stop()

      const late = await send('stalled', { idleMs: 1_000 })
      await late.sink.events.take(2)
      far.clock.advance(1_000)
      expect(await late.running.verdict).toMatchObject({ kind: 'cut', cause: 'idle' })
    })

    test('a stream that breaks off after an event is cut, and keeps what it used', async () => {
      const { running, sink } = await send('cut')
      const verdict = await running.verdict
      expect(verdict).toMatchObject({ kind: 'cut', mayHaveRun: true })
      expect(verdict.usage?.inputTokens).toBe(10)
      expect(sink.events.all).toEqual(EVENTS.slice(0, 2))
    })

    test('an overload that comes as an event is told apart by what was forwarded', async () => {
      const first = await send('overloaded_first')
      expect(await first.running.verdict).toMatchObject({
        kind: 'overloaded',
        errorType: 'overloaded_error',
      })
      expect(first.sink.events.all).toEqual([])
      await far.stop()

      const midway = await send('overloaded_midway')
      expect(await midway.running.verdict).toMatchObject({ kind: 'cut_overloaded' })
      expect(midway.sink.events.all).toEqual(EVENTS.slice(0, 2))
    })

    test('an abort ends it once, for the first reason given, and nothing is heard afterwards', async () => {
      const { running, sink } = await send('stalled')
      await sink.events.take(2)
      running.abort('preempt')
      running.abort('cancel')
      expect(await running.verdict).toMatchObject({ kind: 'ended', cause: 'preempt' })
      running.abort('drain')
      far.clock.advance(10_000_000)
      expect(sink.events.all).toHaveLength(2)
    })

    test('an abort in the same breath as the send still ends it', async () => {
      const { running, sink } = await send('stream')
      running.abort('cancel')
      expect(await running.verdict).toMatchObject({ kind: 'ended', cause: 'cancel' })
      expect(sink.events.all).toEqual([])
    })

    test.each(Object.entries(ENDINGS))(
      '%s: the end, %s, is told once, whatever follows',
      async (scene, ending) => {
        const { running, sink } = await send(scene as Scene, { stream: scene !== 'json' })
        if (ending === 'by a watchdog') {
          await far.reached()
          if (scene !== 'silent') await sink.firstBytes.take(1)
          far.clock.advance(60_000)
        }
        const verdict = await running.verdict
        running.abort('cancel')
        running.abort('drain')
        far.clock.advance(10_000_000)
        await far.provider.close()
        expect(sink.ends.all).toEqual([verdict])
      },
    )

    test.each(['an answer', 'an address that is none', 'a provider that is closed'])(
      'nothing is told from inside `send`: %s',
      async (what) => {
        far = await make('json')
        const upstream = { name: 'main', baseUrl: far.url, apiKey: 'key', version: '2023-06-01' }
        if (what === 'an address that is none') upstream.baseUrl = 'not an address'
        if (what === 'a provider that is closed') await far.provider.close()
        const sink = listener()
        const running = sendTo(far.provider, callOf({ upstream, stream: false }), sink)
        expect([sink.ends.all, sink.firstBytes.all]).toEqual([[], []])
        const verdict = await running.verdict
        await far.provider.close()
        expect(sink.ends.all).toEqual([verdict])
      },
    )

    test('an abort from inside an event ends it once, and no further event is heard', async () => {
      far = await make('stream')
      const sink = listener()
      const hasty: Listener = {
        ...sink,
        event(data) {
          sink.event(data)
          running.abort('cancel')
        },
      }
      const running = sendTo(far.provider, callOf({}), hasty)
      const verdict = await running.verdict
      expect(verdict).toMatchObject({ kind: 'ended', cause: 'cancel' })
      await far.provider.close()
      expect(sink.events.all).toEqual(EVENTS.slice(0, 1))
      expect(sink.ends.all).toEqual([verdict])
    })

    test('an abort after the end changes nothing', async () => {
      const { running } = await send('json', { stream: false })
      await running.verdict
      running.abort('cancel')
      expect(await running.verdict).toMatchObject({ kind: 'ok' })
    })

    test('no timer outlives its attempt', async () => {
      const { running } = await send('stream')
      await running.verdict
      expect(far.clock.pending()).toBe(0)
    })

    test('closing ends what runs', async () => {
      const { running } = await send('silent')
      await far.reached()
      await far.provider.close()
      expect(await running.verdict).toMatchObject({ kind: 'ended' })
    })
  })
}
