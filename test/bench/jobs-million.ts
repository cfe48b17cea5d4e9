/** `npm run bench -- jobs-million [--jobs N] [--tenants N] [--share 0.9] [--order first|mixed] [--slots N]
 *  [--for S]`: a backlog of which one tenant has a share, and a scheduler that is started on it, killed, and started
 *  again. What a start costs, how soon whose jobs start, and by how much the process is larger than without jobs. */
import { fork, type ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { connect, headers, type NatsConnection } from '@nats-io/transport-node'
import { HEADER } from '#contracts/messages'
import { v8Flags } from '../../services/cli/v8-flags.ts'
import {
  startSimulatedProvider,
  type SimulatedProvider,
} from '../../services/simulated-provider/listener.ts'
import { natsServer } from '../support/nats-server.ts'
import { loadJobs, jobBody } from './job-load.ts'
import { quantile, sayTable } from './report.ts'
import { cpuSeconds } from './wire-cost.ts'

const MB = 1_048_576
const BIG = 'big'
/** A scheduler is looked at so long without jobs. */
const IDLE_MS = 15_000
const PATIENCE_MS = 180_000
const SAMPLE_MS = 100
/** Between two jobs of tenants that come while the backlog is worked off. */
const NEWCOMER_MS = 200
const SERVICE_MS = 200

interface Options {
  jobs: number
  tenants: number
  share: number
  order: string
  slots: number
  forMs: number
}

export async function benchJobsMillion(args: readonly string[]): Promise<void> {
  const of = optionsOf(args)
  const dir = await mkdtemp(join(tmpdir(), 'headgate-million-'))
  const provider = await startSimulatedProvider({
    ...{ ttftMs: SERVICE_MS, tokensPerSecond: 0, outputTokens: 2, ledgerMax: 1_000_000 },
  })
  const nats = await natsServer({ dir })
  const nc = await connect({ servers: nats.url })
  const config = join(dir, 'headgate.yaml')
  await writeFile(config, configOf(of.slots))
  const start = (): Promise<House> =>
    House.start({ nats: nats.url, provider: provider.url, config })
  const rows: [string, string, string][] = [
    ['load average at the start', loadavg()[0]!.toFixed(2), ''],
  ]
  const say = (what: string, figure: string, aim = ''): void => {
    rows.push([what, figure, aim])
    console.log(`${what}: ${figure}`)
  }
  try {
    const empty = await start()
    await sleep(IDLE_MS)
    const idle = await empty.weighed()
    await empty.end('SIGTERM')
    say('scheduler without jobs, RSS, heap, MB', `${mb(idle.rss)}, ${mb(idle.heap)}`)

    const loaded = await loadJobs(nc, { jobs: of.jobs, tenantOf: (n) => tenantOf(n, of) })
    say('nats-server', nats.source)
    say('loaded, s', `${loaded.seconds.toFixed(0)} (${(of.jobs / loaded.seconds).toFixed(0)}/s)`)
    say('stream on disk, MB', mb(loaded.bytes))
    say('memory of the server, MB', mb(rssOf(nats.pid)))

    const counts = new Map<string, number>()
    for (let n = 0; n < of.jobs; n++) {
      const tenant = tenantOf(n, of)
      counts.set(tenant, (counts.get(tenant) ?? 0) + 1)
    }
    const tenants = new Set(counts.keys())
    const first = await start()
    const seen = new Map<string, number>()
    await until(() => heardOf(provider, seen).size >= tenants.size, PATIENCE_MS)
    const others = [...seen].filter(([who]) => who !== BIG).map(([, at]) => at - first.startedAt)
    const firstAt = Math.min(...seen.values()) - first.startedAt
    say('start of the process to its first job, s', seconds(firstAt), '<= 15')
    say('tenants with a job, of whom one was begun', `${seen.size} of ${tenants.size}`)
    say("until the last other tenant's first job had begun, s", seconds(Math.max(...others)))
    const most = Math.max(...counts.values())
    const missing = await first.missing(most)
    say('jobs of the largest tenant that are not known or have ended', String(missing))
    await first.end('SIGKILL')

    const since = provider.ledger().entries.at(-1)?.n ?? 0
    const again = await start()
    await until(() => provider.ledger(since).entries.length > 0, PATIENCE_MS)
    const againAt = provider.ledger(since).entries[0]!.at
    say('the same after a SIGKILL, s', seconds(againAt - again.startedAt), '<= 15')
    // It is at work before anything is measured.
    await sleep(20_000)
    const cpu = { scheduler: cpuSeconds(again.pid), server: cpuSeconds(nats.pid) }
    const from = provider.ledger().entries.at(-1)?.n ?? 0
    const began = performance.now()
    const newcomers = await newcomersFor(nc, of.forMs)
    const lasted = (performance.now() - began) / 1_000
    const entries = provider.ledger(from).entries
    const gaps = gapsOf(entries)
    say('jobs begun per second', (entries.length / lasted).toFixed(1))
    say('freed slot to the next start, P50, ms', quantile(gaps, 0.5).toFixed(1))
    say('P99', quantile(gaps, 0.99).toFixed(1), '<= 20')
    say('longest', Math.max(...gaps).toFixed(1))
    sayNewcomers(say, newcomers, provider)
    const share = (pid: number, before: number): string =>
      ((cpuSeconds(pid) - before) / lasted).toFixed(2)
    say(
      'cores of the scheduler, of the server',
      `${share(again.pid, cpu.scheduler)}, ${share(nats.pid, cpu.server)}`,
    )
    const peak = again.peak
    const busy = await again.weighed()
    say('scheduler with jobs, most RSS, heap, MB', `${mb(peak)}, ${mb(busy.heap)}`)
    say(
      'above the same without, MB',
      `${mb(peak - idle.rss)}, ${mb(busy.heap - idle.heap)}`,
      '<= 200',
    )
    say('memory of the server, MB', mb(rssOf(nats.pid)))
    await again.end('SIGKILL')
    sayTable(`${of.jobs} jobs of ${tenants.size} tenants`, [['', '', 'target'], ...rows])
  } finally {
    await nc.close()
    await nats.stop('SIGKILL')
    await provider.close()
    await rm(dir, { recursive: true, force: true })
  }
}

function optionsOf(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      jobs: { type: 'string', default: '1000000' },
      tenants: { type: 'string', default: '1000' },
      share: { type: 'string', default: '0.9' },
      order: { type: 'string', default: 'first' },
      slots: { type: 'string', default: '16' },
      for: { type: 'string', default: '60' },
    },
  })
  const { jobs, tenants, share, order, slots } = values
  return {
    ...{ jobs: Number(jobs), tenants: Number(tenants), share: Number(share), order },
    ...{ slots: Number(slots), forMs: Number(values.for) * 1_000 },
  }
}

/** The big one's share comes before all others', or is spread among them. */
function tenantOf(n: number, { jobs, tenants, share, order }: Options): string {
  const big = Math.round(jobs * share)
  const mixed = order === 'mixed'
  if (mixed ? (n * 7_919) % jobs < big : n < big) return BIG
  const others = tenants - (share > 0 ? 1 : 0)
  return `t${(mixed ? n : n - big) % others}`
}

/** As many slots as the account has, and nothing else to hold anybody up. */
const configOf = (slots: number): string => `
llm_gateway: { max_inflight_global: ${slots}, max_inflight_per_tenant: ${slots} }
lanes:
  premium: { guarantee: 0, reserved_slots: 0 }
  interactive: { guarantee: 0, reserved_slots: 0 }
  batch: { cap: ${slots}, queue_max: 100000 }
scheduling: { base: ${slots} }
concurrency_limit: { initial: ${slots}, ceiling: ${slots} }
`

interface Shown {
  jobs: { tenants: { stored: number; taken: number }[] }
}

/** A scheduler, and its weight. */
class House {
  readonly startedAt = performance.timeOrigin + performance.now()
  peak = 0
  readonly #child: ChildProcess
  readonly #sampling: NodeJS.Timeout

  private constructor(child: ChildProcess) {
    this.#child = child
    this.#sampling = setInterval(
      () => (this.peak = Math.max(this.peak, rssOf(this.pid))),
      SAMPLE_MS,
    )
  }

  static async start(of: { nats: string; provider: string; config: string }): Promise<House> {
    const child = fork(new URL('./weighed.ts', import.meta.url), [], {
      execArgv: ['--expose-gc', ...v8Flags({ simulator: false, lessMemory: false })],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      env: {
        ...process.env,
        NATS_URL: of.nats,
        ANTHROPIC_BASE_URL: of.provider,
        ANTHROPIC_API_KEY: 'sk-bench',
        HEADGATE_HTTP_PORT: '0',
        HEADGATE_CONFIG: of.config,
        LOG_LEVEL: 'warn',
      },
    })
    const house = new House(child)
    const told = await said<{ type: string; message?: string; http: string }>(child)
    if (told.type !== 'ready') throw new Error(told.message)
    house.#url = told.http
    return house
  }

  #url = ''

  get pid(): number {
    return this.#child.pid ?? 0
  }

  async weighed(): Promise<{ rss: number; heap: number }> {
    const { peak } = this
    this.#child.send('weigh')
    const { heapUsed, external } = await said<{ heapUsed: number; external: number }>(this.#child)
    return { rss: peak, heap: heapUsed + external }
  }

  /** Jobs of the largest flow, of which so many were stored and some have ended, that it has not met. */
  async missing(stored: number): Promise<number> {
    const response = await fetch(`${this.#url}/api/snapshot`)
    const { jobs } = (await response.json()) as Shown
    const [most] = jobs.tenants
    return stored - (most?.stored ?? 0) - (most?.taken ?? 0)
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    clearInterval(this.#sampling)
    const gone = new Promise((resolve) => this.#child.once('exit', resolve))
    this.#child.kill(signal)
    await gone
  }
}

const said = <T>(child: ChildProcess): Promise<T> =>
  new Promise((resolve, reject) => {
    child.once('message', (message) => resolve(message as T))
    child.once('exit', (code) => reject(new Error(`ended with ${code}`)))
  })

/** When the first job of each tenant reached the provider, ms since 1970. */
function heardOf(provider: SimulatedProvider, seen: Map<string, number>): Map<string, number> {
  for (const { user, at } of provider.ledger().entries) {
    const tenant = user?.split('/')[0] ?? ''
    if (!seen.has(tenant)) seen.set(tenant, at)
  }
  return seen
}

/** From the end of each call to the call that took its slot, ms: who left first is followed first. */
function gapsOf(entries: readonly { at: number; endedAt: number | null }[]): number[] {
  const turns = entries.flatMap(({ at, endedAt }) => [
    { at, starts: true },
    ...(endedAt === null ? [] : [{ at: endedAt, starts: false }]),
  ])
  const free: number[] = []
  const gaps: number[] = []
  for (const { at, starts } of turns.toSorted((a, b) => a.at - b.at)) {
    if (!starts) free.push(at)
    else {
      const since = free.shift()
      if (since !== undefined) gaps.push(at - since)
    }
  }
  return gaps
}

interface Newcomer {
  user: string
  /** When its receipt came, ms since 1970. */
  at: number
}

/** One job each of tenants that nobody has seen. */
async function newcomersFor(nc: NatsConnection, ms: number): Promise<Newcomer[]> {
  const until = performance.now() + ms
  const all: Newcomer[] = []
  for (let n = 0; performance.now() < until; n++) {
    const user = `new${n}/${n}`
    const of = headers()
    of.set(HEADER.id, `new${n}`)
    await nc.request(`llm.v1.submit.new${n}.batch`, jobBody(user), { headers: of, timeout: 30_000 })
    all.push({ user, at: performance.timeOrigin + performance.now() })
    await sleep(NEWCOMER_MS)
  }
  return all
}

function sayNewcomers(
  say: (what: string, figure: string) => void,
  newcomers: readonly Newcomer[],
  provider: SimulatedProvider,
): void {
  const { entries } = provider.ledger()
  const startOf = new Map(entries.map(({ user, at }) => [user, at]))
  const waits: number[] = []
  const before: number[] = []
  for (const { user, at } of newcomers) {
    const started = startOf.get(user)
    if (started === undefined) continue
    waits.push(started - at)
    before.push(entries.filter((one) => one.at > at && one.at < started).length)
  }
  say('new tenants, begun of', `${waits.length} of ${newcomers.length}`)
  say(
    'receipt to start, P50, P99, ms',
    `${quantile(waits, 0.5).toFixed(0)}, ${quantile(waits, 0.99).toFixed(0)}`,
  )
  say('starts of others between, P50, P99', `${quantile(before, 0.5)}, ${quantile(before, 0.99)}`)
}

const mb = (bytes: number): string => (bytes / MB).toFixed(0)
const seconds = (ms: number): string => (ms / 1_000).toFixed(1)
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

async function until(is: () => boolean, ms: number): Promise<void> {
  const end = performance.now() + ms
  while (!is() && performance.now() < end) await sleep(SAMPLE_MS)
}

/** As the kernel counts it. */
function rssOf(pid: number): number {
  try {
    const [, kb] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
    return Number(kb ?? 0) * 1_024
  } catch {
    return 0
  }
}
