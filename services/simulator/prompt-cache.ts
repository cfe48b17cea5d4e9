/** The prompt cache of the simulated provider: of one account, whoever its tenants are, and by model.
 *
 *  As the Messages API has it: a call that marks a prefix reads the longest beginning of it that is warm, and writes
 *  the rest. What it writes can be read from the moment at which it begins to answer, streamed or not; nothing is kept
 *  of a call that ends before. An entry lives for 5 minutes, which each read begins again. Shorter prefixes than 1,024
 *  tokens are not cached. A call that a fault slows down leaves the cache alone, as it does quotas.
 *  Not modelled: that a read makes the first byte come sooner, entries that live for an hour, and the 20 blocks within
 *  which the API looks for a beginning.
 *  Bound: `NAMES_MAX` names, those used lately, each with `LENGTHS_MAX` lengths. */
import type { Millis, Tokens } from '#contracts/units'

/** The beginning of a prompt under a name: equal names begin alike, as far as the shorter one goes. */
export interface Beginning {
  name: string
  tokens: Tokens
}

/** What a call marks with `cache_control`; at most as long as its input. */
export interface Marked extends Beginning {
  /** Beginnings of it that have names of their own, the longest first; absent: none. */
  within?: readonly Beginning[]
}

/** What one call does with the cache. */
export interface Cached {
  /** Into the cache, and from it. */
  readonly written: Tokens
  readonly read: Tokens
  /** Where it writes; null: nowhere. */
  readonly into: Entry | null
  readonly answersAt: Millis
}

/** Shortest prefix that is cached: that of most models. */
export const LEAST: Tokens = 1_024
const LIFE: Millis = 300_000
const NAMES_MAX = 100_000
const LENGTHS_MAX = 64

interface Found {
  key: string
  tokens: Tokens
  entry: Entry
}

export const NOTHING_CACHED: Cached = { written: 0, read: 0, into: null, answersAt: 0 }

export class PromptCache {
  /** By model and name, in order of use; then by length. */
  readonly #names = new Map<string, Map<Tokens, Entry>>()

  /** Tokens that a call would read now. */
  read(model: string, marked: Marked, now: Millis): Tokens {
    return this.#longest(model, marked, now)?.tokens ?? 0
  }

  /** A call is being served, and will begin to answer then. */
  start(model: string, marked: Marked, of: { now: Millis; answersAt: Millis }): Cached {
    const { now, answersAt } = of
    if (marked.tokens < LEAST) return NOTHING_CACHED
    const found = this.#longest(model, marked, now)
    const read = found?.tokens ?? 0
    if (found !== null) {
      found.entry.readAt(now)
      this.#lengthsOf(found.key)
    }
    if (read === marked.tokens) return { written: 0, read, into: null, answersAt }
    const into = this.#entryOf(model, marked)
    into.write(answersAt, now)
    return { written: marked.tokens - read, read, into, answersAt }
  }

  /** It is over: nothing is kept of what it would have begun to answer later. */
  end({ into, answersAt }: Cached, now: Millis): void {
    if (now < answersAt) into?.withdraw(answersAt)
  }

  #longest(model: string, marked: Marked, now: Millis): Found | null {
    for (const { name, tokens } of [marked, ...(marked.within ?? [])]) {
      const key = keyOf(model, name)
      let best: Found | null = null
      for (const [length, entry] of this.#names.get(key) ?? [])
        if (length <= tokens && length > (best?.tokens ?? 0) && entry.isWarm(now))
          best = { key, tokens: length, entry }
      if (best !== null) return best
    }
    return null
  }

  /** Used now. */
  #lengthsOf(key: string): Map<Tokens, Entry> {
    const lengths = this.#names.get(key) ?? new Map<Tokens, Entry>()
    this.#names.delete(key)
    this.#names.set(key, lengths)
    dropOldest(this.#names, NAMES_MAX)
    return lengths
  }

  #entryOf(model: string, { name, tokens }: Beginning): Entry {
    const lengths = this.#lengthsOf(keyOf(model, name))
    const entry = lengths.get(tokens) ?? new Entry()
    lengths.delete(tokens)
    lengths.set(tokens, entry)
    dropOldest(lengths, LENGTHS_MAX)
    return entry
  }
}

const keyOf = (model: string, name: string): string => `${model} ${name}`

/** Of a map in order of use. */
function dropOldest<Key>(map: Map<Key, unknown>, most: number): void {
  if (map.size <= most) return
  const [oldest] = map.keys()
  if (oldest !== undefined) map.delete(oldest)
}

class Entry {
  #until: Millis = -Infinity
  /** When those who write it begin to answer; as many as are in flight. */
  #writing: Millis[] = []

  isWarm(now: Millis): boolean {
    this.#settle(now)
    return now < this.#until
  }

  readAt(now: Millis): void {
    this.#until = Math.max(this.#until, now + LIFE)
  }

  write(answersAt: Millis, now: Millis): void {
    this.#settle(now)
    this.#writing.push(answersAt)
  }

  withdraw(answersAt: Millis): void {
    const at = this.#writing.indexOf(answersAt)
    if (at >= 0) this.#writing.splice(at, 1)
  }

  #settle(now: Millis): void {
    if (this.#writing.length === 0) return
    for (const at of this.#writing) if (at <= now) this.#until = Math.max(this.#until, at + LIFE)
    this.#writing = this.#writing.filter((at) => at > now)
  }
}
