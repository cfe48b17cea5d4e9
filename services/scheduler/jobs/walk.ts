/** Walks through all that is stored, in its order. Fast, where somebody is to learn of it: at the start, when an
 *  instance died, and where a line runs low; and slowly, again and again, for jobs whose deadline has passed while
 *  they waited, jobs that nobody told us of, and claims and notes that outlived their job. */
import type { Clock, JobStore, Millis, Walked, WalkPage } from '#ports'

/** Places of a page of a fast walk: some ten ms of the server. */
const PAGE = 1_000
const EVERY: Millis = 1_000
/** A slow walk begins no more often than so. */
const ROUND: Millis = 10_000
/** Walks that only read lines on begin no more often than so. */
const LINES_EVERY: Millis = 100
/** A page that could not be read is asked for again. */
const AGAIN: Millis = 5_000

interface WalkOptions {
  store: Pick<JobStore, 'walk'>
  clock: Clock
  perSecond: () => number
  lines: Lines
  /** What a fast walk met; at once. */
  met: (one: Walked) => void
  /** What a slow one met. */
  looked: (found: readonly Walked[]) => Promise<void>
  /** A slow one came to its end. */
  round: () => void
  onError: (error: unknown) => void
}

/** Those that a fast walk reads for. */
interface Lines {
  reading(from: number): void
  asks(): void
  read(to: number, all: boolean): void
  /** Null: none of them wants any. */
  readFrom(): number | null
  readonly hungry: boolean
}

export class Walk {
  readonly #of: WalkOptions
  /** All is to be met anew. */
  #all = false
  #running = false
  #slow = 0
  #roundAt: Millis = -Infinity
  #cancel = (): void => {}
  #stopped = false

  constructor(options: WalkOptions) {
    this.#of = options
  }

  /** Everything is met, as fast as it can be read; then the slow walks begin. */
  start(): void {
    this.all()
    this.#next()
  }

  /** Everything is met once more. */
  all(): void {
    this.#all = true
    void this.#run()
  }

  /** A line runs low. */
  low(): void {
    void this.#run()
  }

  stop(): void {
    this.#stopped = true
    this.#cancel()
  }

  async #run(): Promise<void> {
    if (this.#running) return
    this.#running = true
    for (let from = this.#from(); from !== null && !this.#stopped; from = this.#from()) {
      await this.#fast(from)
      if (!this.#all) await this.#wait(LINES_EVERY)
    }
    this.#running = false
  }

  #wait(ms: Millis): Promise<void> {
    return new Promise((resolve) => void this.#of.clock.after(ms, resolve))
  }

  #from(): number | null {
    return this.#all ? 0 : this.#of.lines.readFrom()
  }

  async #fast(from: number): Promise<void> {
    const { lines, met } = this.#of
    const all = this.#all
    this.#all = false
    lines.reading(from)
    let to = from
    let more = true
    while (more && !this.#stopped && (all || lines.hungry) && !this.#again(all)) {
      lines.asks()
      const page = await this.#page(to)
      if (page === null) continue
      for (const one of page.found) {
        met(one)
        to = placeOf(one) + 1
      }
      to = page.next ?? to
      more = page.next !== null
    }
    if (!this.#stopped) lines.read(to, !more)
  }

  /** One that reads lines only ends where all is to be met. */
  #again(all: boolean): boolean {
    return this.#all && !all
  }

  async #page(from: number): Promise<WalkPage | null> {
    const { store, onError } = this.#of
    try {
      return await store.walk(from, PAGE)
    } catch (error) {
      onError(error)
      await this.#wait(AGAIN)
      return null
    }
  }

  // ---- slowly ----

  #next(): void {
    if (!this.#stopped) this.#cancel = this.#of.clock.after(EVERY, () => void this.#look())
  }

  async #look(): Promise<void> {
    try {
      await this.#some()
    } catch (error) {
      this.#of.onError(error)
    } finally {
      this.#next()
    }
  }

  async #some(): Promise<void> {
    const { store, clock, perSecond, looked, round } = this.#of
    if (this.#slow === 0) {
      if (clock.now() - this.#roundAt < ROUND) return
      this.#roundAt = clock.now()
    }
    const { found, next } = await store.walk(this.#slow, perSecond(), { deadlines: true })
    this.#slow = next ?? 0
    await looked(found)
    if (next === null) round()
  }
}

const placeOf = (one: Walked): number => {
  return one.kind === 'claim' ? one.revision : one.seq
}
