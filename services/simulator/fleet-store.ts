/** The record of a fleet as a server in the same network keeps it, in virtual time: it takes what comes in the order in
 *  which it comes, and tells all who listen. What was sent arrives, though its sender dies meanwhile. */
import type { Clock, FleetStore, Millis } from '#ports'
import type { Throw } from './chance.ts'

/** One way to the server, 1 ms to so many. */
const LEG_MOST: Millis = 5

interface Kept {
  text: string
  revision: number
}

export class VirtualFleetStore {
  readonly #clock: Clock
  readonly #dice: Throw
  readonly #written: (text: string) => void
  readonly #watchers = new Set<(found: Kept) => void>()
  #kept: Kept | null = null

  /** `written` hears each text that is taken. */
  constructor(of: { clock: Clock; dice: Throw; written: (text: string) => void }) {
    this.#clock = of.clock
    this.#dice = of.dice
    this.#written = of.written
  }

  leg(): Millis {
    return 1 + Math.floor(LEG_MOST * this.#dice())
  }

  /** For one process: its clock stands when it dies, so that it hears nothing more. */
  for(clock: Clock): FleetStore {
    const act = <T>(does: () => T): Promise<T> =>
      new Promise((resolve) => {
        this.#clock.after(this.leg(), () => {
          const done = does()
          clock.after(this.leg(), () => resolve(done))
        })
      })
    return {
      read: () => act(() => this.#kept),
      write: (text, over) => act(() => this.#write(text, over)),
      watch: (on) => {
        this.#watchers.add((found) => void clock.after(this.leg(), () => on(found)))
        return Promise.resolve()
      },
      close: () => Promise.resolve(),
    }
  }

  #write(text: string, over: number): number | null {
    if ((this.#kept?.revision ?? 0) !== over) return null
    const kept = { text, revision: over + 1 }
    this.#kept = kept
    this.#written(text)
    for (const on of this.#watchers) on(kept)
    return kept.revision
  }
}
