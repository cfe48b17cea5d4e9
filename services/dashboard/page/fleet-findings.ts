/** What is wrong with the fleet, in words. Pure. */
import type { Frame } from '#contracts/dashboard'
import type { Finding } from './finding.ts'
import { duration, number, plural, shortened } from './words.ts'

type Fleet = NonNullable<Frame['fleet']>

/** Null: it works alone. Absent from older recordings; those of version 0.1.0 have a list here. */
export const fleetOf = (frame: Frame): Fleet | null => {
  const now = (frame as Partial<Frame>).fleet ?? null
  return now === null || !Array.isArray(now.members) ? null : now
}

/** By what the scheduler says that holds. */
export function fleetFindings(frame: Frame): Finding[] {
  const fleet = fleetOf(frame)
  if (fleet === null) return []
  return frame.conditions.flatMap(({ condition, about, since }) => {
    const say = SAID[condition]
    return say === undefined ? [] : [{ ...say(fleet, about ?? ''), since }]
  })
}

type Condition = Frame['conditions'][number]['condition']

const SAID: Partial<Record<Condition, (fleet: Fleet, about: string) => Omit<Finding, 'since'>>> = {
  fleet_lapsed: ({ usable, trouble }) => ({
    kind: 'fleet_lapsed',
    level: 'bad',
    what: `The lease of this instance has run out${trouble === null ? '' : `: ${shortened(trouble, 80)}`}`,
    whom: 'who calls this instance; the others serve with what is theirs',
    doing:
      usable === 0
        ? 'starting nothing until the record can be written again'
        : `at most ${plural(usable, 'call')} at once, its safe part, for five minutes after the lapse; writing its line again`,
  }),
  fleet_silent({ members, whole }, about) {
    const member = members.find((one) => one.member === about)
    return {
      kind: 'fleet_silent',
      level: 'warn',
      what: `Member ${shortened(about)} is not heard for ${duration(member?.heard_ms ?? null)}`,
      timed: true,
      whom: `everybody: ${number(member?.share ?? 0)} of ${number(whole)} slots are kept for it`,
      doing:
        member?.standing === 'safe'
          ? 'keeping its safe part for it, for five minutes; the rest is divided'
          : 'keeping its share until none of its calls can run any more',
    }
  },
  fleet_config_differs: ({ whole }, about) => ({
    kind: 'fleet_config_differs',
    level: 'warn',
    what: `The configuration of ${shortened(about)} is not that of this instance`,
    whom: 'tenants, who are served differently from one instance to the next',
    doing: `dividing the least of the global limits, ${plural(whole, 'slot')}; all else each applies to its own part`,
  }),
  fleet_superseded: ({ member, name_taken }) => ({
    kind: 'fleet_superseded',
    level: 'warn',
    what: `Another process has the name ${shortened(name_taken ?? '')} of this instance`,
    whom: 'nobody, once both have their shares',
    doing: `going on under the name ${shortened(member)}`,
  }),
}
