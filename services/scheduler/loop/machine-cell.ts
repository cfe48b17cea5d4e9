/** A machine of a route as it runs here: its compiled table, counted and shown to whoever watches. */
import { clearTimers, type Cell, type Heard } from '#machines/compile'
import type { Inspection, Subject } from '#machines/inspection'
import type { After } from '#machines/run'

/** A machine that runs. */
export interface Machine<Snapshot, Event> {
  send(event: Event): void
  get(): Snapshot
  /** How often each edge of its chart was taken. */
  readonly counts: readonly number[]
  stop(): void
}

export function cellOf<S extends string, C extends object, Event, Input>(
  table: Subject['table'] & {
    readonly edges: readonly string[]
    start(input: Input, after: After): Cell<C, S>
    send(cell: Cell<C, S>, event: Event, after: After): boolean
  },
  input: Input,
  { name, after, inspection }: { name: string; after: After; inspection: Inspection | null },
): Machine<{ value: S; context: C }, Event> {
  const cell = table.start(input, after)
  const watched = inspection?.watch({ name, table, cell }) ?? null
  const counts = table.edges.map(() => 0)
  cell.heard = heardBy(counts, watched?.heard ?? null)
  // Asked many times for each move: a new one only when the cell has moved.
  let view = { value: cell.state, context: cell.context }
  return {
    send: (event) => void table.send(cell, event, after),
    get() {
      if (view.value !== cell.state || view.context !== cell.context)
        view = { value: cell.state, context: cell.context }
      return view
    },
    counts,
    stop() {
      clearTimers(cell)
      watched?.end()
    },
  }
}

const heardBy =
  (counts: number[], watching: Heard | null): Heard =>
  (event, edge) => {
    if (edge !== null) counts[edge]!++
    watching?.(event, edge)
  }
