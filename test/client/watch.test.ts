/** Which instances are watched how, and how what they lose is spread. */
import { expect, test } from 'vitest'
import { watchCalls, type Said, type WatchedCall } from '../../services/client/watch.ts'
import { manualClock } from '../support/manual-clock.ts'

/** Calls at an instance that answers until it is told to die, beside one that always answers. */
function world() {
  const clock = manualClock()
  const now = () => clock.now() + state.stoodStillMs
  const watch = watchCalls({ system: { now, after: clock.after, random: () => 1 } })
  const state = { alive: true, attempts: 2, stoodStillMs: 0, sayAfterMs: 5, open: 0, openMost: 0 }
  const lost: { withinMs: number; attempts: number }[] = []
  const call = (bytes: number): WatchedCall => ({
    bytes,
    ask({ hear }) {
      state.open += 1
      state.openMost = Math.max(state.openMost, state.open)
      const say = (said: Said) =>
        void clock.after(said.has === 'live' ? state.sayAfterMs : 255, () => hear(said))
      if (state.alive) say({ who: 'mortal', has: 'live', attempts: state.attempts })
      say({ who: 'other', has: 'nothing', attempts: 0 })
      return () => void (state.open -= 1)
    },
    found() {},
    lost: (how) => void lost.push(how),
  })
  return { clock, watch, state, lost, call }
}

test.each([
  ['small ones within a moment', 1_000, 250],
  ['large ones no faster than 32 MB a second', 1_000_000, 3_125],
])('calls of an instance that died are spread: %s', (_how, bytes, withinMs) => {
  const { clock, watch, state, lost, call } = world()
  for (let n = 0; n < 100; n++) watch.begin(call(bytes))
  clock.advance(3_000)
  state.alive = false
  clock.advance(5_000)
  expect(lost.length).toBe(100)
  expect(new Set(lost.map((how) => JSON.stringify(how)))).toEqual(
    new Set([JSON.stringify({ withinMs, attempts: 2 })]),
  )
  expect([state.open, clock.pending()]).toEqual([0, 0])
})

test('so many questions are open at once and no more, however many calls wait', () => {
  const { clock, watch, state, lost, call } = world()
  state.alive = false
  for (let n = 0; n < 2_000; n++) watch.begin(call(1))
  clock.advance(60_000)
  expect([state.openMost, lost.length]).toEqual([256, 2_000])
})

test('the tries that a call has had are those that were said last', () => {
  const { clock, watch, state, lost, call } = world()
  watch.begin(call(1))
  clock.advance(3_000)
  state.attempts = 5
  clock.advance(3_000)
  state.alive = false
  clock.advance(5_000)
  expect(lost).toEqual([{ withinMs: 250, attempts: 5 }])
})

test('whoever stood still itself has not listened, and takes nobody for dead', () => {
  const { clock, watch, state, lost, call } = world()
  watch.begin(call(1))
  clock.advance(3_000)
  state.alive = false
  watch.begin(call(1))
  for (let n = 0; n < 100; n++) {
    clock.advance(100)
    state.stoodStillMs += 100
  }
  expect(lost).toEqual([])
  clock.advance(5_000)
  expect(lost.length).toBe(2)
})

test('what has arrived is read before anybody is judged', () => {
  const { clock, watch, state, lost, call } = world()
  watch.begin(call(1))
  clock.advance(3_000)
  state.sayAfterMs = 1_000
  clock.advance(20_000)
  expect(lost).toEqual([])
})

test('what is heard of a call stands for its instance', () => {
  const { clock, watch, state, lost, call } = world()
  const calls = Array.from({ length: 3 }, () => watch.begin(call(1)))
  clock.advance(3_000)
  state.alive = false
  // One stream of it goes on, though it answers no question.
  for (let n = 0; n < 40; n++) {
    clock.advance(500)
    calls[0]?.heard()
  }
  expect(lost).toEqual([])
  clock.advance(5_000)
  expect(lost.length).toBe(3)
})
