/** Settings that last as long as the process: for `embed`, and for a NATS server without JetStream. */
import type { KeptSettings } from '#ports'

export function memorySettings(reason = 'kept in memory'): KeptSettings {
  const values = new Map<string, string>()
  const watchers: ((key: string, value: string) => void)[] = []
  return {
    durable: false,
    shared: false,
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
