/** What an operator asks, carried out: the configuration in force, and the switches that outlive a restart
 *  and reach every instance. */
import { resolve, type Config } from '#contracts/config'
import { loadConfig, type Loaded } from './config/load.ts'
import type { Loop } from './loop.ts'
import type { Log } from './observability/log.ts'
import { OperatorError, type KeptSettings, type Operator } from './ports.ts'

/** Keys of `headgate_config`. */
const EMERGENCY_KEY = 'emergency'
const PAUSED_KEY = 'paused_lanes'

export interface OperatorDesk {
  readonly operator: Operator
  /** Puts another file in force; the emergency switch stays as it is. */
  apply(next: Loaded): void
  emergency(): boolean
  /** sha256 in hex of each HTTP key in force, to the tenant that holds it. */
  keys(): ReadonlyMap<string, string>
  /** What was said before this start is in force from its first request on. */
  open(): Promise<void>
}

export function operatorDesk(of: {
  loop: Loop
  settings: KeptSettings
  loaded: Loaded
  log: Log
  snapshot: () => unknown
  /** Hears of each configuration before it is in force. */
  onConfig: (config: Config) => void
  startDrain: () => void
}): OperatorDesk {
  const { loop, settings, log } = of
  let loaded = of.loaded
  let emergency = false
  let paused: ReadonlySet<string> = new Set()

  const apply = (next: Loaded): void => {
    if (next.config.file.subject_prefix !== loaded.config.file.subject_prefix)
      log.warn('subject_prefix changed: it takes effect at the next start')
    if (loaded.keys.size > 0 && next.keys.size === 0)
      log.warn('the configuration has no HTTP key any more: the HTTP door refuses every caller')
    loaded = next
    const { config } = resolve(next.config.file, { emergency })
    of.onConfig(config)
    loop.configure(config)
    for (const warning of next.warnings) log.warn(warning)
  }
  const obey = (key: string, value: string): void => {
    if (key === EMERGENCY_KEY) switchEmergency(value === 'on')
    if (key === PAUSED_KEY) pauseOnly(new Set(value === '' ? [] : value.split(',')))
  }
  const switchEmergency = (on: boolean): void => {
    if (on === emergency) return
    emergency = on
    apply(loaded)
    log.warn(on ? 'the emergency block is on' : 'the emergency block is off')
  }
  const pauseOnly = (names: ReadonlySet<string>): void => {
    paused = names
    for (const lane of loop.state.lanes) {
      const { name } = lane.config
      if (names.has(name) === lane.paused) continue
      loop.pause(name, names.has(name))
      log.warn(names.has(name) ? 'a lane is paused' : 'a lane runs again', { lane: name })
    }
  }
  const say = async (key: string, value: string): Promise<void> => {
    await settings.put(key, value)
    obey(key, value)
  }

  const operator: Operator = {
    snapshot: of.snapshot,
    async config(yaml) {
      if (yaml === null) return configInForce(loop.state.config)
      let next: Loaded
      try {
        next = loadConfig({ path: null, text: yaml, emergency })
      } catch (error) {
        throw new OperatorError(error instanceof Error ? error.message : 'unreadable')
      }
      apply(next)
      return { applied: true, warnings: next.warnings }
    },
    async emergency(on) {
      await say(EMERGENCY_KEY, on ? 'on' : 'off')
      return { emergency: on, durable: settings.durable }
    },
    async lane({ lane, paused: pause }) {
      if (!loop.state.lanesByName.has(lane)) {
        const names = loop.state.lanes.map((one) => one.config.name).join(', ')
        throw new OperatorError(`no such lane; there are ${names}`)
      }
      const next = new Set(paused)
      if (pause) next.add(lane)
      else next.delete(lane)
      await say(PAUSED_KEY, [...next].sort().join(','))
      return { lane, paused: pause, durable: settings.durable }
    },
    async drain() {
      of.startDrain()
      return { draining: true, drain_ms: loop.state.config.file.drain_ms }
    },
  }

  return {
    operator,
    apply,
    emergency: () => emergency,
    keys: () => loaded.keys,
    async open() {
      for (const key of [EMERGENCY_KEY, PAUSED_KEY]) {
        const said = await settings.get(key)
        if (said !== null) obey(key, said)
      }
      await settings.watch(obey)
    },
  }
}

/** The file in force; of the tenants' keys only how many there are. */
function configInForce(config: Config): unknown {
  const tenants = Object.fromEntries(
    Object.entries(config.file.tenants).map(([name, tenant]) => [
      name,
      typeof tenant === 'object' && 'keys' in tenant
        ? { ...tenant, keys: `${tenant.keys.length} hashed` }
        : tenant,
    ]),
  )
  return { emergency: config.emergency, file: { ...config.file, tenants } }
}
