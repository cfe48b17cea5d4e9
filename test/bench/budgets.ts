/** What limits and budgets of each tenant cost, beside the same without them: in the core, in CPU time and memory, and
 *  over real NATS. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { configFile, resolve } from '#contracts/config'
import { tenantLimits } from '#contracts/tenant-limits'
import { Account } from '#core/model/account'
import { startNatsServer } from '../../services/cli/nats-server.ts'
import { connect } from '@nats-io/transport-node'
import { coreRun } from './core.ts'
import { median, sayTable } from './report.ts'
import { load, prompt, rounds, start, type Served } from './wire-cost.ts'

const RUNS = 9
const LIMITS = {
  ...{ rpm: 1_000_000, itpm: 1_000_000_000, otpm: 1_000_000_000 },
  budget: { day: { tokens: 1e12 }, month: { usd: 1e6 } },
}
const FILE = { tenants: { default: { limits: LIMITS } }, prices: { m: { input: 3, output: 15 } } }

/** Of the process, in µs a task: what others do on the machine is not in it. */
function cpuOf(tenants: number, tasks: number, file: object): number {
  const before = process.cpuUsage()
  coreRun(tenants, tasks, file)
  const { user, system } = process.cpuUsage(before)
  return (user + system) / tasks
}

export async function benchBudgets(): Promise<void> {
  const rows = [
    [1_000, 20_000],
    [100_000, 100_000],
  ].map(([tenants = 0, tasks = 0]) => {
    const without: number[] = []
    const withLimits: number[] = []
    for (let i = 0; i < RUNS; i++) {
      without.push(cpuOf(tenants, tasks, {}))
      withLimits.push(cpuOf(tenants, tasks, FILE))
    }
    const [a, b] = [median(without), median(withLimits)]
    return [tenants.toLocaleString('en'), a.toFixed(2), b.toFixed(2), (b - a).toFixed(2)]
  })
  sayTable('limits and budgets in the core, µs of CPU a task', [
    ['tenants', 'without', 'three rates and two budgets each', 'more'],
    ...rows,
  ])
  sayTable('memory of 100,000 accounts', [
    ['', 'bytes each'],
    ['three rates and two budgets', bytesOfAccount().toFixed(0)],
  ])
  await overNats()
}

function bytesOfAccount(): number {
  const { config } = resolve(configFile.parse(FILE))
  const limits = config.tenants.default.limits ?? tenantLimits({ edge: 'queue' })
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const kept: Account[] = []
  collect()
  const before = process.memoryUsage()
  for (let i = 0; i < 100_000; i++) kept.push(new Account(`t${i}`, limits, 0))
  collect()
  const after = process.memoryUsage()
  const more = after.heapUsed + after.external - before.heapUsed - before.external
  return more / kept.length
}

/** Two schedulers on one server, in turns; the second has limits, budgets, prices and looks for prefixes. */
async function overNats(): Promise<void> {
  const { server: nats, reason } = await startNatsServer()
  if (nats === null) throw new Error(reason)
  const { child: upstream, told } = await start('./upstream.ts', [], {})
  const scheduler = async (file: string, prefix: string): Promise<Served> => {
    const { child } = await start('../../services/scheduler/main.ts', [], {
      NATS_URL: nats.url,
      ANTHROPIC_BASE_URL: String(told['url']),
      ANTHROPIC_API_KEY: 'sk-bench',
      HEADGATE_HTTP_PORT: '0',
      LOG_LEVEL: 'warn',
      HEADGATE_CONFIG: new URL(file, import.meta.url).pathname,
    })
    return { name: prefix, child, subject: (i) => `${prefix}.v1.request.t${i % 20}.interactive` }
  }
  const served = [
    await scheduler('./bench.yaml', 'llm'),
    await scheduler('./bench-limits.yaml', 'limited'),
  ]
  const nc = await connect({ servers: nats.url })
  try {
    const body = prompt(false)
    for (const one of served) await load(nc, one, { body, count: 5_000, width: 64 })
    const samples = await rounds(nc, served, { body, count: 10_000, width: 64 })
    const cpu = (name: string): number => median(samples[name]?.cpuUs ?? [])
    const [without, beside] = [cpu('llm'), cpu('limited')]
    sayTable('limits, budgets, prices and prefixes over NATS, 64 at once', [
      ['', 'CPU µs a request'],
      ['without', without.toFixed(0)],
      ['with', beside.toFixed(0)],
      ['more', `${(100 * (beside / without - 1)).toFixed(1)} %`],
    ])
  } finally {
    await nc.close()
    for (const child of [...served.map((one) => one.child), upstream]) child.kill('SIGTERM')
    await nats.stop()
  }
}
