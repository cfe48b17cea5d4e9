/** Virtual time goes on. */
import { expect, test } from 'vitest'
import { VirtualClock } from '../../services/simulator/virtual-clock.ts'

test('who waits for what is left on a clock with a skew gets there, whatever rounding takes away', () => {
  const clock = new VirtualClock()
  const wake = (ms: number): void => {
    clock.after(ms, () => {})
    clock.next(Infinity)
  }
  wake(528_654.883_814_095_75)
  clock.skewMs = -5_000
  // One step of a number of this size, which is half a step of the instant behind the skew.
  const due = clock.now() + 2 ** -34
  const left = due - clock.now()
  expect(left).toBeGreaterThan(0)
  expect(clock.instant + left).toBe(clock.instant)
  wake(left)
  expect(clock.now()).toBeGreaterThanOrEqual(due)
})
