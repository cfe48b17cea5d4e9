/** The guardrails as dials: since when each holds or is broken, and what broke them.
 *  Bound: `BREACHES_MAX` breaches. */
import type { Frame } from '#contracts/dashboard'
import type { Snapshot } from '#contracts/snapshot'

export const BREACHES_MAX = 50

type Dial = Frame['guardrails'][number]
type Breach = Frame['breaches'][number]
type Culprits = { route: string | null; tenant: string | null }

export class Dials {
  readonly #known = new Map<string, { met: boolean; since: number }>()
  #breaches: Breach[] = []
  readonly #startedAt: number
  readonly #culprits: (of: '429' | 'retry') => Culprits

  constructor(of: { startedAt: number; culprits: (of: '429' | 'retry') => Culprits }) {
    this.#startedAt = of.startedAt
    this.#culprits = of.culprits
  }

  /** What a guardrail says, by event or by snapshot. */
  note(of: { name: Dial['name']; met: boolean; value: number; bound: number }, at: number): void {
    const { name, met, value, bound } = of
    const known = this.#known.get(name)
    if ((known?.met ?? true) === met) return
    this.#known.set(name, { met, since: at })
    if (met) {
      const open = this.#breaches.findLast((one) => one.name === name && one.until_at === null)
      if (open !== undefined) open.until_at = at
      return
    }
    const culprits =
      name === 'p95_e2e_ms'
        ? { route: null, tenant: null }
        : this.#culprits(name === 'ratio_429' ? '429' : 'retry')
    this.#breaches.push({ name, value, bound, from_at: at, until_at: null, ...culprits })
    this.#breaches = this.#breaches.slice(-BREACHES_MAX)
  }

  read(now: Snapshot['guardrails'], at: number): Dial[] {
    return now.map((one) => {
      const name = one.name as Dial['name']
      this.note({ ...one, name, value: one.value ?? 0 }, at)
      return { ...one, name, since: this.#known.get(name)?.since ?? this.#startedAt }
    })
  }

  breaches(): readonly Breach[] {
    return this.#breaches
  }
}
