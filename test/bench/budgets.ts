/** What limits and budgets of each tenant cost in the core, beside the same run without them, in CPU time and memory. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { configFile, resolve } from '#contracts/config'
import { tenantLimits } from '#contracts/tenant-limits'
import { Account } from '#core/model/account'
import { coreRun } from './core.ts'
import { median, sayTable } from './report.ts'

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

export function benchBudgets(): void {
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
