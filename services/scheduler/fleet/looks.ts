/** What the other members do just now, asked of them over the bus while somebody looks, and of nobody else: one
 *  question to all, by the operator's own subject (`admin.snapshot`), at most once a second, however many look.
 *  Bound: one question at a time; what is kept of the answers is `HeardMembers`' to bound. */
import { HeardMembers } from '#contracts/heard-members'
import type { Snapshot } from '#contracts/snapshot'
import type { WholeFleet } from '#contracts/whole-fleet'
import type { Bus, Clock, Millis } from '#ports'

/** Between two questions. */
export const ASK_EVERY: Millis = 1_000
/** Who looks waits for the answers so long at most, for those that are expected. */
export const WAIT: Millis = 400
/** A later answer is heard, and seen by who looks next. */
export const LISTEN: Millis = 900

export interface FleetLooksOptions {
  bus: Pick<Bus, 'connected' | 'publish' | 'subscribe'>
  clock: Clock
  /** Where members are asked. */
  subject: string
  /** An address that nobody knows yet, for the answers to one question. */
  inbox: () => string
  /** Of this instance. */
  snapshot: () => Snapshot
}

export class FleetLooks {
  readonly #of: FleetLooksOptions
  readonly #heard = new HeardMembers()
  #told: { at: Millis; whole: Promise<WholeFleet> } | null = null
  /** Nobody listens to the answers of the last question any more. */
  #stop: () => void = () => {}

  constructor(of: FleetLooksOptions) {
    this.#of = of
  }

  /** At most `ASK_EVERY` old, after `WAIT` at most. */
  read(): Promise<WholeFleet> {
    const now = this.#of.clock.now()
    if (this.#told === null || now - this.#told.at >= ASK_EVERY)
      this.#told = { at: now, whole: this.#tell() }
    return this.#told.whole
  }

  close(): void {
    this.#stop()
  }

  async #tell(): Promise<WholeFleet> {
    // Without a connection nobody hears: what was heard grows old, and is shown so.
    if (this.#of.bus.connected()) await this.#ask()
    return this.#heard.whole(this.#of.snapshot(), this.#at())
  }

  /** Resolves when all have answered that should, or after `WAIT`. */
  #ask(): Promise<void> {
    this.#stop()
    const { bus, clock, subject, inbox } = this.#of
    const { promise, resolve } = Promise.withResolvers<void>()
    const missing = new Set(this.#expected())
    if (missing.size === 0) resolve()
    const reply = inbox()
    const answers = bus.subscribe(reply, ({ data }) => {
      const whose = this.#heard.note(jsonOf(data), this.#at())
      if (whose !== null && missing.delete(whose) && missing.size === 0) resolve()
    })
    const stop = (): void => {
      for (const end of ends.splice(0)) end()
    }
    const ends = [
      resolve,
      clock.after(WAIT, resolve),
      clock.after(LISTEN, stop),
      () => void answers.drain(),
    ]
    this.#stop = stop
    bus.publish(subject, '', { reply })
    return promise
  }

  /** Members that should answer soon. */
  *#expected(): Generator<string> {
    for (const { own, standing, instance } of this.#of.snapshot().fleet?.members ?? [])
      if (!own && (standing === 'alive' || standing === 'leaving')) yield instance
  }

  #at(): { now: Millis; wall: Millis } {
    const { clock } = this.#of
    return { now: clock.now(), wall: clock.wall() }
  }
}

/** Null: not JSON. */
function jsonOf(data: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(data))
  } catch {
    return null
  }
}
