/** A caller that asks Headgate again when it is told to, as an SDK at the HTTP door does. */
import { describe, expect, test } from 'vitest'
import { refusal, unattempted, type Refusal } from '#contracts/messages'
import { sdkCaller } from '../../services/simulator/sdk-caller.ts'
import type { SimRequest } from '../../services/simulator/sim-request.ts'
import { VirtualClock } from '../../services/simulator/virtual-clock.ts'
import { PlainPolicy, requestOf } from '../support/simulated.ts'

/** Says what a test wants to the n-th asking; null: nothing yet. */
class Answering extends PlainPolicy {
  readonly asked: number[] = []
  readonly withdrawn: SimRequest[] = []
  readonly #clock: VirtualClock
  readonly #says: (nth: number) => Refusal | 'ok' | null

  constructor(clock: VirtualClock, says: (nth: number) => Refusal | 'ok' | null) {
    super({ send: () => ({ plan: null as never, abort: () => {} }) })
    this.#clock = clock
    this.#says = says
  }

  override start(request: SimRequest): void {
    this.asked.push(this.#clock.instant)
    const said = this.#says(this.asked.length)
    if (said === null) return
    this.live--
    if (said === 'ok') request.answer(new Uint8Array(), unattempted(request.id))
    else request.refuse(said, unattempted(request.id))
  }

  withdraw(request: SimRequest): void {
    this.withdrawn.push(request)
    this.live--
    request.refuse(refusal('cancelled', 'gone'), unattempted(request.id))
  }
}

function run(says: (nth: number) => Refusal | 'ok' | null, deadlineMs: number | null = null) {
  const clock = new VirtualClock()
  const inner = new Answering(clock, says)
  const caller = sdkCaller(inner, { clock, seed: 1 })
  const ends: [how: string, at: number, code: string | null][] = []
  caller.submit(requestOf({ deadlineMs }, (_, how, code) => ends.push([how, clock.instant, code])))
  const live = caller.live
  while (clock.next(100_000));
  return { asked: inner.asked, withdrawn: inner.withdrawn.length, ends, live, left: caller.live }
}

const full = (retryAfterMs: number): Refusal => refusal('queue_full', 'full', { retryAfterMs })

describe('an SDK before Headgate', () => {
  test('asks again twice, after whole seconds as the door says them', () => {
    expect(run(() => full(1_200))).toEqual({
      asked: [0, 2_000, 4_000],
      withdrawn: 0,
      ends: [['refused', 4_000, 'queue_full']],
      live: 1,
      left: 0,
    })
    expect(run(() => full(0)).asked).toEqual([0, 1_000, 2_000])
  })

  test('ends with the first answer', () => {
    expect(run((nth) => (nth === 1 ? full(3_000) : 'ok'))).toMatchObject({
      asked: [0, 3_000],
      ends: [['completed', 3_000, null]],
    })
  })

  test.each(['retries_exhausted', 'invalid_request', 'deadline_exceeded'] as const)(
    '%s is never asked again',
    (code) => {
      expect(run(() => refusal(code, '')).asked).toEqual([0])
    },
  )

  test('takes its call back at the deadline, whether it waits inside or outside', () => {
    expect(run(() => null, 8_000)).toMatchObject({ withdrawn: 1, ends: [['refused', 8_000, 'cancelled']], left: 0 }) // prettier-ignore
    expect(run(() => full(20_000), 8_000)).toMatchObject({ asked: [0], withdrawn: 0, ends: [['refused', 8_000, 'given_up']], left: 0 }) // prettier-ignore
  })
})
