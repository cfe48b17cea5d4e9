/** What a listener heard, to be awaited: a signal instead of a sleep. */
export interface Heard<T> {
  readonly all: readonly T[]
  add(item: T): void
  /** Resolves with the first `count` items once there are so many. */
  take(count: number): Promise<readonly T[]>
  /** Resolves with the first item that fits. */
  find(fits: (item: T) => boolean): Promise<T>
}

export function heard<T>(): Heard<T> {
  const all: T[] = []
  const waiting = new Set<() => void>()
  const until = <R>(look: () => R | null) =>
    new Promise<R>((resolve) => {
      const check = () => {
        const found = look()
        if (found === null) return
        waiting.delete(check)
        resolve(found)
      }
      waiting.add(check)
      check()
    })
  return {
    all,
    add(item) {
      all.push(item)
      for (const check of [...waiting]) check()
    },
    take: (count) => until(() => (all.length >= count ? all.slice(0, count) : null)),
    async find(fits) {
      const { item } = await until(() => {
        const at = all.findIndex(fits)
        return at === -1 ? null : { item: all[at] as T }
      })
      return item
    },
  }
}
