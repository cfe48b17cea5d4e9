import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { VerdictKind } from '#contracts/verdict'
import { CoreWorld, configOf, verdictOf } from '../support/core-world.ts'
import { attemptOf } from '#core/model/place'

/** Runs in `npm test`; the full suite raises it by HEADGATE_RUNS. */
const RUNS = Number(process.env['HEADGATE_RUNS'] ?? 400)
/** Fixed, so that a run means the same everywhere; any other by HEADGATE_SEED. */
const SEED = Number(process.env['HEADGATE_SEED'] ?? 7)

/** Weighted by hand: a blocked upstream ends most of what makes a run interesting. */
const kinds: VerdictKind[] = [
  ...Array.from({ length: 14 }, () => 'ok' as const),
  'throttled', 'ramp_limited', 'unexplained', 'unexplained', 'overloaded', 'overloaded', 'fault',
  'fault', 'hang', 'broken', 'cut', 'rejected', 'ended', 'key_stop',
] // prettier-ignore

const lanes = ['premium', 'interactive', 'batch', 'no-such-lane']
const command = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('burst' as const),
      tenant: fc.integer({ min: 0, max: 6 }),
      lane: fc.integer({ min: 0, max: 2 }),
      model: fc.integer({ min: 0, max: 1 }),
      many: fc.integer({ min: 2, max: 12 }),
      prefix: fc.nat({ max: 2 }),
    }),
  },
  { weight: 8, arbitrary: fc.record({
    do: fc.constant('submit' as const), tenant: fc.integer({ min: 0, max: 6 }),
    lane: fc.nat({ max: 30 }).map((n) => n % 10 % 4), model: fc.integer({ min: 0, max: 2 }),
    deadlineMs: fc.option(fc.integer({ min: 1, max: 40_000 })), id: fc.integer({ min: 0, max: 150 }),
    stream: fc.boolean(), prefix: fc.nat({ max: 2 }),
  }) },
  { weight: 8, arbitrary: fc.record({
    do: fc.constant('end' as const), which: fc.nat(), kind: fc.constantFrom(...kinds),
    retryAfterMs: fc.option(fc.integer({ min: 1, max: 20_000 })),
    left: fc.option(fc.integer({ min: 0, max: 30 })), names: fc.boolean(),
  }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('progress' as const), which: fc.nat(), forwarded: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('cancel' as const), which: fc.nat() }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('advance' as const), ms: fc.integer({ min: 0, max: 8_000 }) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('tick' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('limit' as const), which: fc.nat(), limit: fc.integer({ min: 1, max: 20 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('gate' as const), which: fc.nat(), cap: fc.constantFrom(0, 1, 3, Infinity) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('pause' as const), lane: fc.integer({ min: 0, max: 2 }), paused: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('config' as const), which: fc.nat() }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('grant' as const), which: fc.nat(), units: fc.integer({ min: 0, max: 3_000 }) }) },
) // prettier-ignore
type Command = typeof command extends fc.Arbitrary<infer C> ? C : never

/** Small systems, so that every bound is met often. */
const files = [
  { llm_gateway: { max_inflight_global: 8 }, lanes: { premium: { queue_max: 6 }, interactive: { queue_max: 6 }, batch: { queue_max: 8 } }, routes_max: 2 },
  { llm_gateway: { max_inflight_global: 5, max_inflight_per_tenant: 2 }, scheduling: { arbitration: 'strict' } },
  { llm_gateway: { max_inflight_global: 12 }, lanes: { premium: { reserved_slots: 20, queue_max: 5 }, batch: { cap: 60, minimum_share: 10 } }, tenants: { t1: { weight: 3, max_inflight: 1 }, t2: { lanes: ['batch'] } } },
  { llm_gateway: { max_inflight_global: 6 }, lanes: { extra: { weight: 2 } }, tenants: { unknown: 'reject', t0: {}, t1: {}, t3: { weight: 0.5 } } },
  { llm_gateway: { max_inflight_global: 9 }, routes: [{ model: 'm0', quota: 'q' }, { model: 'm1', quota: 'q', initial: 3, floor: 1 }] },
  { llm_gateway: { max_inflight_global: 10 }, routes: [{ model: 'm0', quota: 'q', rpm: 120, otpm: 9_000 }, { model: 'm1', quota: 'q', rpm: 60 }, { model: 'm2', itpm: 4_000 }] },
  { llm_gateway: { max_inflight_global: 8 }, tenants: { default: { limits: { rpm: 60 } }, t1: { limits: { rpm: 30, edge: 'refuse' } }, t2: { limits: { itpm: 2_000, otpm: 6_000, edge: 'degrade' } }, t3: { limits: { budget: { day: { tokens: 9_000 } } } } } },
  { llm_gateway: { max_inflight_global: 7 }, limits: { accounts_max: 1 }, tenants: { default: { limits: { rpm: 20, budget: { month: { tokens: 5_000, edge: 'queue' } } } } } },
  { llm_gateway: { max_inflight_global: 4 }, lanes: { interactive: { delay_control: true }, premium: { delay_control: true } } },
  { llm_gateway: { max_inflight_global: 6 }, lanes: { premium: { queue_max: 6 }, interactive: { queue_max: 6, delay_control: true }, batch: { queue_max: 8 } }, scheduling: { prefix_wait_ms: 3_000 } },
  { llm_gateway: { max_inflight_global: 8 }, routes: [{ model: 'm0', rpm: 120, otpm: 9_000 }, { model: 'm1' }], scheduling: { prefix_wait_ms: 20_000 }, tenants: { t2: { limits: { rpm: 60 } } } },
] // prettier-ignore

function perform(world: CoreWorld, c: Command): void {
  const at = <T>(items: readonly T[], which: number): T | undefined =>
    items.length === 0 ? undefined : items[which % items.length]
  switch (c.do) {
    case 'submit':
      return void world.submit({
        tenant: `t${c.tenant}`,
        lane: lanes[c.lane]!,
        model: `m${c.model}`,
        id: `i${c.id}`,
        deadlineMs: c.deadlineMs,
        stream: c.stream,
        prefix: c.prefix === 0 ? null : `p${c.prefix}`,
      })
    case 'burst': {
      const [tenant, lane, model] = [`t${c.tenant}`, lanes[c.lane]!, `m${c.model}`]
      const prefix = c.prefix === 0 ? null : `p${c.prefix}`
      for (let i = 0; i < c.many; i++) world.submit({ tenant, lane, model, prefix })
      return
    }
    case 'end': {
      const key = at(world.running(), c.which)
      if (key === undefined) return
      const aborted = attemptOf(world.state.requests.get(key)!)?.ending !== null
      // An attempt that we ended says so, unless its real end came first.
      const kind =
        aborted && c.which % 3 > 0 ? 'ended' : !aborted && c.kind === 'ended' ? 'ok' : c.kind
      // Headers of a small account, and an answer that was counted, now and then.
      const told = { limit: 300, remaining: c.left }
      const tokens = { limit: 60_000, remaining: c.left === null ? null : c.left * 1_000 }
      const rate =
        c.left === null ? null : { requests: told, inputTokens: tokens, outputTokens: tokens }
      const usage =
        kind !== 'ok' || c.left === null
          ? null
          : {
              inputTokens: 10 * c.left,
              cacheCreationTokens: 0,
              cacheReadTokens: c.left,
              outputTokens: 20 * c.left,
            }
      return void world.end(
        key,
        verdictOf(kind, { retryAfterMs: c.retryAfterMs, rate, usage, namesConcurrency: c.names }),
      )
    }
    case 'progress': {
      const key = at(world.running(), c.which)
      if (key !== undefined)
        world.input({ type: 'progress', key, what: c.forwarded ? 'forwarded' : 'first-byte' })
      return
    }
    case 'cancel': {
      const key = at([...world.state.requests.keys()], c.which)
      if (key !== undefined) world.input({ type: 'cancel', key })
      return
    }
    case 'advance':
      return world.advance(c.ms)
    case 'tick':
      return world.tick()
    case 'limit':
    case 'gate': {
      const route = at([...world.state.routes.keys()], c.which)
      if (route === undefined) return
      if (c.do === 'limit') return world.setLimit(route, c.limit)
      const state = c.cap === 0 ? 'open' : c.cap === Infinity ? 'closed' : 'half_open'
      return world.setGate(route, {
        state,
        cap: c.cap,
        until: c.cap === 0 ? world.now + 5_000 : null,
      })
    }
    case 'pause':
      return void world.input({ type: 'lane', lane: lanes[c.lane]!, paused: c.paused })
    case 'grant': {
      const wants = [...world.state.accounts.values()].flatMap((account) =>
        account.allowances.filter(({ asked }) => asked).map(({ budget }) => ({ account, budget })),
      )
      const want = at(wants, c.which)
      if (want === undefined) return
      const { span, unit } = want.budget
      const overall = 3_000 - c.units
      const grant = {
        ...{ window: `w${c.which % 2}`, granted: c.units, endsAt: world.now + 20_000 },
        ...{ exhausted: overall < 500, overall, whole: 3_000 },
      }
      const given = c.which % 5 === 0 ? null : grant
      return void world.input({
        type: 'allowance',
        account: want.account.name,
        span,
        unit,
        grant: given,
      })
    }
    case 'config':
      return void world.input({ type: 'config', config: configOf(files[c.which % files.length]) })
  }
}

/** Ends everything that is still live. */
function comeToRest(world: CoreWorld): void {
  world.input({ type: 'drain' })
  world.input({ type: 'drain-over' })
  for (const key of world.running()) world.end(key, 'ended')
}

/** What a run must have met for its silence to mean anything. */
const SEEN = [
  'queued', 'refused', 'start-attempt', 'forwarding', 'attempt-ended', 'abort-attempt', 'backoff',
  'requeued', 'settled', 'released', 'wake-at', 'route-wake-at', 'route-opened', 'route-closed', 'alarm',
  'why preempted', 'why backoff', 'completed', 'QUEUE_FULL', 'DEADLINE', 'CANCELLED', 'ATTEMPTS', 'TOO_LATE',
  'RETRY_AFTER_TOO_LONG', 'SHUTDOWN', 'STREAM_BROKEN', 'UPSTREAM_REJECTED', 'UPSTREAM_BLOCKED', 'STALE',
  'aside',
] // prettier-ignore

test('whatever happens, every law holds after every step and everything is given back', () => {
  const seen = new Set<string>()
  fc.assert(
    fc.property(
      fc.array(command, { minLength: 1, maxLength: 120, size: 'max' }),
      fc.integer({ min: 0, max: files.length - 1 }),
      (commands, file) => {
        const world = new CoreWorld(files[file])
        for (const c of commands) perform(world, c)
        comeToRest(world)
        for (const e of world.effects) seen.add(e.type === 'requeued' ? `why ${e.why}` : e.type)
        if (seen.has('why preempted')) seen.add('requeued')
        if (world.aside > 0) seen.add('aside')
        for (const all of world.outcomes.values()) for (const one of all) seen.add(one)
        expect(world.state.requests.size).toBe(0)
        for (const [key, times] of world.accepted)
          expect(world.outcomes.get(key)?.length, key).toBe(times)
      },
    ),
    { numRuns: RUNS, seed: SEED },
  )
  expect(SEEN.filter((one) => !seen.has(one))).toEqual([])
})

test('equal seed, configuration and inputs give equal effects (I16)', () => {
  const told = (commands: Command[], file: number): string => {
    const world = new CoreWorld(files[file], { seed: 7, check: false })
    for (const c of commands) perform(world, c)
    return JSON.stringify(
      world.effects.map((e) => ({
        ...e,
        request: 'request' in e ? e.request.key : null,
        ...('account' in e ? { account: e.account.name, allowance: e.allowance.budget } : {}),
        route: 'route' in e && e.route !== null && typeof e.route === 'object' ? e.route.id : null,
      })),
    )
  }
  fc.assert(
    fc.property(
      fc.array(command, { maxLength: 60 }),
      fc.nat({ max: files.length - 1 }),
      (commands, file) => {
        expect(told(commands, file)).toBe(told(commands, file))
      },
    ),
    { numRuns: Math.ceil(RUNS / 5), seed: SEED },
  )
})

test('no request makes more attempts than its lane allows, and none is preempted more than twice', () => {
  fc.assert(
    fc.property(fc.array(command, { maxLength: 120, size: 'max' }), (commands) => {
      const world = new CoreWorld(files[0])
      for (const c of commands) {
        if (c.do === 'config') continue
        perform(world, c)
      }
      // I10: what preemption wasted is bounded by what was useful.
      expect(world.preempted).toBeLessThanOrEqual(0.05 * world.useful + 50)
      for (const e of world.effects) {
        if (e.type !== 'start-attempt') continue
        expect(e.attempt.number).toBeLessThanOrEqual(e.request.lane.config.maxAttempts)
        expect(e.request.preemptions).toBeLessThanOrEqual(2)
      }
    }),
    { numRuns: Math.ceil(RUNS / 5), seed: SEED },
  )
})
