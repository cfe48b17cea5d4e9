/** What is kept free is learned from recent need, and given back within seconds. */
import { describe, expect, test } from 'vitest'
import { RECENT, RecentNeed } from '../../services/scheduler/core/estimators/lending.ts'

/** So many seconds in which the most was so much. */
function had(need: RecentNeed, most: number, seconds: number): void {
  for (let i = 0; i < seconds; i++) {
    need.note(most)
    need.sample(0, 0)
  }
}

describe('recent need', () => {
  test('is what was there from the first moment on', () => {
    const need = new RecentNeed()
    need.note(7)
    need.note(3)
    expect(need.value).toBe(7)
  })

  test('is given back once the last two seconds did without it', () => {
    const need = new RecentNeed()
    had(need, 20, 30)
    had(need, 4, RECENT - 1)
    expect(need.value).toBe(20)
    had(need, 4, 1)
    expect(need.value).toBe(4)
  })

  test('a peak in one of ten seconds or fewer is waited for, not kept for', () => {
    const need = new RecentNeed()
    for (let i = 0; i < 30; i++) had(need, i % 10 === 9 ? 20 : 4, 1)
    expect(need.value).toBe(4)
  })

  test('those who wait need a slot too', () => {
    const need = new RecentNeed()
    need.note(4)
    need.sample(6, 4)
    expect(need.value).toBe(10)
  })
})
