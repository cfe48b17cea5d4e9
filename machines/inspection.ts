/** Running cells, for whoever looks: who looks hears of every cell there is first, then of what each of them
 *  hears. While nobody looks nothing is made. Bound: `SUBJECTS_MAX` cells. */
import type { AnyStateMachine } from 'xstate'
import type { Cell } from './compile.ts'

export const SUBJECTS_MAX = 500

/** A cell that is shown. */
export interface Subject {
  readonly name: string
  /** Different for each. */
  readonly session: string
  readonly table: { readonly machine: AnyStateMachine }
  readonly cell: Pick<Cell<object, string>, 'state' | 'context'>
}

export interface Watcher {
  began(subject: Subject): void
  /** After the cell has: the place of the edge that it took, or null. */
  heard(subject: Subject, event: { type: string }, edge: number | null): void
  ended(subject: Subject): void
}

/** What its cell's `heard` is to tell. */
export interface Watched {
  heard(event: { type: string }, edge: number | null): void
  end(): void
}

export interface Inspection {
  /** For a cell that has just started; null: there are too many. */
  watch(of: Omit<Subject, 'session'>): Watched | null
  /** The answer ends it. */
  listen(watcher: Watcher): () => void
}

export function inspection(): Inspection {
  const subjects = new Set<Subject>()
  const watchers = new Set<Watcher>()
  let made = 0
  return {
    watch(of) {
      if (subjects.size >= SUBJECTS_MAX) return null
      const subject = { ...of, session: `cell:${made++}` }
      subjects.add(subject)
      for (const watcher of watchers) watcher.began(subject)
      return {
        heard(event, edge) {
          for (const watcher of watchers) watcher.heard(subject, event, edge)
        },
        end() {
          if (!subjects.delete(subject)) return
          for (const watcher of watchers) watcher.ended(subject)
        },
      }
    },
    listen(watcher) {
      for (const subject of subjects) watcher.began(subject)
      watchers.add(watcher)
      return () => void watchers.delete(watcher)
    },
  }
}
