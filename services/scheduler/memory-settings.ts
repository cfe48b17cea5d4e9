/** Settings that last as long as the process: for `embed`, and for a NATS server without JetStream. */
import type { Settings } from './ports.ts'

/** Settings that say whether they outlive a restart, and why not if not. */
export interface KeptSettings extends Settings {
  readonly durable: boolean
  readonly reason: string | null
  close(): Promise<void>
}

export function memorySettings(reason = 'kept in memory'): KeptSettings {
  const values = new Map<string, string>()
  const watchers: ((key: string, value: string) => void)[] = []
  return {
    durable: false,
    reason,
    get: async (key) => values.get(key) ?? null,
    async put(key, value) {
      values.set(key, value)
      for (const watcher of watchers) watcher(key, value)
    },
    async watch(on) {
      watchers.push(on)
      for (const [key, value] of values) on(key, value)
    },
    close: async () => void watchers.splice(0),
  }
}
