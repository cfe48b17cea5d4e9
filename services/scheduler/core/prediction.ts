/** How long a request will wait before it starts (control-laws §6). Virtual time already holds everybody
 *  else's backlog, so the distance from here to the tenant's turn, over the pace at which virtual time goes,
 *  is the wait: O(1) however many wait. */
import type { Millis, Seconds } from '#contracts/units'
import type { Member } from './fair-queue.ts'
import { bindingCap } from './slots.ts'
import { costOf, RunningMean, type Denominators, type Estimate, type Expected } from './cost.ts'
import type { Cell, Route, State, Tenant } from './state.ts'

/** Weights of the moving averages: of a second's pace, and of its mean over a minute. */
const PACE = { sample: 0.3, minute: 1 / 60, least: 0.1 }

/** The pace of one cell's virtual time, in its units per second, and its usual service. */
export class Pace {
  /** 0: unknown. */
  vdot = 0
  readonly #service = new RunningMean()
  #minute = 0
  #busy = false

  /** Once a second; `moved` is how far virtual time came since. A sample counts when the queue held work
   *  from one end of it to the other. */
  sample(of: { moved: number; seconds: Seconds; busy: boolean }): void {
    const whole = of.busy && this.#busy
    this.#busy = of.busy
    if (!whole || of.seconds <= 0) return
    const pace = of.moved / of.seconds
    this.vdot = this.vdot === 0 ? pace : (1 - PACE.sample) * this.vdot + PACE.sample * pace
    this.#minute = this.#minute === 0 ? pace : (1 - PACE.minute) * this.#minute + PACE.minute * pace
  }

  /** Never so slow that one quiet second makes the wait endless. */
  get usable(): number {
    return Math.max(this.vdot, PACE.least * this.#minute)
  }

  /** 0: unknown. */
  get meanService(): Seconds {
    return this.#service.value
  }

  served(seconds: Seconds): void {
    this.#service.add(seconds)
  }
}

/** What an arrival of this tenant would wait in this cell now, breaker and pause included. Without evidence
 *  of how long anything takes, the queue's part of it is not guessed. */
export function waitOf(
  state: State,
  cell: Cell,
  of: { tenant: string; expected: Estimate; now: Millis },
): Millis {
  const gate = gateOpensIn(cell.route, of.now)
  const { queue } = cell
  if (!of.expected.evidence) return gate
  const member = queue.members.get(of.tenant) ?? null
  const tenant = state.tenants.get(of.tenant)
  if (queue.queued === 0) return gate + (tenant === undefined ? 0 : capWait(state, cell, tenant, 0))
  const ahead = member === null ? null : aheadOf(member, of.expected)
  return gate + queueWait(state, cell, member, ahead)
}

/** What waits before it; requests that came before there was evidence are taken to be like itself. */
function aheadOf({ ahead, blind }: Member, like: Expected): Expected {
  if (blind === 0) return ahead
  return {
    duration: ahead.duration + blind * like.duration,
    inputTokens: ahead.inputTokens + blind * like.inputTokens,
    outputTokens: ahead.outputTokens + blind * like.outputTokens,
  }
}

/** What a waiting request will still wait. */
export function waitOfQueued(
  state: State,
  of: { cell: Cell; member: Member; ahead: Expected },
  now: Millis,
): Millis {
  return gateOpensIn(of.cell.route, now) + queueWait(state, of.cell, of.member, of.ahead)
}

/** Time until the breaker lets probes in and the pause is over. */
export const gateOpensIn = (route: Route, now: Millis): Millis =>
  Math.max(0, Math.max(route.gate.until ?? 0, route.quota.pausedUntil) - now)

function queueWait(
  state: State,
  cell: Cell,
  member: Member | null,
  ahead: Expected | null,
): Millis {
  const { queue, pace } = cell
  if (queue.queued === 0) return 0
  const vdot = pace.usable
  const capped = member === null ? 0 : capWait(state, cell, member.tenant, member.queued)
  if (vdot <= 0) return capped
  const finish = member?.finish ?? 0
  const own =
    member === null || ahead === null
      ? 0
      : costOf(ahead, denominators(cell.route)) / member.tenant.weight
  const distance = Math.max(0, finish - queue.v) + own
  return Math.max(capped, (distance / vdot) * 1_000)
}

/** A tenant at its cap waits for its own slots, whatever the others do. */
function capWait(state: State, cell: Cell, tenant: Tenant, queued: number): Millis {
  if (!tenant.parked) return 0
  const cap = bindingCap(state, tenant)
  return (((queued + 1) * cell.pace.meanService) / cap) * 1_000
}

/** What one second of the bottleneck is on this route now. */
export const denominators = (route: Route): Denominators => ({
  slots: route.limit,
  inputPerSecond: route.quota.inputTokens.limit === null ? null : route.quota.inputTokens.rate,
  outputPerSecond: route.quota.outputTokens.limit === null ? null : route.quota.outputTokens.rate,
})

/** Once a second, for every cell. */
export function samplePaces(state: State, seconds: Seconds): void {
  for (const lane of state.lanes)
    for (const { pace, queue } of lane.cells)
      pace.sample({ moved: queue.takeMoved(), seconds, busy: queue.queued > 0 })
}
