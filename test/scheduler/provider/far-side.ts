/** The real provider before a scripted upstream, on a manual clock. */
import {
  anthropicProvider,
  type AnthropicProviderOptions,
} from '../../../services/scheduler/provider/anthropic.ts'
import type { AttemptCall, Provider } from '#ports'
import { sendTo, type Listener, type Sent } from '../../support/listener.ts'
import { manualClock, type ManualClock } from '../../support/manual-clock.ts'
import { scriptedUpstream, type ScriptedUpstream } from '../../support/scripted-upstream.ts'

export interface Bench {
  provider: Provider
  upstream: ScriptedUpstream
  clock: ManualClock
  send(given?: Partial<AttemptCall>, sink?: Listener): Sent
  stop(): Promise<void>
}

export const JSON_TYPE = { 'content-type': 'application/json' }
export const SSE_TYPE = { 'content-type': 'text/event-stream; charset=utf-8' }

export async function bench(options: Partial<AnthropicProviderOptions> = {}): Promise<Bench> {
  const upstream = await scriptedUpstream()
  const clock = manualClock()
  const provider = anthropicProvider({
    clock,
    connections: 8,
    retryAfterMaxMs: 300_000,
    ...options,
  })
  return {
    provider,
    upstream,
    clock,
    send: (given = {}, sink) =>
      sendTo(
        provider,
        {
          tenant: 'acme',
          lane: 'interactive',
          id: 'r_1',
          upstream: { name: 'main', baseUrl: upstream.url, apiKey: 'key', version: '2023-06-01' },
          model: 'claude-x',
          body: Buffer.from('{"model":"claude-x"}'),
          stream: false,
          headers: {},
          firstByteMs: 30_000,
          idleMs: 60_000,
          ...given,
        },
        sink,
      ),
    async stop() {
      await provider.close()
      await upstream.close()
    },
  }
}

/** One server-sent event as the upstream writes it: its name is the `type` in its data. */
export function frame(data: string): string {
  const { type } = JSON.parse(data) as { type: string }
  return `event: ${type}\ndata: ${data}\n\n`
}

export const PING = 'event: ping\ndata: {"type": "ping"}\n\n'
