/** What is written to one reader, as fast as the reader takes it: a small piece at a time, the next one when the
 *  last has left. What waits stays here, so it is counted once, it can be seen to move however large a write
 *  was, and it can be taken back. Frames that come together leave together: a write costs more than a frame. */
import type { FastifyReply } from 'fastify'

type ServerResponse = FastifyReply['raw']

/** What is handed on in one write: Node tells only when all of a write has left. At `stall_ms` of a minute a
 *  reader of 1.1 KB/s is still seen to move. */
export const PIECE_BYTES = 65_536

export class Outlet {
  readonly #to: ServerResponse
  #frames: Buffer[] = []
  /** Of the first frame that has left. */
  #begun = 0
  #waiting = 0
  #accepted = 0
  #soon = false
  #last: (() => void) | null = null
  #breaks = false

  constructor(to: ServerResponse) {
    this.#to = to
    to.on('drain', () => this.#pump())
  }

  /** Bytes that the reader's connection has not taken. */
  get unread(): number {
    return this.#waiting + this.#to.writableLength
  }

  /** Bytes that it has taken. */
  get taken(): number {
    return this.#accepted - this.unread
  }

  /** One whole frame, which is not changed any more; it leaves in a microtask at the earliest. */
  write(frame: Buffer): void {
    if (this.#last !== null || this.#to.destroyed || frame.length === 0) return
    this.#frames.push(frame)
    this.#waiting += frame.length
    this.#accepted += frame.length
    if (this.#soon) return
    this.#soon = true
    queueMicrotask(() => {
      this.#soon = false
      this.#pump()
    })
  }

  /** Nothing more is written; ends the response once all has left, after `last` for what only its end can say. */
  end(last: () => void = () => {}): void {
    this.#last ??= last
    this.#pump()
  }

  /** Nothing more is written; once all has left the connection is closed without the end of the response, so that
   *  nobody takes it for whole. */
  breakOff(): void {
    this.#breaks = true
    this.end()
  }

  /** Takes back the frames that have not begun to leave, says `frame` instead, and ends. False: one frame has
   *  left in part, so nothing can be said any more. */
  cut(frame: Buffer): boolean {
    this.#frames = []
    this.#accepted -= this.#waiting
    this.#waiting = 0
    if (this.#begun > 0) return false
    this.#last = null
    this.write(frame)
    this.end()
    return true
  }

  #pump(): void {
    const to = this.#to
    if (to.destroyed || to.writableEnded) return
    while (this.#frames.length > 0 && !to.writableNeedDrain) {
      const piece = this.#piece()
      this.#waiting -= piece.length
      to.write(piece)
    }
    if (this.#frames.length > 0 || this.#last === null) return
    this.#last()
    if (this.#breaks) to.socket?.destroySoon()
    else to.end()
  }

  /** The next bytes: as many whole frames as fit, or a part of one that does not. */
  #piece(): Buffer {
    const [first] = this.#frames as [Buffer]
    if (first.length - this.#begun > PIECE_BYTES) {
      const from = this.#begun
      this.#begun += PIECE_BYTES
      return first.subarray(from, this.#begun)
    }
    let bytes = first.length - this.#begun
    let count = 1
    for (let next = this.#frames[count]; next !== undefined; next = this.#frames[++count]) {
      if (bytes + next.length > PIECE_BYTES) break
      bytes += next.length
    }
    const whole = this.#frames.splice(0, count)
    whole[0] = first.subarray(this.#begun)
    this.#begun = 0
    return count === 1 ? whole[0] : Buffer.concat(whole, bytes)
  }
}
