/** What a fleet did, and what the deaths of its instances cost, as figures and in words. */
import { recoveredAfter } from './backlog-figures.ts'
import type { PartRun, Run } from './figures.ts'
import type { FleetFigures } from './job.ts'
import type { FleetFacts } from './policy.ts'

type WithFleet = PartRun & { facts: { fleet: FleetFacts } }

/** Null: no run had one. */
export function fleetFigures({ all }: Run): FleetFigures | null {
  const runs = all.filter((one): one is WithFleet => one.facts.fleet !== null)
  const [first] = runs
  if (first === undefined) return null
  const fleets = runs.map(({ facts }) => facts.fleet)
  const sum = (of: (fleet: FleetFacts) => number): number =>
    fleets.reduce((total, one) => total + of(one), 0)
  const most = (of: (fleet: FleetFacts) => number): number => Math.max(...fleets.map(of))
  const { whole, members, sameName } = first.facts.fleet
  return {
    instances: members.filter(({ from }) => from === 0).length,
    ...{ whole, same_name: sameName },
    most_inflight: most((fleet) => fleet.most),
    most_given: most((fleet) => fleet.given),
    turned_away: sum((fleet) => fleet.turnedAway),
    lapses: sum((fleet) => fleet.members.reduce((total, one) => total + one.lapses, 0)),
    members: members.map((one) => ({
      ...{ member: one.name, from_s: one.from, killed_s: one.until },
      ...{ requests: one.asked, most_inflight: one.most, lapses: one.lapses },
    })),
    kills: runs.flatMap(killsOf),
  }
}

const killsOf = (run: WithFleet): FleetFigures['kills'] =>
  run.facts.fleet.kills.map((kill) => ({
    ...{ at_s: kill.at, for_s: kill.forS, member: kill.member, lost: kill.lost },
    ...{ asked_again: kill.askedAgain, broken: kill.broken, unanswered: kill.unanswered },
    ...{ noticed_s: kill.noticedS, cut: kill.cut, thrown_away_s: kill.thrownAway },
    recovered_s: recoveredAfter(run, kill.at),
  }))

export function fleetWords(of: FleetFigures): string[] {
  const { instances, whole, most_inflight: most, lapses, turned_away: away } = of
  const parts = [
    `at most ${calls(most)} in flight together`,
    `${lapses === 0 ? 'no share' : lapses === 1 ? '1 share' : `${lapses} shares`} ran out before it was renewed`,
    ...(away > 0 ? [`${away} calls came while nobody was there`] : []),
  ]
  return [
    `${instances} instances share ${whole} slots: ${parts.join(', ')}`,
    ...of.kills.map((kill) => killWords(kill, of.same_name)),
  ]
}

function killWords(of: FleetFigures['kills'][number], sameName: boolean): string {
  const { member, lost, asked_again: again, broken, unanswered, recovered_s: recovered } = of
  const left = lost - again - broken - unanswered
  const lots = [
    `${were(again)} asked again of another instance`,
    `${broken === 1 ? '1 was a stream' : `${broken} were streams`} that had begun, and broke`,
    ...(unanswered > 0 ? [`${unanswered} got no answer`] : []),
    ...(left > 0 ? [`${were(left)} given up by their callers`] : []),
  ]
  const parts = [
    `${lost === 1 ? '1 call' : `${lost} calls`} lost it`,
    ...(lost > 0 ? [`their callers knew within ${seconds(of.noticed_s)}`, lots.join(', ')] : []),
    `${seconds(of.thrown_away_s)} of ${of.cut} attempts were thrown away`,
    recovered === null
      ? 'the fleet did not use as many slots again'
      : `after ${seconds(recovered)} nine tenths of the slots were in use again`,
  ]
  return `${member} was killed at ${seconds(of.at_s)}, and another came ${seconds(of.for_s)} later${sameName ? ' under its name' : ''}: ${parts.join('; ')}`
}

const seconds = (value: number): string => `${Number(value.toPrecision(4))} s`

const were = (count: number): string => `${count} ${count === 1 ? 'was' : 'were'}`
const calls = (count: number): string => (count === 1 ? '1 call was' : `${count} calls were`)
