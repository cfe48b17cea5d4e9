/** A few requests' cells, for whoever inspects.
 *  Bound: one new a second, `SHOWN_MAX` at once. */
import type { Inspection, Subject } from '#machines/inspection'
import type { Millis } from '#ports'
import type { LiveRequest } from './live.ts'

export const SHOWN_MAX = 16
const EVERY: Millis = 1_000

export class ShownRequests {
  readonly #inspection: Inspection
  #alive = 0
  #nextAt: Millis = 0

  constructor(inspection: Inspection) {
    this.#inspection = inspection
  }

  /** Shows it to its end, unless it is one too many. */
  began({ key, cell }: LiveRequest, table: Subject['table'], at: Millis): void {
    if (at < this.#nextAt || this.#alive >= SHOWN_MAX) return
    const watched = this.#inspection.watch({ name: `request ${key}`, table, cell })
    if (watched === null) return
    this.#nextAt = at + EVERY
    this.#alive++
    cell.heard = (event, edge) => {
      watched.heard(event, edge)
      if (cell.state !== 'settled') return
      this.#alive--
      watched.end()
    }
  }
}
