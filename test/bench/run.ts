/** `npm run bench`: the numbers kept in docs/benchmarks.md; `npm run bench -- <name>` one of them, or one of those that
 *  take long or check rather than measure. */
import { benchBatches } from './batches.ts'
import { benchBeside } from './beside.ts'
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
import { benchLayers } from './layers.ts'
import { benchMachines } from './machines.ts'
import { benchMemory } from './memory.ts'
import { benchOverload } from './overload.ts'
import { benchPages } from './pages.ts'
import { benchPrefix } from './prefix.ts'
import { benchSimulate } from './simulate.ts'
import { benchStreams } from './streams.ts'
import { benchSubmit } from './submit.ts'
import { benchWire } from './wire-cost.ts'

/** False: what it checks is not so. */
type Bench = (options: string[]) => unknown

/** Without a name all of these run, in this order. */
const USUAL: Readonly<Record<string, Bench>> = {
  core: () => benchCore({ bottleneck: true }),
  machines: () => benchMachines(),
  wire: () => benchWire(),
  door: () => benchDoor(),
  pages: () => benchPages(),
  simulate: () => benchSimulate(),
  memory: () => benchMemory({ soak: 200_000 }),
}

const BY_NAME: Readonly<Record<string, Bench>> = {
  // What users get from a provider that has too little: a quarter of an hour.
  overload: benchOverload,
  // Where the CPU of one request goes.
  layers: () => benchLayers(),
  // A thousand streams at once, none lost and none mixed up.
  streams: benchStreams,
  // What callers see of instances that die.
  'fleet-kills': benchFleetKills,
  // A fleet under faults, and what more instances give and cost.
  'fleet-chaos': benchFleetChaos,
  'fleet-fairness': benchFleetFairness,
  'fleet-scale': benchFleetScale,
  // Durable jobs through a hundred deaths; a million of them; beside bare JetStream; beside interactive calls.
  'jobs-soak': benchJobsSoak,
  'jobs-million': benchJobsMillion,
  submit: benchSubmit,
  beside: benchBeside,
  // What message batches weigh, and a day at half price in virtual time.
  batches: benchBatches,
  'half-price': () => benchHalfPrice(),
  // What limits and budgets cost, and what siblings of one prompt do.
  budgets: () => benchBudgets(),
  prefix: () => benchPrefix(),
}

const [only, ...options] = process.argv.slice(2)
const all = { ...USUAL, ...BY_NAME }
const asked = only === undefined ? Object.values(USUAL) : [all[only]]
for (const bench of asked) {
  if (bench === undefined) {
    console.error(`no bench ${only}; there are ${Object.keys(all).join(', ')}`)
    process.exit(2)
  }
  if ((await bench(options)) === false) process.exit(1)
}
process.exit(0)
