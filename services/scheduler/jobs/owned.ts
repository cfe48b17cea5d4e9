/** The jobs that this instance has, and how they count in their flows. */
import { requestKey } from '#contracts/ids'
import type { Backlog } from './backlog.ts'
import type { Flow } from './flow.ts'
import type { LiveJob } from './live-job.ts'

export class Owned {
  readonly #backlog: Backlog
  /** By tenant and id; null: it is being taken. */
  readonly #jobs = new Map<string, LiveJob | null>()
  readonly #forgotten: (live: LiveJob) => void
  #empty: (() => void) | null = null

  constructor(backlog: Backlog, forgotten: (live: LiveJob) => void) {
    this.#backlog = backlog
    this.#forgotten = forgotten
  }

  get size(): number {
    return this.#jobs.size
  }

  has(key: string): boolean {
    return this.#jobs.has(key)
  }

  /** Null: it is being taken; undefined: it is none of ours. */
  get(key: string): LiveJob | null | undefined {
    return this.#jobs.get(key)
  }

  set(key: string, live: LiveJob | null): void {
    this.#jobs.set(key, live)
  }

  /** It was not taken after all, and counts nowhere yet. */
  delete(key: string): void {
    this.#jobs.delete(key)
  }

  counts(): { waiting: number; calling: number; settling: number } {
    const counts = { waiting: 0, calling: 0, settling: 0 }
    for (const live of this.#jobs.values()) {
      if (live === null || live.state === 'waiting') counts.waiting += 1
      else if (live.state !== 'lost') counts[live.state] += 1
    }
    return counts
  }

  forgetLive(live: LiveJob): void {
    this.forget(requestKey(live.job.tenant, live.job.id), live.flow, live.bytes)
    this.#forgotten(live)
  }

  forget(key: string, flow: Flow, bytes: number): void {
    this.#jobs.delete(key)
    flow.taken -= 1
    this.#backlog.bytes -= bytes
    if (this.#jobs.size === 0) this.#empty?.()
  }

  /** Once, when the last one is forgotten. */
  whenEmpty(then: () => void): void {
    this.#empty = then
  }

  leftQueue(live: LiveJob): void {
    if (!live.queued) return
    live.queued = false
    live.flow.waiting -= 1
    this.#backlog.waiting -= 1
    this.#backlog.roomier()
    this.#backlog.kick(live.flow)
  }

  inQueue(live: LiveJob): void {
    if (live.queued) return
    live.queued = true
    live.flow.waiting += 1
    this.#backlog.waiting += 1
  }
}
