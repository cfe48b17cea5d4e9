/** Which of the others live, and what is told of that: who joined, died and left. */
import type { SeenMember } from './observed.ts'
import type { FleetRecord } from './record.ts'
import type { MembershipNews } from './view.ts'

export class Living {
  #alive: ReadonlySet<string> = new Set()

  review({ members }: FleetRecord, others: readonly SeenMember[]): MembershipNews[] {
    const before = this.#alive
    const now = new Set(
      others.filter(({ standing }) => standing === 'alive').map(({ name }) => name),
    )
    this.#alive = now
    const known = others.map(({ name }) => name)
    const gone = [...before].filter((name) => members[name] === undefined)
    return [
      ...told(
        'dead',
        known.filter((name) => before.has(name) && !now.has(name)),
      ),
      ...told(
        'joined',
        [...now].filter((name) => !before.has(name)),
      ),
      ...told('left', gone),
    ]
  }
}

const told = (kind: 'dead' | 'joined' | 'left', members: readonly string[]): MembershipNews[] =>
  members.map((member) => ({ kind, member }))
