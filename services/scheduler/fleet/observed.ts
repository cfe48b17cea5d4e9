/** Who of the members lives, as this instance saw their writes on its own clock. Wall clocks are never compared. */
import type { Millis } from '#contracts/units'
import { safeRoute } from '#core/laws/route-shares'
import { heldBy, safePart, standingOf, type Holder, type Standing } from '#core/laws/shares'
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
  #last: FleetRecord | null = null
  /** The record before this one named them; this one was made anew and does not. */
  readonly #missing = new Map<string, FleetLine>()

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
    this.#miss(record)
    for (const name of this.#heard.keys())
      if (record.members[name] === undefined && !this.#missing.has(name)) this.#heard.delete(name)
  }

  #miss(record: FleetRecord): void {
    if (this.#last !== null && this.#last.id !== record.id)
      for (const [name, line] of Object.entries(this.#last.members)) this.#missing.set(name, line)
    for (const name of Object.keys(record.members)) this.#missing.delete(name)
    if (record.settled) this.#missing.clear()
    this.#last = record
  }

  /** A record that was made anew, before more of it is given away: who was in the one before it and has not come back
   *  may still use its safe part. There is never less left than that, since the others have only what they had. */
  withMissing(record: FleetRecord, own: string, whole: number): FleetRecord {
    const members = { ...record.members }
    let left = whole - Object.values(members).reduce((sum, { held }) => sum + held, 0)
    for (const [name, line] of this.#missing) {
      if (name === own) continue
      const held = Math.min(line.held, safePart(whole), Math.max(0, left))
      left -= held
      members[name] = safeLine(line, held)
    }
    return { ...record, members }
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
      members[other.name] = safeLine(other.line, heldBy(holderOf(other), whole))
  }
  return { ...record, members }
}

/** Of a member that may still use its safe part. */
const safeLine = ({ routes, ...line }: FleetLine, held: number): FleetLine => ({
  ...line,
  held,
  ...(routes === undefined
    ? {}
    : {
        routes: Object.fromEntries(
          Object.entries(routes).map(([name, of]) => [name, safeRoute(of)]),
        ),
      }),
})
