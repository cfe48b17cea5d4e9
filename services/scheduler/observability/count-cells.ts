/** A counter's cells. The library hashes every label on every count; one map key of our own is cheaper, and
 *  the cells are handed over when somebody asks.
 *  Bound: `SERIES_MAX` cells; past it the last label becomes `other`. */
import { OTHER } from './busiest.ts'

/** Two counters this full hold the event loop for some 50 ms per scrape (measured). */
export const SERIES_MAX = 10_000

export interface Labels {
  model?: string
  status?: string
  lane?: string
  tenant?: string
  kind?: string
  reason?: string
  name?: string
  served_by?: string
}

export interface Cell {
  labels: Labels
  value: number
}

export interface CountCells {
  add(a: string, b: string, c: string, d: string, by: number): void
  /** Forgets the series of names that lost their label. */
  sweep(): void
  all(): Iterable<Cell>
}

/** Up to four labels, given in order; those that a counter does not have as empty text. */
export function countCells(of: {
  labels: readonly (keyof Labels)[]
  keeps: (labels: Labels) => boolean
  isStale: () => boolean
}): CountCells {
  const cells = new Map<string, Cell>()
  const sweep = (): void => {
    if (!of.isStale()) return
    for (const [key, cell] of cells) if (!of.keeps(cell.labels)) cells.delete(key)
  }
  const add: CountCells['add'] = (a, b, c, d, by) => {
    const key = `${a}\n${b}\n${c}\n${d}`
    const cell = cells.get(key)
    if (cell !== undefined) {
      cell.value += by
      return
    }
    if (cells.size >= SERIES_MAX) {
      sweep()
      if (cells.size >= SERIES_MAX && d !== OTHER && d !== '') return add(a, b, c, OTHER, by)
    }
    const values = [a, b, c, d]
    const labels = Object.fromEntries(of.labels.map((label, index) => [label, values[index]]))
    cells.set(key, { labels, value: by })
  }
  return { add, sweep, all: () => cells.values() }
}
