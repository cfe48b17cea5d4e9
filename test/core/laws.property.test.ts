/** The laws of control-laws §15 that speak of more than one step, over random lives. The others are checked
 *  after every step of every test that uses a CoreWorld. I15 speaks of fleets. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { verdicts, type VerdictKind } from '#contracts/verdict'
import { FairQueue } from '#core/estimators/fair-queue'
import { type Flow, type Request, Tenant } from '#core/model/state'
import { CoreWorld, verdictOf } from '../support/core-world.ts'

const RUNS = Number(process.env['HEADGATE_RUNS'] ?? 400)
const SEED = Number(process.env['HEADGATE_SEED'] ?? 7)
const of = (share: number): { numRuns: number; seed: number } => ({
  numRuns: Math.ceil(RUNS * share),
  seed: SEED,
})

test('tenants that are always backlogged differ by at most 1.1 x C x c_max (I6)', () => {
  const tenant = fc.record({
    weight: fc.constantFrom(0.5, 1, 1, 2, 3),
    ms: fc.integer({ min: 20, max: 3_000 }),
  })
  fc.assert(
    fc.property(
      fc.array(tenant, { minLength: 2, maxLength: 4 }),
      fc.integer({ min: 1, max: 6 }),
      (tenants, slots) => {
        const world = backlogged(tenants, slots)
        // Costs are seconds of one of 60 slots; the first estimate is 6 s.
        const largest = Math.max(6, ...tenants.map(({ ms }) => ms / 1_000)) / 60
        const smallest = Math.min(...tenants.map(({ weight }) => weight))
        const bound = (1.1 * slots * largest) / Math.min(1, smallest)
        const served = tenants.map(() => 0)
        for (let i = 0; i < 150; i++) {
          const done = world.next()
          served[done.tenant]! += done.ms / 1_000 / 60
          const fair = served.map((cost, index) => cost / tenants[index]!.weight)
          expect(Math.max(...fair) - Math.min(...fair)).toBeLessThanOrEqual(bound)
        }
      },
    ),
    of(0.1),
  )
})

/** Slots that serve tenants without end, each answer as long as its tenant's always are. */
function backlogged(
  tenants: readonly { weight: number; ms: number }[],
  slots: number,
): { next(): { tenant: number; ms: number } } {
  const named = Object.fromEntries(
    tenants.map(({ weight }, i) => [`t${i}`, { weight, max_inflight: slots }]),
  )
  const world = new CoreWorld(
    {
      llm_gateway: { max_inflight_global: slots },
      lanes: { interactive: { queue_max: 10_000 } },
      scheduling: { tenant_queue_share: 1 },
      tenants: named,
    },
    { check: false },
  )
  for (let i = 0; i < tenants.length; i++)
    for (let n = 0; n < 170; n++) world.submit({ tenant: `t${i}`, deadlineMs: 86_400_000 })
  const due: { key: string; at: number; tenant: number; ms: number }[] = []
  let seen = 0
  const note = (): void => {
    for (const e of world.effects.slice(seen)) {
      if (e.type !== 'start-attempt') continue
      const tenant = Number(e.request.tenant.name.slice(1))
      const { ms } = tenants[tenant]!
      due.push({ key: e.request.key, at: world.now + ms, tenant, ms })
    }
    seen = world.effects.length
  }
  note()
  return {
    next() {
      due.sort((a, b) => a.at - b.at)
      const done = due.shift()!
      world.now = done.at
      world.end(done.key)
      note()
      return done
    },
  }
}

test('idling earns nothing and forgives nothing (I7)', () => {
  const act = fc.record({
    who: fc.integer({ min: 0, max: 3 }),
    serve: fc.boolean(),
    cost: fc.double({ min: 0.01, max: 5, noNaN: true }),
    truth: fc.double({ min: 0.01, max: 5, noNaN: true }),
  })
  fc.assert(
    fc.property(fc.array(act, { maxLength: 80 }), (acts) => {
      const queue = new FairQueue<Request, Tenant>(() => false)
      const all = new Map<string, Tenant>()
      const tenants = [0, 1, 2, 3].map(
        (i) => new Tenant(`t${i}`, { weight: 1 + (i % 2), cap: null }, all),
      )
      const idle = new Map<string, number>()
      for (const { who, serve, cost, truth } of acts) {
        if (!serve) {
          const tenant = tenants[who]!
          const before = queue.flows.get(tenant.name)
          const finish = idle.get(tenant.name)
          if (before !== undefined && before.live === 0 && finish !== undefined)
            expect(before.finish).toBe(finish)
          const flow = queue.join(tenant)
          const request = asked(flow, queue.v)
          queue.append(request)
          // Its turn does not come before what was already due when it came.
          if (flow.head === request) expect(flow.start).toBeGreaterThanOrEqual(queue.v)
          continue
        }
        const flow = queue.next()
        const request = queue.first()
        if (flow === undefined || request === null) continue
        queue.charge(flow, cost)
        queue.remove(request)
        queue.settle(flow, truth - cost)
        queue.leave(flow, 100)
        if (flow.live === 0) idle.set(flow.tenant.name, flow.finish)
      }
    }),
    of(0.5),
  )
})

/** As much of a request as a queue looks at. */
const asked = (flow: Flow, stamp: number): Request =>
  ({
    flow,
    tenantStamp: stamp,
    expected: { duration: 1, inputTokens: 1, outputTokens: 1, evidence: true, own: false },
    before: null,
    after: null,
  }) as unknown as Request

test('starts in any window stay within rate x window + burst (I13)', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 6, max: 600 }),
      fc.array(fc.record({ gapMs: fc.nat(3_000), many: fc.integer({ min: 1, max: 12 }) }), {
        maxLength: 30,
      }),
      (rpm, arrivals) => {
        const world = new CoreWorld(
          { routes: [{ model: 'm', rpm }], llm_gateway: { max_inflight_global: 1_000 } },
          { check: false },
        )
        const starts: number[] = []
        let seen = 0
        const note = (): void => {
          for (const e of world.effects.slice(seen))
            if (e.type === 'start-attempt') starts.push(world.now)
          seen = world.effects.length
        }
        for (const { gapMs, many } of arrivals) {
          for (let i = 0; i < many; i++) world.submit({ deadlineMs: 600_000 })
          note()
          for (let ms = 0; ms < gapMs; ms += 50) {
            world.advance(50)
            note()
          }
          for (const key of world.running().slice(0, 5)) world.end(key)
          note()
        }
        const rate = (0.95 * rpm) / 60
        const burst = Math.max(1, 5 * rate)
        for (let i = 0; i < starts.length; i++)
          for (let j = i; j < starts.length; j++) {
            const window = (starts[j]! - starts[i]! + 50) / 1_000
            expect(j - i + 1).toBeLessThanOrEqual(rate * window + burst + 1)
          }
      },
    ),
    of(0.1),
  )
})

test('charged retries stay within start + a tenth of successes + ten a minute (I14)', () => {
  const kinds: VerdictKind[] = [
    'ok',
    'ok',
    'overloaded',
    'fault',
    'throttled',
    'unexplained',
    'hang',
  ]
  const act = fc.record({
    kind: fc.constantFrom(...kinds),
    batch: fc.boolean(),
    waitMs: fc.nat(4_000),
  })
  fc.assert(
    fc.property(fc.array(act, { maxLength: 150 }), (acts) => {
      const world = new CoreWorld({}, { check: false })
      const charged = { firm: 0, batch: 0 }
      const ok = { firm: 0, batch: 0 }
      const owing = new Set<unknown>()
      let seen = 0
      for (const { kind, batch, waitMs } of acts) {
        world.submit({ lane: batch ? 'batch' : 'interactive' })
        const [key] = world.running()
        if (key !== undefined) world.end(key, verdictOf(kind, { status: 529 }))
        for (const e of world.effects.slice(seen)) {
          // Who owes a token pays when it comes back.
          if (e.type === 'backoff' && e.owes) owing.add(e.request)
          if (e.type === 'requeued' && owing.delete(e.request))
            charged[e.request.lane.config.preemptible ? 'batch' : 'firm']++
          if (e.type === 'backoff' && e.owes) continue
          if (e.type !== 'backoff' && !(e.type === 'attempt-ended' && e.verdict.kind === 'ok'))
            continue
          const side = e.request.lane.config.preemptible ? 'batch' : 'firm'
          if (e.type === 'attempt-ended') ok[side]++
          else if (verdicts[e.verdict.kind].budget === 'charge') charged[side]++
        }
        seen = world.effects.length
        for (const side of ['firm', 'batch'] as const)
          expect(charged[side]).toBeLessThanOrEqual(10 + 0.1 * ok[side] + world.now / 6_000 + 1e-9)
        world.advance(waitMs)
      }
    }),
    of(0.25),
  )
})
