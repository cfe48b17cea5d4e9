/** Whose trouble a refusal is (control-laws §2). What the provider refuses to one tenant, one beta or long prompts
 *  alone, while others are answered well, binds those who share it and nobody else, until others meet it too. */
import { CHARS_PER_TOKEN, type Millis, type Tokens } from '#contracts/units'

export const RECENT: Millis = 10_000
/** Good answers without the trait, among the last so many, that prove it to be the cause. */
export const OTHERS = { last: 16, well: 5 }
/** From here on prompts have limits of their own at the provider. */
export const LONG: Tokens = 200_000

/** What a request may have in common with others beside its route: its tenant first; a name of a tenant has no
 *  space, so the others are never taken for one. */
export function traitsOf(asked: {
  tenant: string
  beta?: string | null
  bytes: number
  mediaBytes?: number
}): readonly string[] {
  const beta = asked.beta ?? null
  const long = asked.bytes - (asked.mediaBytes ?? 0) > LONG * CHARS_PER_TOKEN
  if (beta === null && !long) return [asked.tenant]
  return [
    asked.tenant,
    ...(beta === null ? [] : [`beta ${beta}`]),
    ...(long ? ['long prompts'] : []),
  ]
}

interface Seen {
  traits: readonly string[]
  /** When it happened; of a refusal, how long it counts. */
  at: Millis
}

export class Witness {
  /** The last good answers, in a ring. */
  readonly #well: Seen[] = []
  #next = 0
  #refused: Seen[] = []

  answered(traits: readonly string[], at: Millis): void {
    const seen = this.#well[this.#next]
    if (seen === undefined) this.#well.push({ traits, at })
    else {
      seen.traits = traits
      seen.at = at
    }
    this.#next = (this.#next + 1) % OTHERS.last
  }

  /** One more refusal, which holds until then. Gives the trait that all who were lately refused share, while others
   *  are answered well; null: it may be anybody's. */
  refused(traits: readonly string[], now: Millis, until: Millis): string | null {
    this.#refused = this.#refused.filter((one) => one.at > now).slice(1 - OTHERS.last)
    this.#refused.push({ traits, at: Math.max(now + RECENT, until) })
    return traits.find((trait) => this.#isCause(trait, now)) ?? null
  }

  #isCause(trait: string, now: Millis): boolean {
    if (this.#refused.some(({ traits }) => !traits.includes(trait))) return false
    const others = this.#well.filter((one) => now - one.at <= RECENT && !one.traits.includes(trait))
    return others.length >= OTHERS.well
  }
}
