/** The gatherer in virtual time: stores and provider in memory, which outlive its instances, and an instance that can
 *  be killed at any of its calls to them. */
import type { JobClaim } from '#contracts/jobs'
import { seededDice } from '#core/estimators/dice'
import type {
  ProviderBatches,
  GatheringStore,
  JobHead,
  JobNews,
  JobStore,
  NewJob,
  Used,
} from '#ports'
import { BatchJobs, type Lender } from '../../services/scheduler/jobs/batch-jobs.ts'
import { Gatherer, type GathererLimits } from '../../services/scheduler/jobs/gather.ts'
import { memoryGatheringStore } from '../../services/scheduler/memory/gathering-store.ts'
import { memoryJobStore } from '../../services/scheduler/memory/job-store.ts'
import { accountingHeaders, errorMessage } from '../../services/scheduler/nats/outbox.ts'
import { fakeBatches } from './fake-batches.ts'
import { manualClock } from './manual-clock.ts'

export const HOUR = 3_600_000
export const MINUTE = 60_000

export const LIMITS: GathererLimits = {
  deadlineMinMs: 24 * HOUR,
  waitMs: 10 * MINUTE,
  gatherMs: 5 * MINUTE,
  reserveMs: 2 * HOUR,
  entriesMax: 100,
  bytesMax: 1_000_000,
  pollMaxMs: 5 * MINUTE,
  findMs: 10 * MINUTE,
  openMax: 20,
  lookPerSecond: 200,
}

export interface Instance {
  name: string
  gatherer: Gatherer
  readonly news: JobNews[]
  readonly errors: unknown[]
  /** Jobs that were given back to its line. */
  readonly back: string[]
  /** Jobs that wait in its own scheduler, by id. */
  readonly lent: Map<string, { claim: JobClaim; revision: number } | 'busy'>
  /** Calls to stores and provider so far. */
  readonly calls: () => number
  readonly killed: () => boolean
}

export class GatherWorld {
  readonly clock = manualClock()
  readonly store = memoryJobStore({ published: () => (this.settled += 1) })
  readonly gatherings = memoryGatheringStore()
  readonly batches = fakeBatches(this.clock)
  readonly instances: Instance[] = []
  limits: GathererLimits
  /** Results that were stored. */
  settled = 0
  /** What was counted as used, by all instances. */
  readonly used: Used[] = []
  #ids = 0

  constructor(limits: Partial<GathererLimits> = {}) {
    this.limits = { ...LIMITS, ...limits }
  }

  /** `killAt`: its call of that number is its last, `before` it is carried out or `after`. */
  instance(
    name: string,
    of: { killAt?: number; kill?: 'before' | 'after'; denies?: string; models?: string } = {},
  ): Instance {
    const mortal = mortality(of.killAt ?? Infinity, of.kill ?? 'before')
    const news: JobNews[] = []
    const errors: unknown[] = []
    const back: string[] = []
    const lent: Instance['lent'] = new Map()
    const room: Lender = {
      async lend(_tenant, id) {
        const found = lent.get(id) ?? null
        if (found !== 'busy') lent.delete(id)
        return found
      },
      again: ({ id }: JobHead) => void back.push(id),
    }
    const { clock } = this
    const store = mortal.wrap<JobStore>(this.store)
    const gatherer = new Gatherer({
      jobs: new BatchJobs({
        ...{ store, clock, instance: name, room },
        words: { answer: accountingHeaders, error: errorMessage, message: () => null },
        read: ({ body }) => JSON.parse(Buffer.from(body).toString()) as never,
        news: (one) => void news.push(one),
        meter: { count: (one) => void this.used.push(one) },
      }),
      batches: mortal.wrap<ProviderBatches>(this.batches),
      store: mortal.wrap<GatheringStore>(this.gatherings),
      ...{ clock, instance: name, dice: seededDice(7) },
      limits: () => this.limits,
      upstreamOf: (model) => (model.startsWith(of.models ?? 'claude') ? 'anthropic' : null),
      enabled: () => true,
      mayGather: (tenant) => tenant !== of.denies,
      streams: () => false,
      upstream: () => ({ name: 'anthropic', baseUrl: 'http://x', apiKey: 'k', version: 'v' }),
      dead: (who) => this.instances.some((one) => one.name === who && one.killed()),
      makeId: () => `g${(this.#ids++).toString(36)}`,
      news: (what, entries) => void news.push({ kind: 'batch', what, entries, job: null }),
      onError: (error) => void errors.push(error),
    })
    const made: Instance = {
      ...{ name, gatherer, news, errors, back, lent },
      ...{ calls: mortal.calls, killed: mortal.killed },
    }
    this.instances.push(made)
    gatherer.open()
    return made
  }

  async job(id: string, of: Partial<NewJob> & { model?: string } = {}): Promise<number> {
    const { model = 'claude-a', ...more } = of
    const job: NewJob = {
      ...{ tenant: 'acme', lane: 'batch', id, group: '_', hash: id },
      ...{ acceptedAt: this.clock.wall(), deadlineMs: 24 * HOUR, notBeforeMs: 0 },
      ...{ degrade: [], maxAttempts: null, headers: {} },
      ...more,
    }
    const body = Buffer.from(JSON.stringify({ model, id }))
    const added = await this.store.add(job, body)
    if ('there' in added) throw new Error(`${id} is there`)
    return added.seq
  }

  async jobs(count: number, of: Partial<NewJob> = {}): Promise<void> {
    for (let i = 0; i < count; i++) await this.job(`j${i}`, of)
  }

  async pass(ms: number, stepMs = 1_000): Promise<void> {
    await settle()
    for (let left = ms; left > 0; left -= stepMs) {
      this.clock.advance(Math.min(stepMs, left))
      await settle()
    }
  }

  /** Passes until it is so; throws where it is not within that time. */
  async until(so: () => boolean, withinMs = 48 * HOUR): Promise<void> {
    for (let passed = 0; !so(); passed += 10_000) {
      if (passed > withinMs) throw new Error('it never came to be so')
      await this.pass(10_000, 10_000)
    }
    await settle()
    await settle()
  }

  /** What each result says, by job. */
  ends(): Record<string, string> {
    const ends: Record<string, string> = {}
    for (const { id, headers } of this.store.results.values()) {
      const header = (name: string) => headers.find(([other]) => other === name)?.[1]
      ends[id] = header('Headgate-Served-By') === 'batch' ? 'batch' : header('Headgate-Outcome')!
    }
    return ends
  }

  /** How often each job's body ran. */
  executions(): Record<string, number> {
    const counts: Record<string, number> = {}
    for (const { body } of this.batches.executed) {
      const { id } = JSON.parse(body) as { id: string }
      counts[id] = (counts[id] ?? 0) + 1
    }
    return counts
  }

  /** By job, the body that its result is the answer to. */
  answered(): Record<string, string> {
    const bodies = new Map(this.batches.executed.map(({ customId, body }) => [customId, body]))
    const answers: Record<string, string> = {}
    for (const { id, body } of this.store.results.values()) {
      const { id: message } = JSON.parse(Buffer.from(body).toString()) as { id: string }
      const to = bodies.get(message.slice('msg_'.length))
      answers[id] = (JSON.parse(to ?? '{}') as { id: string }).id
    }
    return answers
  }

  said(of: Instance): string[] {
    return of.news.flatMap((one) => (one.kind === 'batch' ? [one.what] : []))
  }
}

async function settle(): Promise<void> {
  for (let i = 0; i < 40; i++) await Promise.resolve()
}

const KILLED = new Error('killed')

function mortality(killAt: number, kill: 'before' | 'after') {
  let calls = 0
  let dead = false
  const call = async (perform: () => unknown): Promise<unknown> => {
    if (dead) throw KILLED
    calls += 1
    if (calls < killAt) return perform()
    if (kill === 'after') await perform()
    dead = true
    throw KILLED
  }
  return {
    calls: () => calls,
    killed: () => dead,
    wrap: <T extends object>(port: T): T =>
      new Proxy(port, {
        get(of, name) {
          const method: unknown = Reflect.get(of, name)
          if (typeof method !== 'function') return method
          const perform = (...args: unknown[]): unknown => Reflect.apply(method, of, args)
          if (name !== 'results') return (...args: unknown[]) => call(() => perform(...args))
          return async function* (...args: unknown[]) {
            for await (const one of perform(...args) as AsyncIterable<unknown>)
              yield await call(() => one)
          }
        },
      }),
  }
}
