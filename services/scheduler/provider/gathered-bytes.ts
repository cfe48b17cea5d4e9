/** Bytes that come in pieces and are wanted as one. A lone piece is kept as it is; of more, each byte is copied
 *  at most twice, however small the pieces are: a list of one-byte pieces would cost a hundred times its bytes. */

const ROOM_MIN = 4_096

export class GatheredBytes {
  #bytes: Buffer | null = null
  /** True once `#bytes` is room of our own with `length` bytes in use. */
  #own = false
  length = 0

  push(piece: Buffer): void {
    if (piece.length === 0) return
    const end = this.length + piece.length
    if (this.#bytes === null) {
      this.#bytes = piece
    } else {
      if (!this.#own || end > this.#bytes.length) this.#bytes = this.#grown(end)
      piece.copy(this.#bytes, this.length)
    }
    this.length = end
  }

  /** All so far; valid until the next piece. */
  whole(): Buffer {
    return this.#bytes === null ? NONE : this.#bytes.subarray(0, this.length)
  }

  /** All so far, for good; what comes then begins anew. */
  take(): Buffer {
    const taken = this.whole()
    this.#bytes = null
    this.#own = false
    this.length = 0
    return taken
  }

  #grown(size: number): Buffer {
    const room = Buffer.allocUnsafe(Math.max(ROOM_MIN, size, 2 * this.length))
    this.whole().copy(room)
    this.#own = true
    return room
  }
}

const NONE = Buffer.alloc(0)
