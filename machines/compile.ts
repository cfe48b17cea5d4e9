/** A flat machine as a transition table: the same chart at a hundredth of an actor's cost, and the one way in
 *  which Headgate runs its machines.
 *
 *  Built once, at start, from what `xstate-5` reads of the chart; what cannot be honoured is refused there. A
 *  random walk holds table and actor equal (test/machines). */
import type { AnyStateMachine, EventFromLogic, InputFrom, SnapshotFrom } from 'xstate'
import type { Millis } from '#contracts/units'
import { readChart, type Act, type Edge, type State } from './xstate-5.ts'

type Loose = { type: string } & Record<string, unknown>

/** Hears each event after its cell has: the place in `edges` of the edge it took, or null where it took none. */
export type Heard = (event: { type: string }, edge: number | null) => void

/** One running instance: the state's name, its context, the cancels of its timers, and who hears of it. */
export interface Cell<C, S extends string> {
  state: S
  context: C
  timers: (() => void)[] | null
  heard: Heard | null
}

export interface Table<M extends AnyStateMachine> {
  readonly machine: M
  readonly edges: readonly string[]
  /** How often each edge was taken by all cells so far, by edge id. */
  readonly taken: ReadonlyMap<string, number>
  start(
    input: InputFrom<M>,
    after?: After,
  ): Cell<SnapshotFrom<M>['context'], SnapshotFrom<M>['value'] & string>
  /** False when the chart has no such move from here, or no guard of it holds. What a guard or an action throws is
   *  thrown on, and leaves the cell half moved. */
  send(
    cell: Cell<SnapshotFrom<M>['context'], SnapshotFrom<M>['value'] & string>,
    event: EventFromLogic<M>,
    after?: After,
  ): boolean
}

type After = (ms: Millis, call: () => void) => () => void

export function compile<M extends AnyStateMachine>(machine: M): Table<M> {
  const { states, edges, initial, initialActs, contextOf } = readChart(machine)
  const taken = edges.map(() => 0)

  const send = (cell: LooseCell, event: Loose, after: After | undefined): boolean => {
    const edge = edgeFor(cell, states.get(cell.state)!.row.get(event.type), event)
    if (edge !== null) {
      if (edge.to !== null) clearTimers(cell)
      perform(cell, edge.acts, event)
      taken[edge.place]!++
      if (edge.to !== null) {
        cell.state = edge.to.name
        arm(cell, edge.to, event, after)
      }
    }
    if (cell.heard !== null) cell.heard(event, edge === null ? null : edge.place)
    return edge !== null
  }
  const arm = (cell: LooseCell, state: State, event: Loose, after: After | undefined): void => {
    if (state.timers.length === 0 || after === undefined) return
    cell.timers = state.timers.map(({ event: type, delay }) =>
      after(delay({ context: cell.context, event }), () => send(cell, { type }, after)),
    )
  }
  const start = (input: InputFrom<M>, after?: After): LooseCell => {
    const context = contextOf(input)
    const cell: LooseCell = { state: initial.name, context, timers: null, heard: null }
    const event: Loose = { type: 'xstate.init', input }
    perform(cell, initialActs, event)
    arm(cell, initial, event, after)
    return cell
  }
  const table = {
    machine,
    edges: edges.map(({ id }) => id),
    get taken() {
      return new Map(edges.map(({ id, place }) => [id, taken[place]!]))
    },
    start,
    send,
  }
  return table as unknown as Table<M>
}

type LooseCell = Cell<object, string>

/** The first whose guard holds. */
function edgeFor(
  cell: LooseCell,
  candidates: readonly Edge[] | undefined,
  event: Loose,
): Edge | null {
  if (candidates === undefined) return null
  const args = { context: cell.context, event }
  for (const edge of candidates) if (edge.guard === null || edge.guard(args)) return edge
  return null
}

function perform(cell: LooseCell, acts: readonly Act[], event: Loose): void {
  for (const act of acts) {
    const next = act({ context: cell.context, event })
    if (next !== undefined) cell.context = next
  }
}

/** A cell that is left behind must not be called back. */
export function clearTimers(cell: { timers: (() => void)[] | null }): void {
  if (cell.timers === null) return
  for (const cancel of cell.timers) cancel()
  cell.timers = null
}
