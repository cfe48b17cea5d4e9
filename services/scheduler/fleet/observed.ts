/** Who of the members lives, as this instance saw their writes on its own clock. Wall clocks are never compared. */
import type { Millis } from '#contracts/units'
import { heldBy, standingOf, type Holder, type Standing } from '#core/laws/shares'
import type { FleetLine, FleetRecord } from './record.ts'

export interface SeenMember {
  readonly name: string
  readonly line: FleetLine
  readonly standing: Standing
  readonly silentFor: Millis
}

export class Observed {
  readonly #heard = new Map<string, { incarnation: string; seq: number; at: Millis }>()
  readonly #isGone: (process: string) => boolean
  /** Lives whose process is gone for certain: their calls went with it. */
  #gone = new Set<string>()

  /** `isGone`: whether a process is known to have ended; false where nobody can know. */
  constructor(isGone: (process: string) => boolean = () => false) {
    this.#isGone = isGone
  }

  /** Looks again whose process is there. */
  look(record: FleetRecord): void {
    const gone = Object.values(record.members).filter(
      (line) => line.process !== undefined && this.#isGone(line.process),
    )
    this.#gone = new Set(gone.map(({ incarnation }) => incarnation))
  }

  /** First sight is a change: who was written down long ago is given the time to say something. */
  note(record: FleetRecord, now: Millis): void {
    for (const [name, { incarnation, seq }] of Object.entries(record.members)) {
      const heard = this.#heard.get(name)
      if (heard?.incarnation === incarnation && heard.seq === seq) continue
      this.#heard.set(name, { incarnation, seq, at: now })
    }
    for (const name of this.#heard.keys())
      if (record.members[name] === undefined) this.#heard.delete(name)
  }

  /** The others, by name. */
  others(record: FleetRecord, own: string, now: Millis): SeenMember[] {
    return Object.entries(record.members)
      .filter(([name]) => name !== own)
      .map(([name, line]) => {
        const silentFor = now - (this.#heard.get(name)?.at ?? now)
        const gone = this.#gone.has(line.incarnation)
        const standing = gone ? 'gone' : standingOf(silentFor, line.lease)
        return { name, line, silentFor, standing }
      })
      .toSorted((a, b) => (a.name < b.name ? -1 : 1))
  }
}

/** As the law sees it: who leaves keeps what it holds and is given nothing. */
export const holderOf = ({ name, line, standing }: SeenMember): Holder => ({
  name,
  held: line.held,
  want: line.want,
  standing: line.leaving && standing === 'alive' ? 'silent' : standing,
})

/** The record as it may be written now: who is silent for too long keeps less, then nothing. */
export function swept(
  record: FleetRecord,
  others: readonly SeenMember[],
  whole: number,
): FleetRecord {
  const members = { ...record.members }
  for (const other of others) {
    if (other.standing === 'gone') delete members[other.name]
    else if (other.standing === 'safe')
      members[other.name] = { ...other.line, held: heldBy(holderOf(other), whole) }
  }
  return { ...record, members }
}
