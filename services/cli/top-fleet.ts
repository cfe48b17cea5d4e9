/** The fleet in the picture of `headgate top`: who divides the limits, and who does not keep step. */
import type { FleetNow, Snapshot } from '#contracts/snapshot'
import { duration, number, packed, shown, type Cell, type Paint, type Tone } from './top-text.ts'

/** Nothing where an instance works alone, one line where all keep step. */
export function fleetLines(
  { fleet }: Pick<Snapshot, 'fleet'>,
  at: { width: number; most: number; paint: Paint },
): string[] {
  if (fleet === null || fleet.members.length < 2) return []
  const { members } = fleet
  const cells = [
    said('FLEET', 'strong'),
    said(`${number(members.length)} members divide ${number(fleet.whole)} slots`),
    ...members.slice(0, at.most).map(memberOf),
    ...(members.length > at.most ? [said(`and ${number(members.length - at.most)} more`)] : []),
  ]
  return packed(cells, at.width, at.paint)
}

const said = (text: string, tone?: Tone): Cell => ({ text, width: 0, tone })

function memberOf({
  member,
  own,
  share,
  inflight,
  standing,
  heard_ms,
  config_differs,
}: Member): Cell {
  const name = own ? `${shown(member)} (this)` : shown(member)
  const silent = standing === 'alive' ? '' : `, ${standing} ${duration(heard_ms)}`
  const differs = config_differs ? ', CONFIGURATION DIFFERS' : ''
  const text = `${name} ${number(inflight)} of ${number(share)}${silent}${differs}`
  return said(text, standing === 'alive' && !config_differs ? undefined : 'bad')
}

type Member = FleetNow['members'][number]
