/** The pages that listen. All get the same bytes, made once; one that has not taken the last ones yet misses
 *  these. Bound: `READERS_MAX` readers, one frame waiting for each; one that takes nothing for
 *  `PATIENCE` frames is let go. */

export const READERS_MAX = 256
export const PATIENCE = 30

/** One connected page. */
export interface Reader {
  /** False: what was sent before still waits. */
  ready(): boolean
  send(bytes: Uint8Array): void
  end(): void
}

export class Readers {
  readonly #open = new Map<Reader, { missed: number }>()
  #skipped = 0

  /** False: there are too many. */
  add(reader: Reader, first: Uint8Array): boolean {
    if (this.#open.size >= READERS_MAX) return false
    this.#open.set(reader, { missed: 0 })
    reader.send(first)
    return true
  }

  remove(reader: Reader): void {
    this.#open.delete(reader)
  }

  send(bytes: Uint8Array): void {
    for (const [reader, state] of this.#open) {
      if (reader.ready()) {
        state.missed = 0
        reader.send(bytes)
        continue
      }
      this.#skipped++
      if (++state.missed < PATIENCE) continue
      this.#open.delete(reader)
      reader.end()
    }
  }

  endAll(): void {
    for (const reader of this.#open.keys()) reader.end()
    this.#open.clear()
  }

  get open(): number {
    return this.#open.size
  }

  get skipped(): number {
    return this.#skipped
  }
}
