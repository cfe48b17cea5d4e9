/** One event of a running machine: its compiled table, an actor of it, and a table that is shown to a listener,
 *  the same random walks for each, in turns. */
import { createActor, type AnyStateMachine } from 'xstate'
import { seededDice } from '#core/estimators/dice'
import { compile, type Cell } from '#machines/compile'
import { inspection } from '#machines/inspection'
import { xstateEvents } from '#machines/xstate-5'
import { walks, type Walk } from '../support/machine-cases.ts'
import { median, quantile, sayTable } from './report.ts'

const ROUNDS = 11
const WALKS = 1_000
const STEPS = 100

type Event = { type: string }
const never = () => () => {}
const still = { setTimeout: () => 0, clearTimeout: () => {} }

/** Starts one, and says how it takes an event. */
type Way = () => (event: Event) => void

/** Walks of events that each take an edge, as far as the chart goes; what is sent follows a table's own
 *  generation and epoch. */
function eventsOf({ machine, input, events }: Walk): Event[][] {
  const table = compile(machine)
  return Array.from({ length: WALKS }, (_, i) => {
    const dice = seededDice(i + 1)
    const pick = (n: number): number => Math.floor(dice.next() * n)
    const cell = table.start(input as never, never) as Cell<object, string>
    const taken: Event[] = []
    for (let at = 0; at < STEPS; at++) {
      const known = events(at * 300 + 1, pick, cell.context as never)
      const event = known[pick(known.length)]!
      if (table.send(cell, event as never, never)) taken.push(event)
    }
    return taken
  })
}

function waysOf(machine: AnyStateMachine, input: unknown): Record<string, Way> {
  const table = compile(machine)
  const begin = () => {
    const cell = table.start(input as never, never) as Cell<object, string>
    return { cell, send: (event: Event) => void table.send(cell, event as never, never) }
  }
  return {
    table: () => begin().send,
    actor() {
      const actor = createActor(machine, { input: input as never, clock: still }).start()
      return (event) => actor.send(event)
    },
    shown() {
      const { cell, send } = begin()
      const shown = inspection()
      cell.heard = shown.watch({ name: 'it', table, cell })!.heard
      xstateEvents(shown, () => {})
      return send
    },
  }
}

/** Nanoseconds of CPU per event, the starts left out. */
function timed(way: Way, all: readonly Event[][]): number {
  const sends = all.map(() => way())
  const before = process.cpuUsage()
  for (const [i, send] of sends.entries()) for (const event of all[i]!) send(event)
  const { user, system } = process.cpuUsage(before)
  return ((user + system) * 1_000) / all.reduce((sum, walk) => sum + walk.length, 0)
}

export function benchMachines(): void {
  const rows = Object.entries(walks).map(([name, walk]) => {
    const all = eventsOf(walk)
    const ways = waysOf(walk.machine, walk.input)
    const rounds: Record<string, number>[] = []
    for (let i = 0; i <= ROUNDS; i++)
      rounds.push(
        Object.fromEntries(Object.entries(ways).map(([way, on]) => [way, timed(on, all)])),
      )
    // The first round warms up.
    const kept = rounds.slice(1)
    const ns = (way: string): string => median(kept.map((round) => round[way]!)).toFixed(0)
    const ratio = (way: string): string => {
      const each = kept.map((round) => round[way]! / round['table']!)
      const [low, high] = [quantile(each, 0.1), quantile(each, 0.9)]
      return `${median(each).toFixed(1)}x (${low.toFixed(1)} to ${high.toFixed(1)})`
    }
    return [name, ns('table'), ns('actor'), ratio('actor'), ns('shown'), ratio('shown')]
  })
  sayTable(`one transition, ns of CPU: median of ${ROUNDS} rounds of ${WALKS} walks`, [
    ['', 'table', 'actor', 'actor / table', 'shown', 'shown / table'],
    ...rows,
  ])
}
