/** The record of a fleet inside one process: for tests and the simulator, as a key-value bucket would keep it. */
import type { FleetStore } from '#ports'

export function memoryFleetStore(): FleetStore & { clear(): void } {
  let kept: { text: string; revision: number } | null = null
  let revision = 0
  const watchers = new Set<(found: { text: string; revision: number }) => void>()
  return {
    read: () => Promise.resolve(kept),
    write(text, over) {
      if ((kept?.revision ?? 0) !== over) return Promise.resolve(null)
      kept = { text, revision: ++revision }
      for (const on of watchers) on(kept)
      return Promise.resolve(revision)
    },
    watch(on) {
      watchers.add(on)
      if (kept !== null) on(kept)
      return Promise.resolve()
    },
    close() {
      watchers.clear()
      return Promise.resolve()
    },
    /** The store has lost it. */
    clear() {
      kept = null
    },
  }
}
