/** What `headgate top` remembers between two pictures, bounded: the last minutes of each lane, since when a
 *  guardrail is what it is, and the last transitions. */
import { ceType, eventData } from '#contracts/events'
import type { Snapshot } from '#contracts/snapshot'

/** As many values of a lane as the widest terminal shows. */
const POINTS_MAX = 300
const LANES_MAX = 64
const MOVES_MAX = 30

/** One transition, oldest words first. Moves of one limit in a row are one, with the count. */
export interface Move {
  at: number
  what: 'breaker' | 'limit' | 'guardrail' | 'instance'
  whose: string
  from: string
  to: string
  reason: string
  times: number
}

export interface LanePast {
  queued: (number | null)[]
  inflight: (number | null)[]
}

export interface TopMemory {
  /** A picture, or null where none came in its second. */
  note(snapshot: Snapshot | null, at: number): void
  /** An event as it came over the feed. */
  hear(event: { type: string; time: string; source: string; text(): string }): void
  lane(name: string): LanePast
  /** Newest first. */
  moves(): readonly Move[]
  /** Wall time since when a guardrail is met or missed, as far as we have seen. */
  since(guardrail: string): number | null
}

export function topMemory(): TopMemory {
  const lanes = new Map<string, LanePast>()
  const standing = new Map<string, { met: boolean; since: number }>()
  const moves: Move[] = []
  let instance: string | null = null

  const keep = (move: Move): void => {
    const [last] = moves
    const same = last?.what === 'limit' && move.what === 'limit' && last.whose === move.whose
    if (same && last !== undefined)
      moves[0] = { ...move, from: last.from, times: last.times + move.times }
    else moves.unshift(move)
    moves.length = Math.min(moves.length, MOVES_MAX)
  }
  const follow = (of: Snapshot, at: number): void => {
    if (instance !== null && instance !== of.instance) {
      lanes.clear()
      standing.clear()
      const reason = 'another instance answers'
      keep({ at, what: 'instance', whose: '', from: instance, to: of.instance, reason, times: 1 })
    }
    instance = of.instance
    for (const { name, met } of of.guardrails)
      if (standing.get(name)?.met !== met) standing.set(name, { met, since: at })
  }

  return {
    note(snapshot, at) {
      if (snapshot !== null) follow(snapshot, at)
      const told = snapshot?.lanes.slice(0, LANES_MAX) ?? []
      for (const { name } of told)
        if (!lanes.has(name)) lanes.set(name, { queued: [], inflight: [] })
      for (const [name, past] of lanes) {
        const lane = told.find((one) => one.name === name)
        if (lane === undefined && snapshot !== null) lanes.delete(name)
        push(past.queued, lane?.queued ?? null)
        push(past.inflight, lane?.inflight ?? null)
      }
    },
    hear(event) {
      // Another instance has a picture of its own.
      if (instance !== null && !event.source.endsWith(instance)) return
      const move = moveOf(event)
      if (move !== null) keep(move)
    },
    lane: (name) => lanes.get(name) ?? { queued: [], inflight: [] },
    moves: () => moves,
    since: (guardrail) => standing.get(guardrail)?.since ?? null,
  }
}

function push(to: (number | null)[], value: number | null): void {
  to.push(value)
  if (to.length > POINTS_MAX) to.shift()
}

/** Null: another event, or none that can be read. */
function moveOf(event: { type: string; time: string; text(): string }): Move | null {
  const parsed = Date.parse(event.time)
  const at = Number.isNaN(parsed) ? 0 : parsed
  switch (event.type) {
    case ceType('breaker'): {
      const { data } = eventData.breaker.safeParse(json(event.text()))
      if (data === undefined) return null
      const { route: whose, from, state: to, reason } = data
      return { at, what: 'breaker', whose, from, to, reason, times: 1 }
    }
    case ceType('limit'): {
      const { data } = eventData.limit.safeParse(json(event.text()))
      if (data === undefined) return null
      const { route: whose, from, limit, reason } = data
      return { at, what: 'limit', whose, from: String(from), to: String(limit), reason, times: 1 }
    }
    case ceType('guardrail'): {
      const { data } = eventData.guardrail.safeParse(json(event.text()))
      if (data === undefined) return null
      const reason = `${Number(data.value.toFixed(3))}, bound ${data.bound}`
      const [from, to] = data.met ? ['missed', 'met'] : ['met', 'MISSED']
      return { at, what: 'guardrail', whose: data.name, from, to, reason, times: 1 }
    }
    default:
      return null
  }
}

function json(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return null
  }
}
