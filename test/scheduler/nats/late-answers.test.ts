import { expect, test } from 'vitest'
import { lateAnswers } from '../../../services/scheduler/nats/late-answers.ts'
import { manualClock } from '../../support/manual-clock.ts'

const line = (waitingMax = 10) => {
  const clock = manualClock()
  const given: number[] = []
  const late = lateAnswers({ clock, delayMs: 250, waitingMax })
  const join = (n: number) => late.join(() => given.push(n))
  return { clock, given, late, join }
}

test('late answers: each is given after the delay, in order, by one timer', () => {
  const { clock, given, late, join } = line()
  join(1)
  clock.advance(100)
  join(2)
  join(3)
  expect(clock.pending()).toBe(1)
  clock.advance(149)
  expect(given).toEqual([])
  clock.advance(1)
  expect(given).toEqual([1])
  clock.advance(100)
  expect(given).toEqual([1, 2, 3])
  expect(late.waiting()).toBe(0)
  expect(clock.pending()).toBe(0)
})

test('late answers: past the bound the one that waited longest is given at once', () => {
  const { given, late, join } = line(2)
  for (const n of [1, 2, 3]) join(n)
  expect(given).toEqual([1])
  expect(late.waiting()).toBe(2)
  late.flush()
  expect(given).toEqual([1, 2, 3])
})
