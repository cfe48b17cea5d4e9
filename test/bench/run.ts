/** `npm run bench [core|machines|wire|door|memory|pages|simulate]`: the numbers kept in docs/benchmarks.md; `npm run
 *  bench -- overload` the one that takes a quarter of an hour, `-- streams` and `-- jobs-soak` checks rather
 *  than numbers, `-- fleet-kills` what callers see of instances that die, `-- fleet-chaos` a fleet under faults,
 *  `-- fleet-fairness` and `-- fleet-scale` what more instances give and cost, `-- half-price` a day in virtual time,
 *  `-- batches` what message batches weigh, `-- budgets` what limits and budgets cost, `-- prefix` what siblings of
 *  one prompt cost. */
import { benchBatches } from './batches.ts'
import { benchBudgets } from './budgets.ts'
import { benchCore } from './core.ts'
import { benchDoor } from './door.ts'
import { benchFleetChaos } from './fleet-chaos.ts'
import { benchFleetFairness } from './fleet-fairness.ts'
import { benchFleetKills } from './fleet-kills.ts'
import { benchFleetScale } from './fleet-scale.ts'
import { benchHalfPrice } from './half-price.ts'
import { benchJobsMillion } from './jobs-million.ts'
import { benchJobsSoak } from './jobs-soak.ts'
import { benchMachines } from './machines.ts'
import { benchMemory } from './memory.ts'
import { benchOverload } from './overload.ts'
import { benchPages } from './pages.ts'
import { benchPrefix } from './prefix.ts'
import { benchSimulate } from './simulate.ts'
import { benchStreams } from './streams.ts'
import { benchWire } from './wire-cost.ts'

const [only, ...options] = process.argv.slice(2)
if (only === 'overload') {
  await benchOverload(options)
  process.exit(0)
}
if (only === 'budgets') {
  await benchBudgets()
  process.exit(0)
}
if (only === 'batches') {
  await benchBatches(options)
  process.exit(0)
}
if (only === 'jobs-million') {
  await benchJobsMillion(options)
  process.exit(0)
}
if (only === 'fleet-fairness') {
  await benchFleetFairness(options)
  process.exit(0)
}
if (only === 'fleet-scale') {
  await benchFleetScale(options)
  process.exit(0)
}
if (only === 'half-price') {
  await benchHalfPrice()
  process.exit(0)
}
if (only === 'prefix') {
  await benchPrefix()
  process.exit(0)
}
if (only === 'fleet-chaos') process.exit((await benchFleetChaos(options)) ? 0 : 1)
if (only === 'fleet-kills') process.exit((await benchFleetKills(options)) ? 0 : 1)
if (only === 'jobs-soak') process.exit((await benchJobsSoak(options)) ? 0 : 1)
if (only === 'streams') process.exit((await benchStreams(options)) ? 0 : 1)
const runs = (name: string): boolean => only === undefined || only === name
const among = ['core', 'machines', 'wire', 'door', 'memory', 'pages', 'simulate']
if (only !== undefined && !among.includes(only)) {
  console.error(
    `no bench ${only}; there are ${among.join(', ')}, overload, streams, fleet-kills, fleet-chaos, fleet-fairness, fleet-scale, batches, jobs-soak, half-price, budgets, prefix`,
  )
  process.exit(2)
}
if (runs('core')) await benchCore({ bottleneck: true })
if (runs('machines')) benchMachines()
if (runs('wire')) await benchWire()
if (runs('door')) await benchDoor()
if (runs('pages')) await benchPages()
if (runs('simulate')) await benchSimulate()
if (runs('memory')) await benchMemory({ soak: 200_000 })
process.exit(0)
