/** What each tenant does, at ten thousand of them: counts by events, load by whoever asks for the page.
 *  Bound: `TENANTS_MAX` tenants in two generations: when the young one is full it becomes the old one, and
 *  whoever was not heard of meanwhile is forgotten. So an event costs one look-up, whatever their number. */
import type { TenantPage, TenantRow, TenantsPage, TenantsQuery } from '#contracts/dashboard'
import type { HeadgateEvent } from '#contracts/events'
import type { Outcome } from '#contracts/outcome'
import { Fading } from './decaying-counts.ts'

export const TENANTS_MAX = 40_000
const GENERATION_MAX = TENANTS_MAX / 2

/** What the scheduler holds of a tenant now. */
export interface TenantLoad {
  name: string
  inflight: number
  queued: number
}

interface Tallied {
  settled: number
  refused: number
  http429: number
  tokens: number
  lastAt: number
  /** Time of its attempts, lately. */
  readonly spent: Fading
  readonly outcomes: Map<Outcome, number>
  readonly codes: Map<string, number>
  readonly lanes: Map<string, number>
}

export class Tenants {
  #young = new Map<string, Tallied>()
  #old = new Map<string, Tallied>()
  readonly #spent = new Fading()

  note(event: HeadgateEvent, at: number): void {
    switch (event.name) {
      case 'request.queued':
        this.#of(event.data.tenant).lastAt = event.at
        return
      case 'attempt.ended': {
        const { tenant, duration_ms, status, input_tokens, output_tokens } = event.data
        const one = this.#of(tenant)
        one.spent.add(duration_ms, at)
        this.#spent.add(duration_ms, at)
        if (status === 429) one.http429++
        one.tokens += (input_tokens ?? 0) + (output_tokens ?? 0)
        return
      }
      case 'request.settled': {
        const { tenant, lane, outcome, code } = event.data
        const one = this.#of(tenant)
        one.settled++
        if (outcome === 'refused') one.refused++
        one.lastAt = event.at
        up(one.outcomes, outcome)
        if (code !== null) up(one.codes, code)
        // Refused for its lane, it may name any.
        if (code !== 'unknown_lane') up(one.lanes, lane)
        return
      }
    }
  }

  page(query: TenantsQuery, loads: Iterable<TenantLoad>, at: number): TenantsPage {
    const { search, sort, dir, offset, limit } = query
    const all = this.#rows(loads, at)
    const wanted = search.toLowerCase()
    const rows =
      wanted === '' ? all : all.filter(({ tenant }) => tenant.toLowerCase().includes(wanted))
    const sign = dir === 'asc' ? 1 : -1
    rows.sort((a, b) => sign * compare(a[sort], b[sort]) || compare(a.tenant, b.tenant))
    return {
      total: all.length,
      matching: rows.length,
      offset,
      rows: rows.slice(offset, offset + limit),
    }
  }

  /** Null: not known. */
  one(
    name: string,
    load: TenantLoad | undefined,
    at: number,
  ): Pick<TenantPage, 'row' | 'outcomes' | 'codes' | 'lanes'> | null {
    const tallied = this.#young.get(name) ?? this.#old.get(name)
    if (tallied === undefined && load === undefined) return null
    return {
      row: this.#row(name, tallied, load, at),
      outcomes: Object.fromEntries(tallied?.outcomes ?? []),
      codes: Object.fromEntries(tallied?.codes ?? []),
      lanes: [...(tallied?.lanes ?? [])].map(([lane, settled]) => ({ name: lane, settled })),
    }
  }

  get size(): number {
    return this.#young.size + this.#old.size
  }

  #rows(loads: Iterable<TenantLoad>, at: number): TenantRow[] {
    const rows = new Map<string, TenantRow>()
    for (const load of loads) {
      const tallied = this.#young.get(load.name) ?? this.#old.get(load.name)
      rows.set(load.name, this.#row(load.name, tallied, load, at))
    }
    for (const generation of [this.#young, this.#old])
      for (const [name, tallied] of generation)
        if (!rows.has(name)) rows.set(name, this.#row(name, tallied, undefined, at))
    return [...rows.values()]
  }

  #row(
    name: string,
    tallied: Tallied | undefined,
    load: TenantLoad | undefined,
    at: number,
  ): TenantRow {
    const all = this.#spent.read(at)
    const share = tallied === undefined || all < 1 ? 0 : tallied.spent.read(at) / all
    return {
      tenant: name,
      inflight: load?.inflight ?? 0,
      queued: load?.queued ?? 0,
      share: Math.round(Math.min(1, share) * 10_000) / 10_000,
      settled: tallied?.settled ?? 0,
      refused: tallied?.refused ?? 0,
      http_429: tallied?.http429 ?? 0,
      tokens: tallied?.tokens ?? 0,
      last_at: Math.round(tallied?.lastAt ?? 0),
    }
  }

  #of(name: string): Tallied {
    const young = this.#young.get(name)
    if (young !== undefined) return young
    const old = this.#old.get(name)
    const one = old ?? empty()
    if (old !== undefined) this.#old.delete(name)
    if (this.#young.size >= GENERATION_MAX) {
      this.#old = this.#young
      this.#young = new Map()
    }
    this.#young.set(name, one)
    return one
  }
}

const empty = (): Tallied => ({
  settled: 0,
  refused: 0,
  http429: 0,
  tokens: 0,
  lastAt: 0,
  spent: new Fading(),
  outcomes: new Map(),
  codes: new Map(),
  lanes: new Map(),
})

const up = <K>(counts: Map<K, number>, key: K): void =>
  void counts.set(key, (counts.get(key) ?? 0) + 1)

/** By code units: the same order everywhere, and fast. */
const compare = (a: number | string, b: number | string): number => (a < b ? -1 : a > b ? 1 : 0)
