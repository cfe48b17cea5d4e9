/** Answers that wait a while on purpose, so that an instance that knows better is heard first. All wait
 *  equally long, so one line and one timer serve them; at most `waitingMax`, past it the one that has
 *  waited longest is given at once. */
import type { Clock, Millis } from '#ports'

export interface LateAnswers {
  join(answer: () => void): void
  /** Gives what waits, now. */
  flush(): void
  waiting(): number
}

export function lateAnswers(of: {
  clock: Pick<Clock, 'now' | 'after'>
  delayMs: Millis
  waitingMax: number
  onError?: ((error: unknown) => void) | undefined
}): LateAnswers {
  const { clock, delayMs } = of
  /** One that cannot be given keeps no other one waiting. */
  const give = (answer: () => void) => {
    try {
      answer()
    } catch (error) {
      of.onError?.(error)
    }
  }
  const line = new Set<{ dueAt: Millis; answer: () => void }>()
  let armed = false

  const arm = () => {
    const [first] = line
    if (armed || first === undefined) return
    armed = true
    clock.after(Math.max(0, first.dueAt - clock.now()), () => {
      armed = false
      const now = clock.now()
      for (const entry of line) {
        if (entry.dueAt > now) break
        line.delete(entry)
        give(entry.answer)
      }
      arm()
    })
  }

  return {
    join(answer) {
      if (line.size >= of.waitingMax) {
        const [first] = line
        if (first !== undefined) {
          line.delete(first)
          give(first.answer)
        }
      }
      line.add({ dueAt: clock.now() + delayMs, answer })
      arm()
    },
    flush() {
      for (const entry of line) give(entry.answer)
      line.clear()
    },
    waiting: () => line.size,
  }
}
