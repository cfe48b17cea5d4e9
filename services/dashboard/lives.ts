/** The lives of requests, as their events told them: those that live, and the last that settled.
 *  Keeps the events themselves, so that an event costs one look-up; spans are made when somebody asks.
 *  Bound: `LIVE_MAX` and `SETTLED_MAX` requests, `EVENTS_MAX` events each. */
import type { Life, SettledRow } from '#contracts/dashboard'
import type { HeadgateEvent } from '#contracts/events'
import { requestKey } from '#contracts/ids'
import { lifeOf } from './life-spans.ts'

export const LIVE_MAX = 10_000
export const SETTLED_MAX = 1_000
export const EVENTS_MAX = 64

export type RequestEvent = Exclude<
  Extract<HeadgateEvent, { data: { id: string } }>,
  { name: 'request.dropped' | `job.${string}` }
>

export interface Kept {
  readonly events: RequestEvent[]
  cut: boolean
  settled: boolean
}

export class Lives {
  readonly #lives = new Map<string, Kept>()
  /** Keys in the order in which they settled, as a ring. */
  readonly #order: { key: string; kept: Kept }[] = []
  #next = 0
  #live = 0

  note(event: RequestEvent): void {
    const { tenant, id } = event.data
    const key = requestKey(tenant, id)
    const known = this.#lives.get(key)
    if (event.name === 'request.settled') {
      // Another request of this id lives on, untouched.
      if (event.data.code === 'duplicate_id') return
      const kept = known === undefined || known.settled ? this.#begin(key, known) : known
      keep(kept, event)
      this.#settle(key, kept)
    } else if (event.name === 'request.queued') keep(this.#begin(key, known), event)
    else if (known !== undefined) keep(known, event)
  }

  life(tenant: string, id: string, now: number): Life | null {
    const kept = this.#lives.get(requestKey(tenant, id))
    return kept === undefined ? null : lifeOf(kept, now)
  }

  /** The last settled ones of a tenant, newest first. */
  settledOf(tenant: string, most: number): SettledRow[] {
    const rows: SettledRow[] = []
    for (let back = 1; back <= this.#order.length && rows.length < most; back++) {
      const place = (this.#next - back + this.#order.length) % this.#order.length
      const row = rowOf(this.#order[place]?.kept, tenant)
      if (row !== null) rows.push(row)
    }
    return rows
  }

  get size(): number {
    return this.#lives.size
  }

  #begin(key: string, known: Kept | undefined): Kept {
    if (known !== undefined && !known.settled) this.#live--
    // At its end again: the oldest are forgotten first.
    this.#lives.delete(key)
    const kept: Kept = { events: [], cut: false, settled: false }
    this.#lives.set(key, kept)
    if (++this.#live > LIVE_MAX) this.#forgetOldest()
    return kept
  }

  #settle(key: string, kept: Kept): void {
    kept.settled = true
    this.#live--
    const place = this.#next % SETTLED_MAX
    const gone = this.#order[place]
    if (gone !== undefined && this.#lives.get(gone.key) === gone.kept) this.#lives.delete(gone.key)
    this.#order[place] = { key, kept }
    this.#next = (place + 1) % SETTLED_MAX
  }

  #forgetOldest(): void {
    for (const [key, kept] of this.#lives) {
      if (kept.settled) continue
      this.#lives.delete(key)
      this.#live--
      return
    }
  }
}

function keep(kept: Kept, event: RequestEvent): void {
  if (kept.events.length >= EVENTS_MAX) {
    // The first says when it arrived.
    kept.events.splice(1, 1)
    kept.cut = true
  }
  kept.events.push(event)
}

function rowOf(kept: Kept | undefined, tenant: string): SettledRow | null {
  if (kept === undefined || kept.events[0]?.data.tenant !== tenant) return null
  const event = kept.events.findLast((one) => one.name === 'request.settled')
  if (event === undefined) return null
  const { lane, id, model, outcome, code, total_ms, attempts } = event.data
  return { tenant, lane, id, model, at: Math.round(event.at), outcome, code, total_ms, attempts }
}
