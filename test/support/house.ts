/** The whole house on real parts: nats-server, simulated provider, SDK, scheduler, client. */
import { connectHeadgate, HeadgateError, type Headgate } from '#client'
import { storeNames } from '#contracts/store-names'
import { violations } from '#core/invariants'
import type { ProviderBatches, Bus } from '#ports'
import { startSimulatedProvider } from '../../services/simulated-provider/listener.ts'
import type {
  SimulatedProvider,
  SimulatedProviderOptions,
} from '../../services/simulated-provider/listener.ts'
import { loadConfig } from '../../services/platform/config/load.ts'
import { memorySettings } from '../../services/scheduler/memory/settings.ts'
import { natsBudgetStore } from '../../services/scheduler/nats/budget-store.ts'
import { natsBus } from '../../services/scheduler/nats/connection.ts'
import { createLog } from '../../services/platform/log.ts'
import { anthropicBatches } from '../../services/scheduler/provider/batches.ts'
import { anthropicProvider } from '../../services/scheduler/provider/anthropic.ts'
import { systemClock, systemDice, systemSoon } from '../../services/platform/system.ts'
import { openFleet } from '../../services/scheduler/compose/open-fleet.ts'
import { openUsage } from '../../services/scheduler/compose/open-usage.ts'
import { openJobs } from '../../services/scheduler/compose/open-jobs.ts'
import { wire, type Wired } from '../../services/scheduler/compose/wire.ts'
import {
  startNatsServer,
  type NatsServer,
  type NatsServerOptions,
} from '../../services/cli/nats-server.ts'

export interface House {
  readonly nats: NatsServer
  readonly provider: SimulatedProvider
  readonly scheduler: Wired
  /** As tenant `acme`, or as `clientLogin` says; `as` gives others. */
  readonly client: Headgate
  /** Every line that was logged. */
  readonly logged: string[]
  /** Another scheduler on the same server and provider. */
  another(yaml?: string): Promise<Wired>
  /** Resolves when what the schedulers have published is with the server. */
  flush(): Promise<void>
  /** Resolves when every request has its answer and every slot is back. */
  rest(of?: Wired): Promise<void>
  close(): Promise<void>
}

export interface HouseOptions {
  yaml?: string
  provider?: SimulatedProviderOptions
  http?: boolean
  /** Durable jobs are kept in the server's JetStream. */
  jobs?: boolean
  /** The schedulers divide their limits. */
  fleet?: boolean
  /** What is used of budgets is kept in the server's JetStream. */
  budgets?: boolean
  /** Rows of usage are kept in the server's JetStream. */
  usage?: boolean
  /** What stands between the schedulers and the provider's batches: faults, for instance. */
  batches?: (real: ProviderBatches) => ProviderBatches
  /** Of the nats-server: more lines of its configuration, for instance. */
  nats?: NatsServerOptions
  /** As whom the scheduler connects, and as whom `client` does, which is then that tenant. */
  login?: { user: string; password: string }
  clientLogin?: { user: string; password: string }
}

export async function openHouse(options: HouseOptions = {}): Promise<House> {
  const { server: nats, reason } = await startNatsServer(options.nats)
  if (nats === null) throw new Error(reason)
  const provider = await startSimulatedProvider({
    ttftMs: 0,
    tokensPerSecond: 0,
    outputTokens: 12,
    ...options.provider,
  })
  const logged: string[] = []
  const schedulers: Wired[] = []
  const buses: Bus[] = []
  const open = async (yaml = options.yaml ?? ''): Promise<Wired> => {
    const bus = await natsBus({
      servers: nats.url,
      ...options.login,
      name: 'headgate',
      egressConnections: 2,
      clock: systemClock,
      soon: systemSoon,
    })
    buses.push(bus)
    const loaded = loadConfig({ path: null, text: yaml, emergency: false })
    const { file } = loaded.config
    const { connection } = bus
    const jobs =
      options.jobs === true ? await openJobs({ file, connection, clock: systemClock }) : null
    if (jobs?.kept === null) throw new Error(jobs.reason)
    const fleet =
      options.fleet === true ? await openFleet({ file, connection, clock: systemClock }) : null
    const wired = await wire({
      bus,
      fleet: fleet?.store == null ? null : { store: fleet.store, name: null },
      jobs: jobs?.kept ?? null,
      budgets:
        options.budgets === true
          ? natsBudgetStore({
              ...{ connection, clock: systemClock, replicas: 1 },
              bucket: storeNames(file.subject_prefix).budgets,
            })
          : null,
      settings: memorySettings(),
      usage:
        options.usage === true ? await openUsage({ file, connection, clock: systemClock }) : null,
      batches: (options.batches ?? ((real) => real))(anthropicBatches({ clock: systemClock })),
      provider: anthropicProvider({
        clock: systemClock,
        connections: 256,
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
      http: options.http === true ? { host: '127.0.0.1', port: 0, adminToken: 'let-me-in' } : null,
      version: '0.0.0-test',
      env: (name) =>
        name === 'ANTHROPIC_BASE_URL'
          ? provider.url
          : name === 'ANTHROPIC_API_KEY'
            ? 'sk-planted-key'
            : undefined,
      onBug(bug) {
        throw bug
      },
    })
    schedulers.push(wired)
    return wired
  }
  const scheduler = await open()
  const tenant = options.clientLogin?.user ?? 'acme'
  const client = await connectHeadgate({ servers: nats.url, tenant, ...options.clientLogin })
  return {
    nats,
    provider,
    scheduler,
    client,
    logged,
    another: open,
    flush: async () => void (await Promise.all(buses.map((bus) => bus.flush()))),
    rest: (of = scheduler) => atRest(of),
    async close() {
      await client.close()
      for (const one of schedulers) {
        const stopped = one.stop()
        one.hurry()
        await stopped
      }
      await provider.close()
      await nats.stop()
    },
  }
}

/** The conservation check: nothing is live, nothing is held, and every count that is kept of it agrees. */
async function atRest(of: Wired): Promise<void> {
  const { loop } = of
  const held = () => Object.values(loop.held()).reduce((sum, n) => sum + n, 0)
  const listener = of.recording.listen({ queueMax: 10_000 })
  // Whatever gives the last thing back says so in an event, and that step has ended when we hear it.
  while (held() > 0 || loop.liveCount > 0) if ((await listener.next()) === null) break
  listener.close()
  if (held() > 0) throw new Error(`held at rest: ${JSON.stringify(loop.held())}`)
  const found = violations(loop.state, [])
  if (found.length > 0) throw new Error(`at rest: ${found.join('; ')}`)
}

/** How a request ended, in one word. */
export async function endOf(asked: Promise<unknown>): Promise<string> {
  try {
    await asked
    return 'completed'
  } catch (error) {
    if (error instanceof HeadgateError) return error.code
    throw error
  }
}

export const body = (more: object = {}) => ({
  model: 'claude-sonnet-4-5',
  max_tokens: 64,
  messages: [{ role: 'user' as const, content: 'a planted prompt that no log may hold' }],
  ...more,
})
