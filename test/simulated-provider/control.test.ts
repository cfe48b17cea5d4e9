/** Turning the provider while it runs: faults, capacity, limits, numbers, ledger. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  startSimulatedProvider,
  type FaultSpec,
} from '../../services/simulated-provider/listener.ts'
import { AT_ONCE, callerOf, heldClock, MODEL, type Caller } from './caller.ts'

const held = heldClock()
let caller: Caller
beforeEach(
  async () => void (caller = await callerOf({ ...AT_ONCE, clock: held.clock, ledgerMax: 5 })),
)
afterEach(() => caller.close())

const statuses = async (count: number, extra: object = {}) => {
  const seen: number[] = []
  for (let i = 0; i < count; i++) seen.push((await caller.post(extra)).status)
  return seen
}
const set = (spec: FaultSpec) => caller.control('POST', '/_sim/faults', spec)

test('a fault hits as many requests as it was told, then no more', async () => {
  await set({ kind: 'storm_529', times: 2 })
  expect(await statuses(3)).toEqual([529, 529, 200])
})

test('a fault ends when its time is over', async () => {
  await set({ kind: 'storm_529', forMs: 1_000 })
  held.advance(999)
  expect(await statuses(1)).toEqual([529])
  held.advance(1)
  expect(await statuses(1)).toEqual([200])
})

test('a fault without an end lasts until it is cleared', async () => {
  await set({ kind: 'storm_529' })
  expect(await statuses(2)).toEqual([529, 529])
  expect(await caller.control('DELETE', '/_sim/faults')).toEqual({
    status: 200,
    value: { faults: [] },
  })
  expect(await statuses(1)).toEqual([200])
})

test('a fault of one model or endpoint leaves the others alone', async () => {
  await set({ kind: 'storm_529', model: 'claude-opus-4-8' })
  await set({ kind: 'internal_500', path: 'count_tokens' })
  expect(await statuses(1)).toEqual([200])
  expect(await statuses(1, { model: 'claude-opus-4-8' })).toEqual([529])
  expect((await caller.post({}, { path: '/v1/messages/count_tokens' })).status).toBe(500)
})

test('a fault with a probability hits about that share', async () => {
  await set({ kind: 'storm_529', probability: 0.3 })
  const hit = (await statuses(200)).filter((status) => status === 529).length
  // 60 expected, standard deviation 6.5; four of them
  expect(hit).toBeGreaterThan(34)
  expect(hit).toBeLessThan(86)
})

test('of faults that exclude each other the first wins, and its use alone is counted', async () => {
  await set({ kind: 'internal_500', times: 1 })
  await set({ kind: 'storm_529', times: 1 })
  expect(await statuses(3)).toEqual([500, 529, 200])
})

describe('a spec that makes no sense is refused, with what, where, and what is allowed', () => {
  test.each<[unknown, RegExp]>([
    [{}, /fault\.kind: expected one of storm_529, .*; got nothing/],
    [{ kind: 'storm' }, /fault\.kind: .*; got "storm"/],
    [{ kind: 'storm_529', times: 0 }, /fault\.times: expected a whole number.* at least 1; got 0/],
    [{ kind: 'storm_529', probability: 2 }, /fault\.probability: .* from 0 to 1; got 2/],
    [{ kind: 'storm_529', capacity: 2 }, /fault\.capacity: not for storm_529; allowed: kind,/],
    [{ kind: 'storm_529', nonsense: 2 }, /fault\.nonsense: not for storm_529/],
    [{ kind: 'stalled_stream', after: -1 }, /fault\.after: /],
    [{ kind: 'status' }, /fault\.status: .*; got nothing/],
    [{ kind: 'status', status: 200 }, /fault\.status: .* from 400 to 599; got 200/],
    [
      { kind: 'error_event_late', errorType: 'x' },
      /fault\.errorType: expected one of invalid_request_error/,
    ],
    [{ kind: 'quota_drop' }, /at least one of rpm, itpm, otpm/],
    [[], /expected a JSON object/],
  ])('%j', async (spec, message) => {
    const said = await caller.control('POST', '/_sim/faults', spec)
    expect(said.status).toBe(400)
    expect((said.value.error as { message: string }).message).toMatch(message)
    expect(await statuses(1)).toEqual([200])
  })

  test('in the process it throws the same words', () => {
    expect(() => caller.provider.fault({ kind: 'quota_drop' })).toThrow(/at least one of rpm/)
  })
})

test('limits and capacity change while it runs, and nonsense changes nothing', async () => {
  expect(await caller.control('POST', '/_sim/limits', { rpm: 1, model: MODEL })).toMatchObject({
    status: 200,
  })
  expect(await statuses(2)).toEqual([200, 429])
  expect(await statuses(1, { model: 'claude-opus-4-8' })).toEqual([200])
  expect(await caller.control('POST', '/_sim/limits', { rpm: -1 })).toMatchObject({ status: 400 })
  expect(await caller.control('POST', '/_sim/limits', {})).toMatchObject({ status: 200 })
  expect(await statuses(2)).toEqual([200, 200])
  expect(await caller.control('POST', '/_sim/capacity', { capacity: 'big' })).toMatchObject({
    status: 400,
  })
  expect(await caller.control('POST', '/_sim/capacity', { capacity: -1 })).toMatchObject({
    status: 400,
  })
  await caller.control('POST', '/_sim/capacity', { capacity: 3 })
  expect(caller.provider.stats().capacity).toBe(3)
})

test('the ledger keeps the latest and counts the dropped; since leaves out what is known', async () => {
  await statuses(7, { metadata: { user_id: 'u' } })
  const { value } = await caller.control('GET', '/_sim/ledger')
  const entries = value.entries as { n: number; user: string; key: string }[]
  expect(entries.map((entry) => entry.n)).toEqual([3, 4, 5, 6, 7])
  expect(value.dropped).toBe(2)
  expect(entries[0]).toMatchObject({
    user: 'u',
    key: expect.stringMatching(/^[0-9a-f]{8}$/) as string,
  })
  const later = await caller.control('GET', '/_sim/ledger?since=6')
  expect((later.value.entries as { n: number }[]).map((entry) => entry.n)).toEqual([7])
  expect(await caller.control('GET', '/_sim/ledger?since=x')).toMatchObject({ status: 400 })
})

test('the numbers count answers by status, and the peak of calls in flight', async () => {
  await set({ kind: 'hang_before_headers', times: 2 })
  const leaving = new AbortController()
  const { signal } = leaving
  const hung = [1, 2].map(() => caller.post({}, { signal }).catch(() => 'gone'))
  await caller.until((stats) => stats.inFlight === 2)
  leaving.abort()
  expect(await Promise.all(hung)).toEqual(['gone', 'gone'])
  await caller.until((stats) => stats.inFlight === 0)
  await set({ kind: 'storm_529', times: 1 })
  await statuses(2)
  const { value } = await caller.control('GET', '/_sim/stats')
  expect(value).toMatchObject({ inFlight: 0, peak: 2, requests: 4, byStatus: { 200: 1, 529: 1 } })
})

test('an unknown control names those that there are', async () => {
  const said = await caller.control('GET', '/_sim/nothing')
  expect(said.status).toBe(404)
  expect((said.value.error as { message: string }).message).toContain('POST /_sim/faults')
})

test('an option that makes no sense stops the start', async () => {
  await expect(startSimulatedProvider({ speed: 0 })).rejects.toThrow(/speed: expected/)
  await expect(startSimulatedProvider({ limits: { rpm: 0 } })).rejects.toThrow(/limits\.rpm/)
})
