/** Two schedulers, each a process of its own, behind one nats-server: one reaches the provider, the other finds nobody
 *  at its address, so that its breaker opens and what comes to it waits. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connectHeadgate, type Headgate } from '#client'
import { snapshot, type Snapshot } from '#contracts/snapshot'
import { startSimulatedProvider } from '../../services/simulated-provider/listener.ts'
import { natsServer } from './nats-server.ts'
import { launch, type Program } from './program.ts'
import { freePort } from './stack.ts'

export interface Torn {
  readonly name: string
  readonly instance: string
  /** The operator's port. */
  readonly url: string
  readonly program: Program
  snapshot(): Promise<Snapshot>
}

export interface TornFleet {
  readonly natsUrl: string
  readonly whole: Torn
  readonly cut: Torn
  /** Calls of one tenant in a lane; whichever member gets them. Nobody waits for their end. */
  ask(of: { tenant: string; lane: string; calls: number }): void
  close(): Promise<void>
}

export const MODEL = 'claude-sonnet-4-5'
const YAML = 'llm_gateway: { max_inflight_global: 16 }\nmetrics: { tenants_max: 50 }\n'

export async function openTornFleet(): Promise<TornFleet> {
  const dir = await mkdtemp(join(tmpdir(), 'headgate-torn-'))
  const config = join(dir, 'headgate.yaml')
  await writeFile(config, YAML)
  const [nats, provider, nobody] = await Promise.all([
    natsServer(),
    startSimulatedProvider({ ttftMs: 3_000, tokensPerSecond: 0, outputTokens: 4 }),
    freePort(),
  ])
  const programs: Program[] = []
  const start = async (name: string, upstream: string): Promise<Torn> => {
    const program = launch('scheduler', {
      ...{ NATS_URL: nats.url, HEADGATE_CONFIG: config, LOG_LEVEL: 'error' },
      ...{ ANTHROPIC_BASE_URL: upstream, ANTHROPIC_API_KEY: 'sk-torn' },
      ...{ HEADGATE_HTTP_PORT: '0', HEADGATE_GATEWAY_PORT: '0', HEADGATE_FLEET_MEMBER: name },
    })
    programs.push(program)
    const told = await program.told
    if (told.type === 'failed') throw new Error(told.message)
    const url = told.http ?? ''
    const seen = async (): Promise<Snapshot> =>
      snapshot.parse(await (await fetch(`${url}/api/snapshot`)).json())
    return { name, instance: (await seen()).instance, url, program, snapshot: seen }
  }
  const whole = await start('whole', provider.url)
  const cut = await start('cut', `http://127.0.0.1:${nobody}`)
  const clients = new Map<string, Headgate>()
  const client = await connectHeadgate({ servers: nats.url, tenant: 'first' })
  return {
    ...{ natsUrl: nats.url, whole, cut },
    ask({ tenant, lane, calls }) {
      const asks = clients.get(tenant) ?? client.as(tenant)
      clients.set(tenant, asks)
      for (let at = 0; at < calls; at++)
        asks.request(JSON.stringify(BODY), { lane, deadlineMs: 120_000 }).catch(() => {})
    },
    async close() {
      await client.close()
      await Promise.all(programs.map((one) => one.kill()))
      await provider.close()
      await nats.stop('SIGKILL')
      await rm(dir, { recursive: true, force: true })
    },
  }
}

const BODY = {
  ...{ model: MODEL, max_tokens: 16 },
  messages: [{ role: 'user', content: 'a planted prompt that no page may hold' }],
}
