/** The pages that listen. All get the same bytes, made once; one that has not taken the last ones yet misses
 *  these. Bound: `READERS_MAX` readers, one frame waiting for each; one that has something to take and takes
 *  nothing for `PATIENCE` frames, or less than `PACE_MIN` of what came, is let go. */

export const READERS_MAX = 256
export const PATIENCE = 30
/** Of the bytes of all frames while it was behind: one that misses three of four is no reader to keep a place for. */
export const PACE_MIN = 0.25
/** A little longer, since who stands still shows it sooner. */
const PACE_FRAMES = PATIENCE + 2

/** One connected page. */
export interface Reader {
  /** False: what was sent before still waits. */
  ready(): boolean
  /** Bytes sent that it has not taken, as far as that is known; absent: told by `ready` alone. */
  unread?(): number
  send(bytes: Uint8Array): void
  end(): void
}

interface State {
  /** Frames in a row that it was not ready for. */
  missed: number
  /** Bytes. */
  sent: number
  taken: number
  /** Frames in a row at which it had something to take and had taken nothing more. */
  still: number
  /** Since it last had nothing to take: frames, what they have, and what it had taken before. */
  behind: { frames: number; bytes: number; taken: number } | null
}

export class Readers {
  readonly #open = new Map<Reader, State>()
  #skipped = 0

  /** False: there are too many. */
  add(reader: Reader, first: Uint8Array): boolean {
    if (this.#open.size >= READERS_MAX) return false
    this.#open.set(reader, { missed: 0, sent: first.length, still: 0, taken: 0, behind: null })
    reader.send(first)
    return true
  }

  remove(reader: Reader): void {
    this.#open.delete(reader)
  }

  send(bytes: Uint8Array): void {
    for (const [reader, state] of this.#open) {
      const tooSlow = isTooSlow(state, reader.unread?.() ?? 0, bytes.length)
      const ready = reader.ready()
      state.missed = ready ? 0 : state.missed + 1
      if (!ready) this.#skipped++
      const stands = reader.unread === undefined || state.still > 0
      if (tooSlow || (stands && state.missed >= PATIENCE)) {
        this.#open.delete(reader)
        reader.end()
      } else if (ready) {
        state.sent += bytes.length
        reader.send(bytes)
      }
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

/** By what it has really taken, at a frame of so many bytes. */
function isTooSlow(state: State, unread: number, frameBytes: number): boolean {
  const taken = state.sent - unread
  state.still = unread > 0 && taken <= state.taken ? state.still + 1 : 0
  state.taken = taken
  if (unread === 0) state.behind = null
  else {
    state.behind ??= { frames: 0, bytes: 0, taken }
    state.behind.frames += 1
    state.behind.bytes += frameBytes
  }
  const { behind } = state
  if (behind === null || behind.frames < PACE_FRAMES) return state.still >= PATIENCE
  state.behind = null
  return taken - behind.taken < PACE_MIN * behind.bytes
}
