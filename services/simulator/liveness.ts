/** Does a house come to life again? One random world: whatever goes wrong goes wrong, then all faults stop, and from
 *  there on three things must come true, each within a bound.
 *
 *  calm: little work comes. All that waited has its answer, breakers are closed, no account is blocked, and the last
 *  calls of every kind were served. push: more work comes than there is room for. What configuration and provider
 *  allow (`reach`) is used. rest: nothing comes. Everybody has an answer, and nothing is held.
 *
 *  Bounds, in seconds, for n calls that wait with together w slot-seconds of work, where `slots` and `perSecond` are
 *  what they may have: clear = max(w / slots, n / perSecond), summed over the kinds of calls, or w over the slots of
 *  all calls or of one tenant, where that is more; still = the longest that a block, a pause, a back-off or a silent
 *  attempt may last from now on. calm: SETTLE + SLACK clear + still + 12 gaps between calls. push: GROW. rest: CLEAR +
 *  SLACK clear + still + the longest service. In each, 60 / budget_per_minute more for every call that owes a retry
 *  (invariant I14). docs/liveness.md tells the same to people. */
import type { Config } from '#contracts/config'
import { requestKey } from '#contracts/ids'
import type { WaitingRow } from '#contracts/waiting'
import type { Seconds } from '#contracts/units'
import { waitingBy } from '#core/laws/waiting'
import { Callers, type Call } from './callers.ts'
import { HeadgatePolicy } from './headgate-policy.ts'
import { randomWorld, type Calls, type RandomWorld } from './random-world.ts'
import { reachOf, tenantMay } from './reach.ts'
import type { SimRequest } from './sim-request.ts'
import { World, type WorldOptions } from './world.ts'
import { attemptOf, owes, retryAtOf } from '#core/model/place'

const SETTLE: Seconds = 300
const GROW: Seconds = 900
const CLEAR: Seconds = 60
/** Times the time that the work itself takes: limits must grow back meanwhile, and lanes take turns. */
const SLACK = 4
/** Of what may be used, over the last so many seconds. */
const USED = { share: 0.6, seconds: 40 }
/** Of the last so many calls of each kind at least one was served, and of all together most. */
const SERVED = { each: 3, all: 10, most: 0.7 }
/** The longest that a silent attempt is waited for. */
const SILENT: Seconds = 120
/** Answers take so long at most once they are given. */
const HEARD: Seconds = 2
/** The laws are looked at so often, in seconds. */
const CHECK = 10

export interface LivenessResult {
  seed: number
  /** Broken laws. */
  violations: number
  findings: string[]
  /** Null: all came true in time. */
  trouble: Trouble | null
  /** Seconds that each part took, and its bound. */
  took: Partial<Record<Phase, { s: Seconds; boundS: Seconds }>>
  requests: number
}
type Phase = 'calm' | 'push' | 'rest'

export interface Trouble {
  phase: Phase
  /** What had not come true by its bound. */
  what: string
  boundS: Seconds
  /** When it came true after all, since the phase began; null: not in the time that it was given more. */
  cameAfterS: Seconds | null
  waiting: readonly WaitingRow[]
  routes: readonly RouteView[]
}

interface RouteView {
  route: string
  limit: number
  inflight: number
  breaker: string
  /** Concurrent attempts that the breaker permits; null: all. */
  permits: number | null
  /** Would the provider serve one more? */
  provider: 'free' | 'full'
}

/** `moreS`: what is late is waited for so much longer, to tell what is slow from what stands still. */
export const liveness = (seed: number, { moreS }: { moreS: Seconds }): LivenessResult =>
  livenessOf(randomWorld(seed), { moreS })

/** The same for a world of one's own. */
export const livenessOf = (of: RandomWorld, { moreS }: { moreS: Seconds }): LivenessResult =>
  new Life(of, moreS).run()

class Life {
  readonly #of: RandomWorld
  readonly #world: World
  readonly #policy: HeadgatePolicy
  readonly #callers: Callers
  readonly #took: LivenessResult['took'] = {}
  readonly #moreS: Seconds

  constructor(of: RandomWorld, moreS: Seconds) {
    this.#of = of
    this.#moreS = moreS
    this.#callers = new Callers({ world: () => this.#world, seed: of.seed })
    this.#world = new World({
      seed: of.seed,
      source: { next: () => null },
      provider: of.provider,
      until: of.faultsEnd,
      policy: (parts) =>
        new HeadgatePolicy({
          ...parts,
          config: unremembered(of.config),
          seed: of.seed,
          found: (findings) => this.#world.found(findings),
          predictions: false,
          film: null,
        }),
      onEnd: this.#callers.ended,
      events: eventsOf(of, () => this.#policy),
    })
    this.#policy = this.#world.policy as HeadgatePolicy
  }

  run(): LivenessResult {
    this.#turmoil()
    const trouble = this.#calm() ?? this.#push() ?? this.#rest()
    const { violations, findings, requests } = this.#world
    return { seed: this.#of.seed, violations, findings, trouble, took: this.#took, requests }
  }

  #turmoil(): void {
    const { turmoil, faultsEnd, paused, mends } = this.#of
    const { loop } = this.#policy
    this.#callers.begin(turmoil, 'turmoil')
    this.#world.advance(faultsEnd)
    this.#callers.stop()
    for (const { lane } of paused) loop.pause(lane, false)
    // What was answered just before the end of the faults is heard just after it.
    this.#world.advance(faultsEnd + HEARD)
    if (mends) for (const name of loop.state.upstreams.keys()) loop.testUpstream(name)
  }

  #calm(): Trouble | null {
    const { calm } = this.#of
    const { state } = this.#policy.loop
    const old = this.#callers.waiting()
    const gap = Math.max(...calm.map(gapOf))
    const bound = SETTLE + SLACK * this.#clear(old) + this.#still() + 12 * gap
    const first = this.#callers.all.length
    this.#callers.begin(calm, 'calm')
    return this.#until('calm', bound, () => {
      for (const { id, gate, upstream, retired } of state.routes.values()) {
        if (retired) continue
        if (upstream.testing) return `the account ${upstream.name} is blocked`
        if (gate.state !== 'closed') return `the breaker of ${id} is ${gate.state}`
      }
      return this.#unanswered(old) ?? unserved(this.#callers.all.slice(first), calm)
    })
  }

  #push(): Trouble | null {
    const { push, last, given } = this.#of
    const { state } = this.#policy.loop
    const { provider } = this.#world
    this.#callers.stop()
    const reaches = push.map((one) => reachOf(last, one, given))
    const asked = push.reduce((sum, one) => sum + one.service / gapOf(one), 0)
    const slots = Math.min(asked, Math.max(...reaches.map((one) => one.slots)))
    const perSecond = Math.max(...reaches.map((one) => one.perSecond))
    const inflight: number[] = []
    const served: number[] = []
    this.#callers.begin(push, 'push')
    return this.#until('push', GROW, () => {
      inflight.push(state.routesByModel.get(push[0]!.model)?.inflight ?? 0)
      served.push(provider.attempts - provider.answers429 - provider.answers529)
      if (inflight.length <= USED.seconds) return 'nothing is known yet'
      const mean = inflight.slice(-USED.seconds).reduce((sum, n) => sum + n, 0) / USED.seconds
      if (mean >= USED.share * slots) return null
      const starts = (served.at(-1)! - served.at(-1 - USED.seconds)!) / USED.seconds
      if (starts >= USED.share * perSecond) return null
      return `${mean.toFixed(1)} of ${slots.toFixed(1)} slots, ${starts.toFixed(2)} of ${perSecond.toFixed(2)} starts/s are used`
    })
  }

  #rest(): Trouble | null {
    this.#callers.stop()
    const left = this.#callers.waiting()
    const longest = Math.max(0, ...left.map(({ request }) => serviceOf(request)))
    const bound = CLEAR + SLACK * this.#clear(left) + this.#still() + longest
    const trouble = this.#until(
      'rest',
      bound,
      () => this.#unanswered(left) ?? (this.#policy.live > 0 ? 'attempts are not over' : null),
    )
    if (trouble !== null) return trouble
    this.#world.rest()
    return null
  }

  /** Looks once a second until `missing` says null, or nothing may be hoped for any more. */
  #until(phase: Phase, boundS: Seconds, missing: () => string | null): Trouble | null {
    const from = this.#now()
    let trouble: Trouble | null = null
    let debt: Seconds = 0
    for (let s = 1; ; s++) {
      this.#world.advance(from + s)
      if (s % CHECK === 0) this.#world.check()
      debt = Math.max(debt, this.#debt())
      const bound = boundS + debt
      const what = missing()
      if (what === null) {
        this.#took[phase] = { s, boundS: bound }
        return trouble === null ? null : { ...trouble, cameAfterS: s }
      }
      if (trouble === null && s >= bound) trouble = this.#trouble(phase, what, bound)
      if (s >= bound + this.#moreS) return trouble
    }
  }

  /** Until everybody who owes a retry has been let go, when the budget earns nothing but its share of a minute. */
  #debt(): Seconds {
    const { requests, config } = this.#policy.loop.state
    let owing = 0
    for (const { place } of requests.values()) if (owes(place)) owing++
    return (owing * 60) / config.file.llm_gateway.retry.budget_per_minute
  }

  #trouble(phase: Phase, what: string, boundS: Seconds): Trouble {
    const { state } = this.#policy.loop
    return {
      phase,
      what,
      boundS,
      cameAfterS: null,
      waiting: waitingBy(state, this.#world.clock.now()),
      routes: [...state.routes.values()].map((route) => ({
        route: route.id,
        limit: route.limit,
        inflight: route.inflight,
        breaker: route.gate.state,
        permits: Number.isFinite(route.gate.cap) ? route.gate.cap : null,
        provider: this.#takes(route.config.model) ? 'free' : 'full',
      })),
    }
  }

  #takes(model: string): boolean {
    const like = this.#callers.all.findLast(({ calls }) => calls.model === model)?.request
    return like != null && this.#world.provider.wouldTake(like, this.#world.clock.instant)
  }

  #now(): Seconds {
    return this.#world.clock.instant / 1_000
  }

  /** Null: they have their answers. */
  #unanswered(calls: readonly Call[]): string | null {
    const left = calls.filter(({ how }) => how === null)
    if (left.length === 0) return null
    const { requests } = this.#policy.loop.state
    const owing = left.filter(({ request }) => {
      const key = request === null ? '' : requestKey(request.tenant, request.id)
      return owes(requests.get(key)?.place)
    }).length
    const words = owing === 0 ? '' : `, ${owing} of them owe a retry`
    return `${left.length} calls from before have no answer${words}`
  }

  /** Seconds until these are served, if they get what they may have. */
  #clear(waiting: readonly Call[]): Seconds {
    const { last, given } = this.#of
    let sum: Seconds = 0
    for (const [calls, all] of Map.groupBy(waiting, (one) => one.calls)) {
      const known = last.lanes.some((lane) => lane.name === calls.lane)
      const { slots, perSecond } = known ? reachOf(last, calls, given) : LEAST
      sum += Math.max(workOf(all) / slots, all.length / perSecond)
    }
    const own = Map.groupBy(waiting, ({ request }) => request?.tenant ?? '')
    const slowest = [...own].map(([name, all]) => workOf(all) / tenantMay(last, name))
    return Math.max(sum, workOf(waiting) / last.maxInflight, ...slowest)
  }

  /** The longest that a block, a pause, a back-off or a silent attempt may still last. */
  #still(): Seconds {
    const { state } = this.#policy.loop
    const now = this.#world.clock.now()
    const until: number[] = [now]
    for (const { blockedUntil } of state.upstreams.values()) until.push(blockedUntil)
    for (const { pausedUntil } of state.quotas.values()) until.push(pausedUntil)
    for (const request of state.requests.values()) {
      until.push(retryAtOf(request) ?? now)
      const attempt = attemptOf(request)
      if (attempt !== null && !attempt.firstByte)
        until.push(Math.min(attempt.startedAt + attempt.firstByteMs, now + SILENT * 1_000))
    }
    return (Math.max(...until) - now) / 1_000
  }
}

/** Of a lane that is no more. */
const LEAST = { slots: 1, perSecond: Infinity }

const serviceOf = (request: SimRequest | null): Seconds =>
  request === null ? 0 : request.work.serviceMs / 1_000

const workOf = (calls: readonly Call[]): Seconds =>
  calls.reduce((sum, { request }) => sum + serviceOf(request), 0)

/** Between two calls of a kind. */
const gapOf = ({ come }: Calls): Seconds => ('every' in come ? come.every : 1 / come.perSecond)

/** Null: calls of every kind are served again, and most of all are. */
function unserved(since: readonly Call[], kinds: readonly Calls[]): string | null {
  const over = since.filter(({ how }) => how !== null)
  for (const kind of kinds) {
    const own = over.filter(({ calls }) => calls === kind).slice(-SERVED.each)
    if (!own.some(({ how }) => how === 'completed'))
      return `${kind.lane} on ${kind.model}: ${endsOf(own)}`
  }
  const last = over.slice(-SERVED.all)
  const well = last.filter(({ how }) => how === 'completed').length
  if (last.length < SERVED.all || well < SERVED.most * SERVED.all) return endsOf(last)
  return null
}

const endsOf = (calls: readonly Call[]): string =>
  calls.length === 0
    ? 'no call is over'
    : `the last calls ended in ${calls.map(({ how, code }) => code ?? how).join(', ')}`

function eventsOf(of: RandomWorld, policy: () => HeadgatePolicy): WorldOptions['events'] & object {
  return [
    ...of.reloads.map(({ at, config }) => ({
      at,
      act: () => policy().configure(unremembered(config)),
    })),
    ...of.paused.flatMap(({ lane, from, until }) => [
      { at: from, act: () => policy().loop.pause(lane, true) },
      { at: until, act: () => policy().loop.pause(lane, false) },
    ]),
    ...of.cancels.map(({ at, everyNth }) => ({ at, act: () => policy().cancel(everyNth) })),
    ...of.skews.map(({ at, by }) => ({
      at,
      act: ({ clock }: World) => void (clock.skewMs += by * 1_000),
    })),
  ]
}

/** Ids that ended are remembered for askers; here nobody asks. */
const unremembered = (config: Config): Config => ({
  ...config,
  file: { ...config.file, settled_max: 0 },
})
