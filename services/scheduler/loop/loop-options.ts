/** What the loop is made of. */
import type { Config } from '#contracts/config'
import type { Inspection } from '#machines/inspection'
import type {
  AttemptCall,
  BudgetKeeper,
  Cache,
  Clock,
  Deferrals,
  Dice,
  Meter,
  Provider,
  Recorder,
} from '#ports'
import type { FleetNews } from './fleet-news.ts'

export interface LoopOptions {
  config: Config
  clock: Clock
  dice: Dice
  provider: Provider
  /** Null: nobody listens, and no event is built. */
  recorder: Recorder | null
  /** Where an upstream answers and with which key. */
  upstream: (name: string) => AttemptCall['upstream']
  /** Earlier answers; absent: none are kept. */
  cache?: Cache | null
  /** What becomes of a request as a job; absent, or null: there are no jobs. */
  deferrals?: () => Deferrals | null
  /** Who watches the machines; absent: nobody. */
  inspection?: Inspection | null
  /** A broken law of the core (an invariant, a forbidden move): the process should say so and end. */
  onBug: (error: unknown) => void
  /** What a port threw: one request's trouble, and nobody else's. Absent: `onBug` hears it. */
  onFault?: (error: unknown) => void
  /** Where more of a tenant's budget comes from; absent: from nowhere, and tenants with budgets wait. */
  allowances?: BudgetKeeper
  /** Hears what each attempt used, as it ends; absent: nobody counts it. */
  meter?: Meter
  /** What the rest of a fleet must hear; absent: there is none. */
  tell?: (news: FleetNews) => void
  /** Runs each step; absent: as it is. */
  run?: (step: () => void) => void
}
