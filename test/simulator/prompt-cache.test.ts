/** Whose prompt the simulated provider reads from its cache, and when. */
import { describe, expect, test } from 'vitest'
import {
  LEAST,
  PromptCache,
  type Cached,
  type Marked,
} from '../../services/simulator/prompt-cache.ts'

const MINUTE = 60_000
const A: Marked = { name: 'a', tokens: 30_000 }

const at = (cache: PromptCache, now: number, marked = A, model = 'claude'): Cached =>
  cache.start(model, marked, { now, answersAt: now + 1_000 })

describe('a prefix', () => {
  test('is written by the first, and read by whoever starts once that one answers', () => {
    const cache = new PromptCache()
    expect(at(cache, 0)).toMatchObject({ written: 30_000, read: 0 })
    expect(at(cache, 999)).toMatchObject({ written: 30_000, read: 0 })
    expect(at(cache, 1_000)).toMatchObject({ written: 0, read: 30_000 })
  })

  test('lives for five minutes, which each read begins again', () => {
    const cache = new PromptCache()
    at(cache, 0)
    const end = 1_000 + 5 * MINUTE
    expect(cache.read('claude', A, end - 1)).toBe(30_000)
    expect(cache.read('claude', A, end)).toBe(0)
    at(cache, end - 1)
    expect(cache.read('claude', A, end + 4 * MINUTE)).toBe(30_000)
    expect(cache.read('claude', A, end + 5 * MINUTE)).toBe(0)
  })

  test('is not kept of a call that ends before it answers; of another that answers it is', () => {
    const cache = new PromptCache()
    const first = at(cache, 0)
    const second = at(cache, 100)
    cache.end(first, 500)
    expect(cache.read('claude', A, 1_050)).toBe(0)
    cache.end(second, 1_100)
    expect(cache.read('claude', A, 1_100)).toBe(30_000)
  })

  test('is of one model, and of one name', () => {
    const cache = new PromptCache()
    at(cache, 0)
    expect(cache.read('other', A, 2_000)).toBe(0)
    expect(cache.read('claude', { ...A, name: 'b' }, 2_000)).toBe(0)
  })

  test('that is shorter than the provider caches is neither written nor read', () => {
    const cache = new PromptCache()
    const short = { name: 'a', tokens: LEAST - 1 }
    for (const now of [0, 2_000]) expect(at(cache, now, short)).toMatchObject(NOTHING)
  })
})

describe('a prompt that grows', () => {
  test('reads what the turn before wrote, and writes the rest', () => {
    const cache = new PromptCache()
    at(cache, 0, { name: 'c', tokens: 5_000 })
    expect(at(cache, 2_000, { name: 'c', tokens: 8_000 })).toMatchObject(OF(3_000, 5_000))
    expect(at(cache, 4_000, { name: 'c', tokens: 9_000 })).toMatchObject(OF(1_000, 8_000))
    // Nothing was ever marked at 4,000, and an entry is read whole or not at all.
    expect(at(cache, 6_000, { name: 'c', tokens: 4_000 })).toMatchObject(OF(4_000, 0))
  })

  test('reads the longest beginning that has a name of its own', () => {
    const cache = new PromptCache()
    at(cache, 0, { name: 'root', tokens: 2_048 })
    at(cache, 0, { name: 'stem', tokens: 4_096 })
    const within = [
      { name: 'stem', tokens: 4_096 },
      { name: 'root', tokens: 2_048 },
    ]
    expect(at(cache, 2_000, { name: 'leaf', tokens: 9_000, within })).toMatchObject(
      OF(4_904, 4_096),
    )
    expect(cache.read('claude', { name: 'leaf', tokens: 9_000, within }, 3_000)).toBe(9_000)
  })
})

test('of more names than it holds the one that was used longest ago is forgotten', () => {
  const cache = new PromptCache()
  const named = (i: number): Marked => ({ name: `n${i}`, tokens: 2_000 })
  for (let i = 0; i < 100_000; i++) at(cache, 0, named(i))
  at(cache, 2_000, named(0))
  at(cache, 2_000, named(100_000))
  expect(cache.read('claude', named(0), 4_000)).toBe(2_000)
  expect(cache.read('claude', named(1), 4_000)).toBe(0)
})

const OF = (written: number, read: number) => ({ written, read })
const NOTHING = OF(0, 0)
