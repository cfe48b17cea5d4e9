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
  const { whole, members } = first.facts.fleet
  return {
    instances: members.filter(({ from }) => from === 0).length,
    whole,
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
    `at most ${most} calls were in flight together`,
    `${lapses} times a share ran out before it was renewed`,
    ...(away > 0 ? [`${away} calls came while nobody was there`] : []),
  ]
  return [`${instances} instances share ${whole} slots: ${parts.join(', ')}`, ...of.kills.map(killWords)]
}

function killWords(of: FleetFigures['kills'][number]): string {
  const { member, lost, asked_again: again, broken, unanswered, recovered_s: recovered } = of
  const left = lost - again - broken - unanswered
  const parts = [
    ...(lost > 0 ? [`they know within ${seconds(of.noticed_s)}`] : []),
    `${again} are asked again of another instance`,
    `${broken} streams had begun and break`,
    ...(unanswered > 0 ? [`${unanswered} get no answer`] : []),
    ...(left > 0 ? [`${left} wait no longer`] : []),
  ]
  const end =
    recovered === null
      ? 'the fleet did not use as many slots again'
      : `after ${seconds(recovered)} nine tenths of the slots were in use again`
  return (
    `${member} is killed at ${seconds(of.at_s)}, another comes ${seconds(of.for_s)} later: ${lost} calls lose it; ` +
    `${parts.join(', ')}; ${of.cut} attempts of ${seconds(of.thrown_away_s)} in all were cut; ${end}`
  )
}

const seconds = (value: number): string => `${Number(value.toPrecision(4))} s`
