/** `npm run bench -- beside [--seconds N] [--slots N] [--load 0.5] [--seed N]`: interactive requests beside a backlog of
 *  durable batch jobs that never runs dry, and without it, over real NATS and the simulated provider: what it costs
 *  those who wait at a screen, and how much of what they leave the backlog fills. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { connect, headers, type NatsConnection } from '@nats-io/transport-node'
import { seededDice } from '#core/estimators/dice'
import { HEADER } from '#contracts/messages'
import { natsServer } from '../support/nats-server.ts'
import { jobBody, loadJobs } from './job-load.ts'
import { quantile, sayMarkdown } from './report.ts'
import { start } from './wire-cost.ts'

const TENANTS = 10
/** Of the provider: half of an answer's time at the first byte, the rest at the last. */
const ANSWERS = { ttftMs: 500, tokensPerSecond: 32, outputTokens: 16, ledgerMax: 1 }
const ABOUT_S = 1
/** Before anything is counted: limits have settled, and the windows of the backlog are full. */
const WARM_PART = 0.25
/** More jobs than any run can end. */
const SPARE = 2

interface Options {
  seconds: number
  slots: number
  load: number
  seed: number
}

interface Column {
  name: string
  backlog: boolean
  /** More of the configuration. */
  yaml: string
}

const COLUMNS: readonly Column[] = [
  { name: 'without', backlog: false, yaml: '' },
  { name: 'as shipped', backlog: true, yaml: '' },
  {
    name: 'headroom 0, nothing spared',
    backlog: true,
    yaml: 'scheduling: { headroom: 0 }\npreemption: { max_per_request: 0 }\n',
  },
]

interface Figures {
  tookMs: number[]
  failed: number
  /** Slot-seconds at the upstream. */
  interactive: number
  batch: number
  ended: number
  /** How late the load itself was, ms. */
  lateMs: number[]
  seconds: number
}

export async function benchBeside(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seconds: { type: 'string', default: '120' },
      slots: { type: 'string', default: '24' },
      load: { type: 'string', default: '0.5' },
      seed: { type: 'string', default: '1' },
    },
  })
  const options: Options = {
    ...{ seconds: Number(values.seconds), slots: Number(values.slots) },
    ...{ load: Number(values.load), seed: Number(values.seed) },
  }
  const figures: Figures[] = []
  for (const column of COLUMNS) {
    process.stderr.write(`${column.name}: `)
    const one = await run(column, options)
    figures.push(one)
    const late = quantile(one.lateMs, 0.99).toFixed(0)
    process.stderr.write(`${one.tookMs.length} calls, ${one.ended} jobs, load late by ${late} ms\n`)
  }
  report(figures, options)
}

async function run(column: Column, options: Options): Promise<Figures> {
  const dir = await mkdtemp(join(tmpdir(), 'headgate-beside-'))
  const config = join(dir, 'headgate.yaml')
  await writeFile(config, yamlOf(column, options))
  const nats = await natsServer()
  const nc = await connect({ servers: nats.url })
  const provider = await start(
    '../../services/simulated-provider/main.ts',
    [JSON.stringify({ ...ANSWERS, seed: options.seed })],
    {},
  )
  const jobs = Math.ceil((options.slots * options.seconds * (1 + WARM_PART) * SPARE) / ABOUT_S)
  if (column.backlog) await loadJobs(nc, { jobs, tenantOf: (n) => `b${n % TENANTS}` })
  const scheduler = await start('../../services/scheduler/main.ts', [], {
    ...{ NATS_URL: nats.url, ANTHROPIC_BASE_URL: String(provider.told['url']) },
    ...{ ANTHROPIC_API_KEY: 'sk-bench', HEADGATE_HTTP_PORT: '0', LOG_LEVEL: 'warn' },
    HEADGATE_CONFIG: config,
  })
  try {
    const figures = await offer(nc, options)
    if (figures.ended >= jobs) throw new Error('the backlog ran dry')
    return figures
  } finally {
    await nc.close()
    for (const { child } of [scheduler, provider]) child.kill('SIGKILL')
    await nats.stop('SIGKILL')
    await rm(dir, { recursive: true, force: true })
  }
}

/** The limit is known and does not move: what is measured is who gets it. */
function yamlOf({ yaml }: Column, { slots }: Options): string {
  const own = yaml.startsWith('scheduling:')
    ? yaml.replace('scheduling: {', `scheduling: { base: ${slots},`)
    : `scheduling: { base: ${slots} }\n${yaml}`
  return `llm_gateway: { max_inflight_global: ${slots}, max_inflight_per_tenant: ${slots} }
concurrency_limit: { initial: ${slots}, ceiling: ${slots} }
lanes: { batch: { cap: ${slots} }, interactive: { cap: ${slots} } }
${own}`
}

/** Poisson arrivals, the same for every column; nobody waits for an answer before asking the next. */
async function offer(nc: NatsConnection, options: Options): Promise<Figures> {
  const dice = seededDice(options.seed)
  const figures: Figures = {
    ...{ tookMs: [], failed: 0, interactive: 0, batch: 0, ended: 0, lateMs: [] },
    seconds: options.seconds,
  }
  const began = performance.now()
  const from = began + options.seconds * WARM_PART * 1_000
  const until = from + options.seconds * 1_000
  const counts = (): boolean => performance.now() >= from && performance.now() < until
  const results = nc.subscribe('llm.v1.result.>', {
    callback: (_, message) => {
      if (!counts()) return
      figures.ended += 1
      figures.batch += upstreamSeconds(message)
    },
  })
  const under = new Set<Promise<void>>()
  const gapMs = (1_000 * ABOUT_S) / (options.slots * options.load)
  for (let at = began, n = 0; at < until; at -= gapMs * Math.log(1 - dice.next()), n++) {
    const wait = at - performance.now()
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait))
    if (at >= from) figures.lateMs.push(performance.now() - at)
    const call = ask(nc, { n, at, from, figures, counts }).finally(() => under.delete(call))
    under.add(call)
  }
  await Promise.all(under)
  results.unsubscribe()
  return figures
}

async function ask(
  nc: NatsConnection,
  of: { n: number; at: number; from: number; figures: Figures; counts: () => boolean },
): Promise<void> {
  const tenant = `i${of.n % TENANTS}`
  const said = headers()
  said.set(HEADER.id, `r${of.n}`)
  const answer = await nc
    .request(`llm.v1.request.${tenant}.interactive`, jobBody(`${tenant}/${of.n}`), {
      ...{ headers: said, timeout: 60_000 },
    })
    .catch(() => null)
  const ok = answer?.headers?.get(HEADER.outcome) === 'completed'
  if (ok && of.counts()) of.figures.interactive += upstreamSeconds(answer)
  if (of.at < of.from) return
  if (ok) of.figures.tookMs.push(performance.now() - of.at)
  else of.figures.failed += 1
}

const upstreamSeconds = ({
  headers: of,
}: {
  headers?: { get(name: string): string } | undefined
}): number => Number(of?.get(HEADER.upstreamMs) ?? 0) / 1_000

function report(all: readonly Figures[], { slots, load, seed }: Options): void {
  const base = all[0]!
  const p = (q: number) => (one: Figures) => quantile(one.tookMs, q)
  const ms = (of: (one: Figures) => number) => all.map((one) => `${of(one).toFixed(0)} ms`)
  const than = (of: (one: Figures) => number) =>
    all.map((one, n) => (n === 0 ? '' : `${((of(one) / of(base) - 1) * 100).toFixed(1)} %`))
  const filled = all.map(({ batch, interactive, seconds }, n) =>
    n === 0 ? '' : `${((100 * batch) / (slots * seconds - interactive)).toFixed(1)} %`,
  )
  sayMarkdown([
    [
      `${slots} slots, interactive asks for ${load * 100} %, seed ${seed}`,
      ...COLUMNS.map(({ name }) => name),
      'aimed at',
    ],
    ['interactive, P50', ...ms(p(0.5)), ''],
    ['interactive, P95', ...ms(p(0.95)), ''],
    ['interactive, P99', ...ms(p(0.99)), ''],
    ['P95, more than without', ...than(p(0.95)), '<= 5 %'],
    [
      'interactive calls, and those that failed',
      ...all.map((one) => `${one.tookMs.length}, ${one.failed}`),
      '',
    ],
    ['batch jobs a second', ...all.map((one) => (one.ended / one.seconds).toFixed(1)), ''],
    ['of what interactive leaves, batch fills', ...filled, '>= 95 %'],
  ])
}
