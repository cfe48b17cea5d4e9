/** A caller of the simulated provider: raw HTTP through undici, or the vendor's own SDK. */
import { once } from 'node:events'
import Anthropic from '@anthropic-ai/sdk'
import { Agent, request } from 'undici'
import {
  startSimulatedProvider,
  type SimulatedProvider,
  type SimulatedProviderOptions,
  type Stats,
} from '../../services/simulated-provider/listener.ts'
import type { Clock } from '../../services/simulated-provider/system.ts'
import { manualClock } from '../support/manual-clock.ts'

/** Answers at once: what most laws need. */
export const AT_ONCE = { ttftMs: 0, tokensPerSecond: 0, outputTokens: 12 } as const

export const MODEL = 'claude-haiku-4-5-20251001'

export const body = (extra: object = {}) => ({
  model: MODEL,
  max_tokens: 1_000,
  messages: [{ role: 'user', content: 'How much water?' }],
  ...extra,
})

export const HEADERS: Readonly<Record<string, string>> = {
  'x-api-key': 'key-1',
  'anthropic-version': '2023-06-01',
  'content-type': 'application/json',
}

export interface Reply {
  status: number
  headers: Record<string, string | string[] | undefined>
  text: string
  /** The body as the network cut it. */
  chunks: Buffer[]
}

export interface Caller {
  provider: SimulatedProvider
  sdk: Anthropic
  post(
    extra?: object,
    how?: { path?: string; headers?: object; signal?: AbortSignal },
  ): Promise<Reply>
  control(
    method: 'GET' | 'POST' | 'DELETE',
    path: string,
    value?: unknown,
  ): Promise<{ status: number; value: Record<string, unknown> }>
  /** Resolves once the provider's numbers fit; each look is a round trip, none is a sleep. */
  until(fits: (stats: Stats) => boolean): Promise<void>
  close(): Promise<void>
}

export async function callerOf(options: SimulatedProviderOptions = AT_ONCE): Promise<Caller> {
  const provider = await startSimulatedProvider(options)
  const agent = new Agent({ connections: 100 })
  const sdk = new Anthropic({
    apiKey: 'key-1',
    baseURL: provider.url,
    maxRetries: 0,
    logLevel: 'off',
  })
  const call = async (path: string, init: object): Promise<Reply> => {
    const res = await request(provider.url + path, { dispatcher: agent, method: 'POST', ...init })
    const chunks: Buffer[] = []
    // iterating would join what is buffered
    res.body.on('data', (chunk: Buffer) => chunks.push(chunk))
    await once(res.body, 'end')
    return {
      status: res.statusCode,
      headers: res.headers,
      text: Buffer.concat(chunks).toString(),
      chunks,
    }
  }
  return {
    provider,
    sdk,
    post: (extra = {}, { path = '/v1/messages', headers = HEADERS, signal } = {}) =>
      call(path, { headers, body: JSON.stringify(body(extra)), ...(signal ? { signal } : {}) }),
    async control(method, path, value) {
      const reply = await call(path, {
        method,
        ...(value === undefined ? {} : { body: JSON.stringify(value) }),
      })
      return { status: reply.status, value: JSON.parse(reply.text) as Record<string, unknown> }
    },
    async until(fits) {
      for (let look = 0; look < 5_000; look++) {
        if (fits(provider.stats())) return
        await call('/_sim/stats', { method: 'GET' })
      }
      throw new Error(`never came true: ${JSON.stringify(provider.stats())}`)
    },
    async close() {
      await provider.close()
      await agent.destroy()
    },
  }
}

/** A clock that moves when told, as the provider reads it. */
export function heldClock() {
  const manual = manualClock()
  const clock: Clock = {
    now: () => manual.wall(),
    after: (ms, callback) => manual.after(ms, callback),
  }
  return { clock, advance: (ms: number) => manual.advance(ms), pending: () => manual.pending() }
}

/** The data of each event of a stream, in order; a broken last frame is left out. */
export const eventsOf = (text: string): { type: string; [name: string]: unknown }[] =>
  text
    .replaceAll('\r\n', '\n')
    .split('\n\n')
    .slice(0, -1)
    .map((frame) => JSON.parse(frame.slice(frame.indexOf('data: ') + 6)) as { type: string })
