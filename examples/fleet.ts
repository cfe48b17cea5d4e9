/** I want to see a fleet on my own machine: three nats-servers in a cluster, several schedulers behind them that divide
 *  one set of limits, and the simulated provider, all on loopback.
 *
 *    npx node examples/fleet.ts [SCHEDULERS]      (default 2; nats-server from 2.10 on is on the PATH)
 *
 *  It says each one's address and process id: end any of them by its id and see that requests are answered all the
 *  same. Ctrl-C ends all of them, by their ids. */
import { fork, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as after } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const SERVERS = 3
const SCHEDULERS_MAX = 16
const READY_WITHIN_MS = 30_000
/** Of a request that runs; then it is cut. */
const DRAIN_WITHIN_MS = 35_000
const ASK_EVERY_MS = 50
const WORDS_MAX = 16_384
const services = fileURLToPath(new URL('../services', import.meta.url))

export interface FleetServer {
  name: string
  url: string
  pid: number
}

export interface FleetMember {
  name: string
  /** The operator's port. */
  http: string
  /** The base URL of an Anthropic SDK. */
  door: string
  pid: number
}

export interface LocalFleet {
  readonly servers: readonly FleetServer[]
  readonly members: readonly FleetMember[]
  readonly upstream: string
  /** Ends what still runs: the schedulers may drain, the servers go last. Null: they may not drain. */
  stop(patience?: null): Promise<void>
}

export interface LocalFleetOptions {
  /** 1 to 16. */
  schedulers: number
  /** The program. */
  natsServer?: string
  /** More lines of the schedulers' configuration. */
  yaml?: string
  /** Of the simulated provider, as `services/simulated-provider/main.ts` takes them. */
  provider?: Record<string, unknown>
}

/** Rejects with the program's own words when one of them does not start; then none is left. */
export async function startFleet(options: LocalFleetOptions): Promise<LocalFleet> {
  const dir = await mkdtemp(join(tmpdir(), 'headgate-fleet-'))
  const started: Started[] = []
  const stop = async (patience?: null): Promise<void> => {
    // In the reverse order: a scheduler drains while its upstream and its servers are there.
    const ofKind = (kind: Started['kind']) => started.filter((one) => one.kind === kind)
    const signal = patience === null ? 'SIGKILL' : 'SIGTERM'
    await Promise.all(ofKind('scheduler').map((one) => end(one, signal)))
    await Promise.all(
      [...ofKind('provider'), ...ofKind('server')].map((one) => end(one, 'SIGTERM')),
    )
    await rm(dir, { recursive: true, force: true })
  }
  try {
    const servers = await startServers(dir, options.natsServer ?? 'nats-server', started)
    const provider = forked('simulated-provider', [JSON.stringify(options.provider ?? {})], {})
    started.push({ ...provider, kind: 'provider' })
    const { url } = await provider.ready
    const config = join(dir, 'headgate.yaml')
    await writeFile(config, `jobs: { replicas: ${SERVERS} }\n${options.yaml ?? ''}`)
    const env = {
      NATS_URL: servers.map((one) => one.url).join(','),
      HEADGATE_CONFIG: config,
      ...{ ANTHROPIC_BASE_URL: url, ANTHROPIC_API_KEY: 'sk-simulated' },
      // Any free port: this is a fleet of one machine.
      ...{ HEADGATE_HTTP_PORT: '0', HEADGATE_GATEWAY_PORT: '0', HEADGATE_GATEWAY: 'on' },
    }
    const names = Array.from({ length: options.schedulers }, (_, i) => `headgate-${i}`)
    const members = await Promise.all(names.map((name) => startMember(name, env, started)))
    return { servers, members, upstream: url ?? '', stop }
  } catch (error) {
    await stop(null)
    throw error
  }
}

interface Started {
  kind: 'server' | 'provider' | 'scheduler'
  child: ChildProcess
}

/** Three, of which each has the addresses of all; resolves when they have a leader. */
async function startServers(
  dir: string,
  program: string,
  started: Started[],
): Promise<FleetServer[]> {
  const ports = await freePorts(SERVERS * 3)
  const at = (i: number) => ({
    client: ports[3 * i]!,
    route: ports[3 * i + 1]!,
    monitor: ports[3 * i + 2]!,
  })
  const all = Array.from({ length: SERVERS }, (_, i) => at(i))
  const routes = all.map(({ route }) => `nats://127.0.0.1:${route}`).join(', ')
  const servers = all.map(async ({ client, route, monitor }, i) => {
    const name = `nats-${i}`
    const lines = [
      `server_name: ${name}`,
      `listen: "127.0.0.1:${client}"`,
      `http: "127.0.0.1:${monitor}"`,
      `jetstream { store_dir: ${JSON.stringify(join(dir, name))} }`,
      ...['max_payload: 8MB', 'max_pending: 256MB', 'write_deadline: "2s"'],
      `cluster { name: headgate, listen: "127.0.0.1:${route}", routes: [${routes}] }`,
    ]
    const file = join(dir, `${name}.conf`)
    await writeFile(file, `${lines.join('\n')}\n`)
    // A process group of its own: a Ctrl-C at the terminal is ours to answer.
    const child = spawn(program, ['-c', file], {
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    started.push({ kind: 'server', child })
    await healthy(`http://127.0.0.1:${monitor}/healthz`, child, name)
    return { name, url: `nats://127.0.0.1:${client}`, pid: child.pid! }
  })
  return Promise.all(servers)
}

async function healthy(url: string, child: ChildProcess, name: string): Promise<void> {
  let words = ''
  child.stderr?.on('data', (chunk: Buffer) => (words = (words + String(chunk)).slice(-WORDS_MAX)))
  child.once('error', (error) => (words = error.message))
  for (let asked = 0; asked < READY_WITHIN_MS / ASK_EVERY_MS; asked++) {
    if (child.pid === undefined || !isUp(child)) break
    const answer = await fetch(url).catch(() => null)
    await answer?.body?.cancel()
    if (answer?.ok === true) return
    await after(ASK_EVERY_MS)
  }
  throw new Error(`${name} did not start: ${words.trim().split('\n').slice(-3).join('\n')}`)
}

async function startMember(
  name: string,
  env: NodeJS.ProcessEnv,
  started: Started[],
): Promise<FleetMember> {
  const member = forked('scheduler', [], { ...env, HEADGATE_FLEET_MEMBER: name })
  started.push({ kind: 'scheduler', child: member.child })
  const { http, gateway } = await member.ready
  return { name, http: http ?? '', door: gateway ?? '', pid: member.child.pid! }
}

interface Told {
  type: 'ready' | 'failed'
  message?: string
  url?: string
  http?: string
  gateway?: string
}

/** One of ours. It ends by itself when we are gone, since its channel then is. */
function forked(name: string, args: readonly string[], env: NodeJS.ProcessEnv) {
  const child = fork(join(services, name, 'main.ts'), args, {
    env: { LOG_LEVEL: 'error', ...process.env, ...env },
    detached: true,
    // As `headgate` itself speaks with them.
    serialization: 'advanced',
  })
  const ready = once(child, 'message', { signal: AbortSignal.timeout(READY_WITHIN_MS) }).then(
    ([told]: Told[]) => {
      if (told?.type !== 'ready') throw new Error(`${name}: ${told?.message ?? 'no word'}`)
      return told
    },
  )
  ready.catch(() => {})
  return { child, ready }
}

const isUp = (child: ChildProcess): boolean => child.exitCode === null && child.signalCode === null

async function end({ child }: Started, signal: NodeJS.Signals): Promise<void> {
  if (child.pid === undefined || !isUp(child)) return
  const ended = once(child, 'exit')
  child.kill(signal)
  const late = setTimeout(() => child.kill('SIGKILL'), DRAIN_WITHIN_MS)
  await ended
  clearTimeout(late)
}

/** All held at once before any is given back, so that no two are one. */
async function freePorts(count: number): Promise<number[]> {
  const probes = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'))
  await Promise.all(probes.map((probe) => once(probe, 'listening')))
  const ports = probes.map((probe) => (probe.address() as AddressInfo).port)
  await Promise.all(probes.map((probe) => once(probe.close(), 'close')))
  return ports
}

async function main(): Promise<void> {
  const schedulers = Number(process.argv[2] ?? 2)
  if (!Number.isInteger(schedulers) || schedulers < 1 || schedulers > SCHEDULERS_MAX)
    throw new Error(`expected 1 to ${SCHEDULERS_MAX} schedulers`)
  const asked = Promise.withResolvers<void>()
  let signals = 0
  let fleet: LocalFleet | null = null
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.on(signal, () => {
      asked.resolve()
      if (++signals > 1) void fleet?.stop(null)
    })
  fleet = await startFleet({ schedulers })
  for (const { name, url, pid } of fleet.servers) console.log(`${name}  ${url}  (process ${pid})`)
  for (const { name, door, http, pid } of fleet.members)
    console.log(`${name}  door ${door}  dashboard ${http}  (process ${pid})`)
  const [first] = fleet.members
  const body = `{"model":"claude-sonnet-4-5","max_tokens":64,"messages":[{"role":"user","content":"Hi"}]}`
  console.log(`\ncurl ${first?.door}/v1/messages -d '${body}'\n\nCtrl-C ends them; again: at once.`)
  await asked.promise
  await fleet.stop()
}

if (import.meta.main) await main()
