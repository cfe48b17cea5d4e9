/** The pure part: which answer a state, a call, a time and some dice give. */
import { describe, expect, test } from 'vitest'
import { decide, type World } from '../../services/simulated-provider/behaviour.ts'
import { diceOf } from '../../services/simulated-provider/chance.ts'
import { createFaultSchedule } from '../../services/simulated-provider/fault-schedule.ts'
import { settle } from '../../services/simulated-provider/options.ts'
import { readOrder, type Order } from '../../services/simulated-provider/order.ts'
import { prose } from '../../services/simulated-provider/prose.ts'
import { createQuota } from '../../services/simulated-provider/quota.ts'
import { body } from './caller.ts'

const order = readOrder(Buffer.from(JSON.stringify(body())), '2023-06-01') as Order

const worldOf = (capacity: number, inFlight: number): World => ({
  settings: settle({}),
  quota: createQuota(),
  faults: createFaultSchedule(),
  capacity,
  limits: new Map(),
  inFlight,
})

const refusals = (capacity: number, inFlight: number, calls: number) => {
  const waits: number[] = []
  for (let ordinal = 0; ordinal < calls; ordinal++) {
    const call = { order, key: 'k', ordinal, requestId: 'req_1' }
    const { answer } = decide(worldOf(capacity, inFlight), call, 0, diceOf(3, ordinal))
    if (answer.status === 529) waits.push(answer.headersAt)
  }
  return waits
}

describe('above the hidden capacity the share of refusals is min(1, 1.5 (1 - c / n))', () => {
  test.each([
    [10, 10, 0],
    [10, 5, 0],
    [Infinity, 1_000, 0],
    [10, 12, 0.25],
    [10, 20, 0.75],
    [10, 30, 1],
    [0, 1, 1],
  ])('capacity %d with %d in flight: %d', (capacity, inFlight, share) => {
    const calls = 1_000
    const waits = refusals(capacity, inFlight, calls)
    // four standard deviations of a share over 1,000 calls, none where it is certain
    const margin = 4 * Math.sqrt((share * (1 - share)) / calls)
    expect(Math.abs(waits.length / calls - share)).toBeLessThanOrEqual(margin)
    expect(waits.every((wait) => wait >= 300 && wait <= 800)).toBe(true)
  })
})

test('what one request draws does not depend on what another drew', () => {
  const lone = diceOf(5, 2)
  const other = diceOf(5, 1)
  other()
  expect(lone()).toBe(diceOf(5, 2)())
  expect(diceOf(5, 1)()).not.toBe(diceOf(5, 2)())
})

test('prose cut at any token joins to the same prose, a word for each token', () => {
  const whole = prose(0, 200)
  for (let cut = 0; cut <= 200; cut++) expect(prose(0, cut) + prose(cut, 200)).toBe(whole)
  expect(whole.split(' ').length - 1).toBe(200)
})
