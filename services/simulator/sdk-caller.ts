/** A caller as the Anthropic SDKs make it: two retries, 0.5 s doubled up to 8 s less up to a quarter by chance,
 *  a `retry-after` obeyed; the call is given up at its deadline. Here it stands before Headgate and asks again
 *  what Headgate refused and told to ask again, as SDKs at its HTTP door do. */
import type { Refusal } from '#contracts/messages'
import type { Millis } from '#contracts/units'
import { seeded, type Throw } from './chance.ts'
import type { SchedulingPolicy } from './policy.ts'
import type { SimRequest } from './sim-request.ts'
import type { VirtualClock } from './virtual-clock.ts'

export const SDK = {
  retries: 2,
  wait: (of: { retries: number; toldMs: Millis | null; dice: Throw }): Millis =>
    of.toldMs ?? Math.min(8_000, 500 * 2 ** of.retries) * (1 - 0.25 * of.dice()),
} as const

/** What the door never lets an SDK ask again: it was tried already. */
const TRIED = 'retries_exhausted'

interface Asker extends SchedulingPolicy {
  withdraw(request: SimRequest): void
}

/** Calls that are over by then are `refused` or `failed` as they were last. */
export function sdkCaller<Inner extends Asker>(
  inner: Inner,
  of: { clock: VirtualClock; seed: number },
): SchedulingPolicy {
  const dice = seeded(of.seed, 'sdk jitter')
  let waiting = 0
  const submit = (request: SimRequest): void => {
    // Whoever stores a job waits for no answer.
    if (request.durable) return inner.submit(request)
    let retries = 0
    /** Takes the next try back; null: none waits. */
    let stop: (() => void) | null = null
    const deadline = request.deadlineMs
    request.asksAgain = ({ code, retryable, retryAfterMs }: Refusal): boolean => {
      if (!retryable || code === TRIED || retries >= SDK.retries) return false
      // The door says whole seconds.
      const toldMs =
        retryAfterMs === null ? null : 1_000 * Math.max(1, Math.ceil(retryAfterMs / 1_000))
      const inMs = Math.round(SDK.wait({ retries, toldMs, dice }))
      retries++
      waiting++
      stop = of.clock.after(inMs, () => {
        stop = null
        waiting--
        inner.submit(request)
      })
      return true
    }
    if (deadline !== null)
      of.clock.after(deadline, () => {
        if (request.answers > 0) return
        request.asksAgain = null
        if (stop === null) return inner.withdraw(request)
        stop()
        waiting--
        request.ended(request.starts > 0 ? 'failed' : 'refused', 'given_up')
      })
    inner.submit(request)
  }
  return {
    submit,
    drain: () => inner.drain(),
    get live() {
      return inner.live + waiting
    },
    limit: () => inner.limit(),
    queued: (lane) => inner.queued(lane),
    check: () => inner.check(),
    atRest: () => inner.atRest(),
    cancel: (everyNth) => inner.cancel(everyNth),
    configure: (config) => inner.configure(config),
    get tenants() {
      return inner.tenants
    },
    facts: inner.facts,
    settled: () => inner.settled?.() ?? null,
  }
}
