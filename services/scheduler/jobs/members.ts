/** Who of the instances lives. Each writes its own record once a second; who is not heard for `DEAD_AFTER`, on our
 *  own clock, is dead. */
import { z } from 'zod'
import { BEAT, DOUBT_AFTER, isDead, type Owner } from '#core/laws/jobs'
import type { Clock, Millis, Settings } from '#ports'

/** Raised when an older instance could not read what a newer one writes. */
export const RECORD_VERSION = 1

const record = z.object({
  version: z.int(),
  instance: z.string(),
  beat: z.int(),
  left: z.boolean(),
})

const KEY = 'member.'
/** The dead are forgotten after an hour: by then others have their jobs. */
const FORGET_MS: Millis = 3_600_000

export class Members {
  readonly #of: {
    settings: Settings
    clock: Clock
    instance: string
    onDead: (who: string) => void
  }
  readonly #heard = new Map<string, Owner>()
  readonly #buried = new Set<string>()
  #beat = 0
  /** When we last said something that was heard. */
  #heardAt: Millis = -Infinity
  /** When we were heard again after we were not for long. */
  #backAt: Millis = -Infinity
  #stop = (): void => {}
  #closed = false

  constructor(of: {
    settings: Settings
    clock: Clock
    instance: string
    /** Told once of each that died while we were here. */
    onDead: (who: string) => void
  }) {
    this.#of = of
  }

  async open(): Promise<void> {
    await this.#of.settings.watch((key, value) => this.#hear(key, value))
    void this.#say(false)
    this.#next()
  }

  /** One that was never heard is dead when we have listened for long enough. */
  dead(instance: string): boolean {
    const now = this.#of.clock.now()
    const owner = this.#heard.get(instance) ?? { heardAt: now, left: false }
    this.#heard.set(instance, owner)
    return isDead(owner, now)
  }

  /** Whether others may have taken us for dead since then. */
  doubted(since: Millis): boolean {
    return this.#of.clock.now() - this.#heardAt > DOUBT_AFTER || since < this.#backAt
  }

  /** Says that we go: others need not wait. */
  async leave(): Promise<void> {
    this.close()
    await this.#say(true)
  }

  close(): void {
    this.#closed = true
    this.#stop()
  }

  #next(): void {
    if (!this.#closed) this.#stop = this.#of.clock.after(BEAT, () => this.#tick())
  }

  #tick(): void {
    void this.#say(false)
    const now = this.#of.clock.now()
    for (const [who, owner] of this.#heard) {
      if (!isDead(owner, now)) continue
      if (!this.#buried.has(who)) this.#of.onDead(who)
      this.#buried.add(who)
      if (now - owner.heardAt > FORGET_MS) this.#forget(who)
    }
    this.#next()
  }

  #forget(who: string): void {
    this.#heard.delete(who)
    this.#buried.delete(who)
  }

  #hear(key: string, value: string): void {
    if (!key.startsWith(KEY)) return
    const read = record.safeParse(parsed(value))
    if (!read.success || read.data.instance === this.#of.instance) return
    const { instance, left, beat } = read.data
    const before = this.#heard.get(instance) as Heard | undefined
    // What was written before we came says nothing of whether it lives.
    if (before !== undefined && before.beat === beat && before.left === left) return
    this.#heard.set(instance, { heardAt: this.#of.clock.now(), left, beat } as Heard)
    if (left) return
    this.#buried.delete(instance)
  }

  async #say(left: boolean): Promise<void> {
    const { settings, instance } = this.#of
    const said = { version: RECORD_VERSION, instance, beat: this.#beat++, left }
    const saidAt = this.#of.clock.now()
    await settings.put(KEY + instance, JSON.stringify(said)).then(
      () => {
        if (saidAt - this.#heardAt > DOUBT_AFTER) this.#backAt = saidAt
        this.#heardAt = saidAt
      },
      // Unheard, it is taken for dead: a store that is away is everybody's trouble.
      () => {},
    )
  }
}

interface Heard extends Owner {
  beat: number
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
