/** Answers that are kept for later, of requests that may be answered from the cache. */
import type { Cache, CachedAnswer, Incoming, Verdict } from '#ports'
import type { KeptParts, LiveRequest } from './live.ts'

export class KeptAnswers {
  readonly #cache: Cache | null

  constructor(cache: Cache | null) {
    this.#cache = cache
  }

  /** Where the events of this answer will be gathered; null: they will not. */
  begin(incoming: Incoming): KeptParts | null {
    return this.#keeps(incoming) && incoming.stream ? { parts: [], bytes: 0 } : null
  }

  /** A copy: an event's bytes are a window on a larger read. */
  keep(live: LiveRequest, data: Uint8Array): void {
    const { kept } = live
    if (kept === null) return
    kept.bytes += data.length
    if (kept.bytes > (this.#cache?.answerBytesMax ?? 0)) live.kept = null
    else kept.parts.push(new Uint8Array(data))
  }

  /** The whole answer has come. */
  store(live: LiveRequest, verdict: Verdict): void {
    if (!this.#keeps(live.incoming)) return
    const parts = live.incoming.stream
      ? live.kept?.parts
      : verdict.body === null
        ? []
        : [verdict.body]
    if (parts === undefined || parts.length === 0) return
    this.#cache?.put(live.incoming, { parts, requestId: verdict.requestId })
  }

  /** Null at once: there is no cache to ask. */
  find(incoming: Incoming): Promise<CachedAnswer | null> | null {
    return this.#cache?.get(incoming) ?? null
  }

  #keeps(incoming: Incoming): boolean {
    return this.#cache !== null && incoming.degrade.includes('cache')
  }
}
