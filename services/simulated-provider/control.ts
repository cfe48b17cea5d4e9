/** What can be turned while the provider runs, and what it says of itself. */
import type { Api } from './api.ts'
import type { FaultSpec } from './faults.ts'
import { isServed, modelClass } from './models.ts'
import { limitsProblem, type Limits } from './options.ts'

export interface Stats {
  /** Requests of every endpoint but this one's. */
  requests: number
  /** Messages calls being answered. */
  inFlight: number
  /** Most Messages calls at once. */
  peak: number
  connections: number
  /** Answers by status line; an answer without one is in none. */
  byStatus: Record<string, number>
  /** Hidden concurrency; null for none. */
  capacity: number | null
  faults: FaultSpec[]
}

export interface Control {
  setFault(spec: FaultSpec): void
  /** Throws a RangeError when out of range, as the others do. */
  setCapacity(capacity: number): void
  setLimits(limits: Limits, model?: string): void
  stats(): Stats
}

/** The listener's side of it. */
interface Connections {
  connections(): number
  closeIdle(): void
}

export function createControl(api: Api, at: Connections): Control {
  const { world, counts } = api
  const now = () => world.settings.clock.now()

  const setFault = (spec: FaultSpec): void => {
    world.faults.add(spec, now())
    if (spec.kind === 'idle_close') at.closeIdle()
  }
  const setCapacity = (capacity: number): void => {
    if (!(capacity >= 0))
      throw new RangeError(`capacity: expected a number of at least 0, got ${capacity}`)
    world.capacity = capacity
  }
  const setLimits = (limits: Limits, model?: string): void => {
    const problem = limitsProblem(limits)
    if (problem !== null) throw new RangeError(`limits.${problem}`)
    if (model === undefined) world.limits.clear()
    else if (!isServed(model)) throw new RangeError('limits.model: expected a model named claude-…')
    world.limits.set(model === undefined ? '' : modelClass(model), limits)
  }
  const stats = (): Stats => ({
    requests: counts.requests,
    inFlight: world.inFlight,
    peak: counts.peak,
    connections: at.connections(),
    byStatus: Object.fromEntries(counts.byStatus),
    capacity: Number.isFinite(world.capacity) ? world.capacity : null,
    faults: world.faults.list(now()),
  })

  return { setFault, setCapacity, setLimits, stats }
}
