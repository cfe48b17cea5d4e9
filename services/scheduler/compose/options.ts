/** What a scheduler is wired from, and where it stands. */
import type { Inspection } from '#machines/inspection'
import type { Loaded } from '#platform/config/load'
import type { Log } from '#platform/log'
import type {
  BudgetStore,
  ProviderBatches,
  Bus,
  Cache,
  Clock,
  Dice,
  FleetStore,
  KeptSettings,
  Provider,
  Recorder,
  UsageStore,
} from '#ports'
import type { JobsKept } from './open-jobs.ts'
import type { GatewayAddress } from './wire-gateway.ts'

/** Where the record of a fleet is, and who we are in it. */
export interface FleetPlace {
  store: FleetStore
  /** Null: the instance's own id. */
  name: string | null
  /** This process, for others on its host; and whether one of theirs has ended for certain. Absent: nobody knows. */
  process?: string
  isGone?: (process: string) => boolean
}

export interface WireOptions {
  bus: Bus
  settings: KeptSettings
  /** Earlier answers, for those who rather have one than none; null or absent: none are kept. */
  cache?: Cache | null
  /** Where durable jobs are kept; null or absent: there are none. */
  jobs?: JobsKept | null
  /** Where instances divide their limits; null or absent: it works alone. */
  fleet?: FleetPlace | null
  /** Where it is kept what tenants have used of their budgets; null or absent: in this process. */
  budgets?: BudgetStore | null
  /** The provider's own batches, for jobs that can wait; null or absent: none is made. */
  batches?: ProviderBatches | null
  /** Where rows of usage are kept; null or absent: in this process. */
  usage?: UsageStore | null
  provider: Provider
  loaded: Loaded
  /** Null: no file to watch. */
  configPath: string | null
  clock: Clock
  dice: Dice
  log: Log
  http: {
    host: string
    port: number
    adminToken: string | null
    tls?: { cert: string; key: string } | null
  } | null
  /** The HTTP door in this process; null or absent: none. */
  gateway?: GatewayAddress | null
  /** Where the machines are offered to Stately's inspector, on loopback; null or absent: nowhere. */
  inspectPort?: number | null
  /** Who watches the machines in this process, instead of an inspector. */
  inspection?: Inspection
  /** Hears every event, after everybody else. */
  observer?: Recorder
  version: string
  /** The environment's word on upstreams: keys by variable, and another address for the first one. */
  env: (name: string) => string | undefined
  /** The longest time since it was last asked in which no timer could run; absent: nobody measures. */
  loopDelay?: { longestMs(): number; close(): void }
  /** A broken law of the core: everybody who waits should be told (`abandon`), and the process end. */
  onBug: (error: unknown) => void
}

/** What its parts tell one another while it runs. */
export interface Standing {
  /** Each new request is told `draining`. */
  draining: boolean
  /** From the moment that a stop is asked for: no peer should count on us. */
  leaving: boolean
  /** The file that changed last is refused. */
  configRefused: boolean
}
