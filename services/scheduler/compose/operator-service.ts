/** What an operator asks, carried out: the configuration in force, and the switches that outlive a restart
 *  and reach every instance. */
import type { Config } from '#contracts/config'
import type { Subjects } from '#contracts/subjects'
import type { Loaded } from '#platform/config/load'
import type { Log } from '#platform/log'
import type { JobsAsk } from '#contracts/jobs'
import {
  JobStoreError,
  OperatorError,
  type Bus,
  type Clock,
  type Jobs,
  type JobsOperator,
  type KeptSettings,
  type Operator,
} from '#ports'
import type { Loop } from '#scheduler/loop/loop'
import { ConfigInForce, type Applied } from './config-in-force.ts'
import { switches, type Said } from './switches.ts'
import type { BudgetDesk } from '#scheduler/money/budget-desk'
import type { WiredUsage } from './wire-usage.ts'

/** As far as an operator asks about them. */
interface KeptJobs {
  readonly desk: Pick<Jobs, 'status' | 'cancel'>
  readonly operator: JobsOperator
}

/** What is switched, as it is named in the store. */
const EMERGENCY_KEY = 'emergency'
const PAUSED_KEY = 'paused_lanes'

export interface OperatorService {
  readonly operator: Operator
  /** Puts another file in force; the emergency switch stays as it is. What is read at a start only is left as it
   *  was, and told. */
  apply(next: Loaded): Applied
  emergency(): boolean
  /** sha256 in hex of each HTTP key in force, to the tenant that holds it. */
  keys(): ReadonlyMap<string, string>
  /** What was said before this start is in force from its first request on, if the store can tell. */
  open(): Promise<void>
  close(): Promise<void>
}

export function operatorService(of: {
  /** This instance, as its answers name it. */
  instance: string
  loop: Loop
  /** Null: no durable jobs are kept. */
  jobs: KeptJobs | null
  usage: Pick<WiredUsage, 'report'>
  budgets: Pick<BudgetDesk, 'answer'>
  settings: KeptSettings
  bus: Bus
  subjects: Subjects
  clock: Clock
  loaded: Loaded
  log: Log
  /** The environment's word on upstreams. */
  env: (name: string) => string | undefined
  snapshot: () => unknown
  /** Hears of each configuration before it is in force. */
  onConfig: (config: Config) => void
  startDrain: () => void
}): OperatorService {
  const { loop, log } = of
  const config = new ConfigInForce({
    ...of,
    enforce(next) {
      of.onConfig(next)
      loop.configure(next)
    },
  })
  let paused: ReadonlySet<string> = new Set()
  const pauseOnly = (names: ReadonlySet<string>): void => {
    paused = names
    for (const lane of loop.state.lanes) {
      const { name } = lane.config
      if (names.has(name) === lane.paused) continue
      loop.pause(name, names.has(name))
      log.warn(names.has(name) ? 'a lane is paused' : 'a lane runs again', { lane: name })
    }
  }
  const obey = (key: string, value: string): void => {
    if (key === EMERGENCY_KEY) config.switchEmergency(value === 'on')
    if (key === PAUSED_KEY) pauseOnly(new Set(value === '' ? [] : value.split(',')))
  }
  const said = switches({ ...of, keys: [EMERGENCY_KEY, PAUSED_KEY], obey })
  return {
    operator: operatorOf({ ...of, config, said, paused: () => paused }),
    apply: (next) => config.apply(next),
    emergency: () => config.emergency,
    keys: () => config.keys,
    open: () => said.open(),
    close: () => said.close(),
  }
}

/** What is asked, by whatever door. */
function operatorOf(of: {
  instance: string
  loop: Loop
  jobs: KeptJobs | null
  usage: Pick<WiredUsage, 'report'>
  budgets: Pick<BudgetDesk, 'answer'>
  log: Log
  config: ConfigInForce
  said: ReturnType<typeof switches>
  paused: () => ReadonlySet<string>
  snapshot: () => unknown
  startDrain: () => void
}): Operator {
  const { loop, log, config, said, jobs } = of
  return {
    snapshot: of.snapshot,
    config: async (yaml, by) =>
      yaml === null ? config.show(loop.state.config) : config.applyText(yaml, by),
    async emergency(on) {
      const done = await said.say(EMERGENCY_KEY, on ? 'on' : 'off')
      return { emergency: on, ...toldOf(done) }
    },
    async lane({ lane, paused: pause }) {
      if (!loop.state.lanesByName.has(lane)) {
        const names = loop.state.lanes.map((one) => one.config.name).join(', ')
        throw new OperatorError(`no such lane; there are ${names}`)
      }
      const next = new Set(of.paused())
      if (pause) next.add(lane)
      else next.delete(lane)
      const done = await said.say(PAUSED_KEY, [...next].sort().join(','))
      return { lane, paused: pause, ...toldOf(done) }
    },
    async upstream(name) {
      const names = Object.keys(loop.state.config.file.upstreams)
      if (!names.includes(name))
        throw new OperatorError(`upstream: no such upstream; there are ${names.join(', ')}`)
      return { upstream: name, testing: loop.testUpstream(name) }
    },
    async status({ tenant, id }) {
      const here = loop.status(tenant, id)
      if (here !== null) return { ...here, instance: of.instance }
      return (await jobs?.desk.status(tenant, id)) ?? null
    },
    async cancel({ tenant, id }) {
      const done = loop.cancel(tenant, id) ?? (await jobs?.desk.cancel(tenant, id)) ?? null
      if (done === 'elsewhere') return null
      if (done?.cancelled === true) log.info('an operator cancelled a request', { tenant, id })
      return done
    },
    jobs: (ask) => askJobs(ask, of),
    usage: (ask) => of.usage.report(ask),
    budgets: (ask) => of.budgets.answer(ask),
    async drain() {
      of.startDrain()
      return { draining: true, drain_ms: loop.state.config.file.drain_ms }
    },
  }
}

async function askJobs(
  ask: JobsAsk,
  { jobs, log }: { jobs: KeptJobs | null; log: Log },
): Promise<unknown> {
  if (jobs === null)
    throw new OperatorError('no durable jobs are kept here; headgate doctor says why')
  const { operator } = jobs
  try {
    if (ask.act === 'list') return await operator.list(ask)
    const { act, tenant, id } = ask
    const done = await operator[act](tenant, id)
    if (done) log.info(`an operator ${ACTS[act].said}`, { tenant, id })
    return { [ACTS[act].answer]: done }
  } catch (error) {
    if (!(error instanceof JobStoreError)) throw error
    throw new OperatorError(`the store of jobs: ${error.message}`)
  }
}

const ACTS = {
  requeue: { answer: 'requeued', said: 'put a dead job in line again' },
  drop: { answer: 'dropped', said: 'dropped a dead job' },
} as const

const toldOf = ({ durable, reason, obeyedBy }: Said) => ({
  instance: obeyedBy[0],
  obeyed_by: obeyedBy,
  durable,
  ...(reason === null ? {} : { reason }),
})
