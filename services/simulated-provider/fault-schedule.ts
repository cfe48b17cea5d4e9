/** The faults in force. Faults of one answer combine only where they modify it; of those that replace
 *  or cut it, the one set first wins. */
import type { Millis } from '#contracts/units'
import type { Dice } from './chance.ts'
import { faultRow, type FaultPath, type FaultRow, type FaultSpec } from './faults.ts'
import { modelClass } from './models.ts'
import type { Limits } from './options.ts'

/** A fault that hits a request. */
export interface Hit {
  spec: FaultSpec
  row: FaultRow
}

export interface Hits {
  /** What replaces or cuts the answer. */
  main: Hit | null
  modifiers: readonly Hit[]
}

/** A request as faults see it. */
export interface Target {
  path: FaultPath
  model: string | null
  stream: boolean
}

export interface FaultSchedule {
  add(spec: FaultSpec, now: Millis): void
  clear(): void
  /** What is in force, with what is left of it. */
  list(now: Millis): FaultSpec[]
  /** The faults that hit a request; each hit uses one of a fault's `times`. */
  strike(target: Target, now: Millis, dice: Dice): Hits
  /** The hidden capacity in force, if a fault sets one. */
  capacity(target: Target, now: Millis): number | null
  /** The limits in force, if a fault sets some. */
  limits(target: Target, now: Millis): Limits | null
}

/** More faults than this at once are a mistake in a script. */
export const FAULTS_MAX = 1_000

const NO_HITS: Hits = { main: null, modifiers: [] }

export function createFaultSchedule(): FaultSchedule {
  let active: { spec: FaultSpec; row: FaultRow; until: Millis; left: number }[] = []

  const current = (now: Millis) => {
    if (active.some((fault) => fault.until <= now || fault.left <= 0)) {
      active = active.filter((fault) => fault.until > now && fault.left > 0)
    }
    return active
  }

  return {
    add(spec, now) {
      if (current(now).length >= FAULTS_MAX) {
        throw new RangeError(
          `faults: at most ${FAULTS_MAX} at once; DELETE /_sim/faults clears them`,
        )
      }
      const until = now + (spec.forMs ?? Infinity)
      active.push({ spec, row: faultRow(spec.kind), until, left: spec.times ?? Infinity })
    },
    clear() {
      active = []
    },
    list: (now) =>
      current(now).map(({ spec, until, left }) => ({
        ...spec,
        ...(spec.forMs === undefined ? {} : { forMs: until - now }),
        ...(spec.times === undefined ? {} : { times: left }),
      })),
    strike(target, now, dice) {
      if (active.length === 0) return NO_HITS
      let main: Hit | null = null
      const modifiers: Hit[] = []
      for (const fault of current(now)) {
        const { spec, row } = fault
        const modifies = row.shape.does === 'modify'
        if (row.shape.does === 'condition' || (!modifies && main !== null)) continue
        if (!fits(fault, target)) continue
        if (spec.probability !== undefined && dice() >= spec.probability) continue
        fault.left--
        if (modifies) modifiers.push({ spec, row })
        else main = { spec, row }
      }
      return { main, modifiers }
    },
    capacity(target, now) {
      if (active.length === 0) return null
      const fault = current(now).find((f) => f.spec.kind === 'overloaded' && fits(f, target))
      return fault === undefined ? null : (fault.spec.capacity ?? OVERLOADED_CAPACITY)
    },
    limits(target, now) {
      if (active.length === 0) return null
      const fault = current(now).find((f) => f.spec.kind === 'quota_drop' && fits(f, target))
      if (fault === undefined) return null
      const { rpm, itpm, otpm } = fault.spec
      return {
        ...(rpm === undefined ? {} : { rpm }),
        ...(itpm === undefined ? {} : { itpm }),
        ...(otpm === undefined ? {} : { otpm }),
      }
    },
  }
}

const OVERLOADED_CAPACITY = 8

function fits({ spec, row }: Hit, target: Target): boolean {
  const path = spec.path ?? 'messages'
  if (path !== 'any' && path !== target.path) return false
  if (row.hits !== 'both' && (row.hits === 'stream') !== target.stream) return false
  if (spec.model === undefined || spec.model === target.model) return true
  return target.model !== null && spec.model === modelClass(target.model)
}
