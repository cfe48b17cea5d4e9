/** What can be turned while the provider runs, and what it says of itself. */
import type { Api } from './api.ts'
import type { BatchWays } from './batches.ts'
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
  /** How batches go from now on; what is not named stays. */
  setBatches(ways: Partial<BatchWays>): void
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
  const setBatches = (ways: Partial<BatchWays>): void => {
    const problem = waysProblem(ways)
    if (problem !== null) throw new RangeError(problem)
    Object.assign(api.batches.ways, ways)
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

  return { setFault, setCapacity, setLimits, setBatches, stats }
}

const WAYS: Readonly<Record<keyof BatchWays, { allowed: string; most: number }>> = {
  takesMs: { allowed: 'milliseconds of at least 0', most: Infinity },
  cancelMs: { allowed: 'milliseconds of at least 0', most: Infinity },
  expired: { allowed: 'a share from 0 to 1', most: 1 },
  errored: { allowed: 'a share from 0 to 1', most: 1 },
}

function waysProblem(ways: object): string | null {
  for (const [name, value] of Object.entries(ways) as [string, unknown][]) {
    const rule = Object.hasOwn(WAYS, name) ? WAYS[name as keyof BatchWays] : undefined
    if (rule === undefined) return `${name}: unknown; allowed: ${Object.keys(WAYS).join(', ')}`
    if (typeof value !== 'number' || !(value >= 0 && value <= rule.most))
      return `${name}: expected ${rule.allowed}, got ${JSON.stringify(value)}`
  }
  return null
}
