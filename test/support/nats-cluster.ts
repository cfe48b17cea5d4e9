/** Three nats-servers in one JetStream cluster, of which a test kills some and starts them again. */
import { setTimeout as after } from 'node:timers/promises'
import { connect } from '@nats-io/transport-node'
import { jetstreamManager, type JetStreamManager } from '@nats-io/jetstream'
import { natsServer, type NatsServer } from './nats-server.ts'
import { freePort } from './stack.ts'

const SERVERS = 3
const READY_WITHIN_MS = 30_000
const ASK_EVERY_MS = 100
const ANSWER_WITHIN_MS = 1_000

export interface NatsCluster {
  readonly ports: readonly number[]
  /** Of all. */
  readonly urls: string[]
  kill(which: number): Promise<void>
  /** Again, with its files. */
  start(which: number): Promise<void>
  /** What they keep under this name is gone. */
  deleteStream(name: string): Promise<void>
  /** The last message on a subject of it; null: there is none, or they do not answer. */
  lastOf(name: string, subject: string): Promise<string | null>
  close(): Promise<void>
}

export async function natsCluster(): Promise<NatsCluster> {
  const routes = await Promise.all(Array.from({ length: SERVERS }, freePort))
  const all = routes.map((port) => `nats://127.0.0.1:${port}`).join(', ')
  const servers: NatsServer[] = await Promise.all(
    routes.map((port, i) =>
      natsServer({
        config: [
          `server_name: nats-${i}`,
          // Who connects through a wire is told of no other way.
          `cluster { name: fleet, listen: "127.0.0.1:${port}", routes: [${all}], no_advertise: true }`,
        ].join('\n'),
      }),
    ),
  )
  const urls = servers.map(({ url }) => url)
  const close = async (): Promise<void> => {
    await Promise.all(servers.map((one) => one.stop('SIGKILL')))
  }
  try {
    await led(urls)
  } catch (error) {
    await close()
    throw error
  }
  return {
    ports: servers.map(({ port }) => port),
    urls,
    kill: (which) => servers[which]!.kill('SIGKILL'),
    start: (which) => servers[which]!.restart('SIGKILL'),
    deleteStream: (name) => managed(urls, async ({ streams }) => void (await streams.delete(name))),
    lastOf: (name, subject) =>
      managed(urls, async ({ streams }) => {
        const found = await streams.getMessage(name, { last_by_subj: subject })
        return found?.string() ?? null
      }).catch(() => null),
    close,
  }
}

/** Resolves when JetStream has a leader and all three. */
async function led(urls: string[]): Promise<void> {
  for (let asked = 0; asked < READY_WITHIN_MS / ASK_EVERY_MS; asked++) {
    if (await keeps(urls)) return
    await after(ASK_EVERY_MS)
  }
  throw new Error('the cluster has no leader')
}

async function keeps(servers: string[]): Promise<boolean> {
  const name = 'ready'
  try {
    return await managed(servers, async ({ streams }) => {
      await streams.add({ name, subjects: [name], num_replicas: SERVERS })
      return streams.delete(name)
    })
  } catch {
    return false
  }
}

async function managed<T>(
  servers: string[],
  does: (manager: JetStreamManager) => Promise<T>,
): Promise<T> {
  const nc = await connect({ servers })
  try {
    return await does(await jetstreamManager(nc, { timeout: ANSWER_WITHIN_MS }))
  } finally {
    await nc.close()
  }
}
