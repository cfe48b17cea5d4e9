/** The HTTP door as `serve --gateway` has it: door, scheduler and simulated provider, over the memory bus or
 *  beside a NATS server, and the real SDK in front of it. */
import Anthropic from '@anthropic-ai/sdk'
import { violations } from '#core/invariants'
import { memoryBus } from '#scheduler/memory/bus'
import type { Bus } from '#ports'
import { loadConfig } from '../../services/platform/config/load.ts'
import { memorySettings } from '../../services/scheduler/memory/settings.ts'
import type { JobsKept } from '../../services/scheduler/compose/open-jobs.ts'
import { openCache } from '../../services/scheduler/compose/open-cache.ts'
import { createLog } from '../../services/platform/log.ts'
import { anthropicProvider } from '../../services/scheduler/provider/anthropic.ts'
import { systemClock, systemDice } from '../../services/platform/system.ts'
import { wire, type Wired } from '../../services/scheduler/compose/wire.ts'
import {
  startSimulatedProvider,
  type SimulatedProvider,
  type SimulatedProviderOptions,
} from '../../services/simulated-provider/listener.ts'

export interface Door {
  readonly url: string
  readonly provider: SimulatedProvider
  readonly scheduler: Wired
  /** Every line that was logged. */
  readonly logged: string[]
  /** An unmodified SDK pointed at the door; retries only when asked to. */
  sdk(options?: ConstructorParameters<typeof Anthropic>[0]): Anthropic
  /** The same SDK pointed at the upstream itself. */
  direct(options?: ConstructorParameters<typeof Anthropic>[0]): Anthropic
  /** Resolves when every request has its answer and every slot is back. */
  rest(): Promise<void>
  close(): Promise<void>
}

export async function openDoor(
  options: {
    yaml?: string
    provider?: SimulatedProviderOptions
    host?: string
    tls?: { cert: string; key: string }
    bus?: Bus
    /** Where durable jobs are kept; absent: nowhere. */
    jobs?: JobsKept
    /** Instead of the simulated provider's. */
    upstreamUrl?: string
  } = {},
): Promise<Door> {
  const provider = await startSimulatedProvider({
    ttftMs: 0,
    tokensPerSecond: 0,
    outputTokens: 12,
    ...options.provider,
  })
  const logged: string[] = []
  const loaded = loadConfig({ path: null, text: options.yaml ?? '', emergency: false })
  const upstreamUrl = options.upstreamUrl ?? provider.url
  const scheduler = await wire({
    bus: options.bus ?? memoryBus(),
    jobs: options.jobs ?? null,
    settings: memorySettings(),
    cache: (
      await openCache({
        settings: loaded.config.file.cache,
        connection: null,
        clock: systemClock,
      })
    ).cache,
    provider: anthropicProvider({
      clock: systemClock,
      connections: 2_000,
      retryAfterMaxMs: loaded.config.file.llm_gateway.retry.retry_after_max_ms,
    }),
    loaded,
    configPath: null,
    clock: systemClock,
    dice: systemDice,
    log: createLog({
      level: 'debug',
      clock: systemClock,
      to: { write: (line) => logged.push(line) },
    }),
    http: { host: '127.0.0.1', port: 0, adminToken: 'let-me-in' },
    gateway: { host: options.host ?? '127.0.0.1', port: 0, tls: options.tls ?? null },
    version: '0.0.0-test',
    env: (name) =>
      name === 'ANTHROPIC_BASE_URL'
        ? upstreamUrl
        : name === 'ANTHROPIC_API_KEY'
          ? 'sk-planted-key'
          : undefined,
    onBug(bug) {
      throw bug
    },
  })
  const url = scheduler.gatewayUrl ?? ''
  const sdkAt =
    (baseURL: string) =>
    (more: ConstructorParameters<typeof Anthropic>[0] = {}): Anthropic =>
      new Anthropic({ baseURL, apiKey: 'sk-anything', maxRetries: 0, logLevel: 'off', ...more })
  return {
    url,
    provider,
    scheduler,
    logged,
    sdk: sdkAt(url),
    direct: sdkAt(upstreamUrl),
    async rest() {
      const { loop } = scheduler
      const held = () => Object.values(loop.held()).reduce((sum, n) => sum + n, 0)
      const listener = scheduler.recording.listen({ queueMax: 10_000 })
      while (held() > 0 || loop.liveCount > 0) if ((await listener.next()) === null) break
      listener.close()
      const found = violations(loop.state, [])
      if (held() > 0 || found.length > 0)
        throw new Error(`at rest: ${JSON.stringify(loop.held())} ${found.join('; ')}`)
    },
    async close() {
      const stopped = scheduler.stop()
      scheduler.hurry()
      await stopped
      await provider.close()
    },
  }
}

export const params = (more: object = {}) => ({
  model: 'claude-haiku-4-5',
  max_tokens: 64,
  messages: [{ role: 'user' as const, content: 'a planted prompt that no log may hold' }],
  ...more,
})
