/** A day of mixed work in virtual time, with the provider's batches and without: what it costs, and whether every
 *  deadline is kept. The scheduler, its jobs and the gatherer are the real ones; stores and provider are in memory. */
import type { Millis } from '#contracts/units'
import { seededDice, type Dice } from '#core/estimators/dice'
import type { Clock, JobResult, Provider, Reply } from '#ports'
import { subjects } from '#contracts/subjects'
import { wireJobs } from '#scheduler/compose/wire-jobs'
import { notedProvider } from '#scheduler/jobs/noted-provider'
import { Loop } from '#scheduler/loop/loop'
import { memoryBus } from '#scheduler/memory/bus'
import { memoryGatheringStore } from '#scheduler/memory/gathering-store'
import { memoryJobStore } from '#scheduler/memory/job-store'
import { memorySettings } from '#scheduler/memory/settings'
import { configOf } from './core-world.ts'
import { fakeBatches } from './fake-batches.ts'
import { HeapClock } from './heap-clock.ts'
import { scriptedProvider } from './scripted-provider.ts'

const HOUR: Millis = 3_600_000
const WALL_AT_START: Millis = 1_767_225_600_000
/** Of the whole day. */
const SLOTS = 8
/** On average, of a job and of a person's request. */
const SERVICE = { job: 20_000, person: 8_000 } as const
/** Nothing else is as long as this; past it a run has failed. */
const RUN_MAX: Millis = 72 * HOUR

export interface DayOptions {
  seed: number
  batches: boolean
  /** How long a batch of the provider's takes, in hours. */
  batchHours: number
  /** A part of the day's work, and of the slots for it, to be quick: 1 is the day as it is told. */
  scale: number
}

/** Work by kind: jobs of the evening, which come at once; jobs over the day; jobs that have an hour; and people. */
export const KINDS = ['evening', 'daytime', 'urgent', 'interactive'] as const
export type Kind = (typeof KINDS)[number]

export interface DayFigures {
  /** Calls that were answered at the full price and at half, one of each costing 1 and 0.5. */
  full: number
  half: number
  cost: number
  /** Work whose deadline passed, or that was refused. */
  missed: number
  /** Work that ran more than once. */
  twice: number
  batches: number
  /** From arrival to answer: median and the longest, by kind. */
  latency: Record<Kind, { p50: Millis; max: Millis }>
}

export async function halfPriceDay(of: DayOptions): Promise<DayFigures> {
  const time = new HeapClock()
  const clock: Clock = {
    now: () => time.now,
    wall: () => WALL_AT_START + time.now,
    after: time.after,
  }
  const dice = seededDice(of.seed)
  const ran = new Map<string, number>()
  const ends = new Map<string, { ok: boolean; at: Millis }>()
  const upstream = scriptedProvider({
    clock,
    script({ lane }) {
      const usage = {
        ...{ inputTokens: 900, cacheCreationTokens: 0, cacheReadTokens: 0, outputTokens: 300 },
      }
      const mean = lane === 'batch' ? SERVICE.job : SERVICE.person
      const endMs = mean * (0.5 + dice.next())
      return { endMs, end: { kind: 'ok', status: 200, usage, body: Buffer.from('{}') } }
    },
  })
  /** A call that was ended for somebody more urgent has no answer, and comes again. */
  const provider: Provider = {
    ...upstream,
    send: (call, sink) =>
      upstream.send(call, {
        ...sink,
        ended(verdict) {
          if (verdict.kind === 'ok') ran.set(call.id, (ran.get(call.id) ?? 0) + 1)
          sink.ended(verdict)
        },
      }),
  }
  const batches = fakeBatches(clock)
  batches.takesMs = of.batchHours * HOUR
  const loop = new Loop({
    config: configOf(fileOf(of)),
    ...{ clock, dice, runner: 'tables', recorder: null },
    provider: notedProvider(provider, () => jobs.room),
    upstream: (name) => ({ name, baseUrl: 'http://x', apiKey: 'k', version: '2023-06-01' }),
    onBug(bug) {
      throw bug
    },
  })
  const published = ({ id, headers }: JobResult): void => {
    const outcome = headers.find(([name]) => name === 'Headgate-Outcome')?.[1]
    ends.set(id, { ok: outcome === 'completed', at: time.now })
  }
  const jobs = wireJobs({
    kept: {
      store: memoryJobStore({ published }),
      members: memorySettings(),
      gatherings: memoryGatheringStore(),
    },
    ...{ loop, clock, dice, bus: memoryBus(), subjects: subjects('llm'), instance: 'a' },
    provided: {
      batches,
      upstream: (name) => ({ name, baseUrl: 'http://x', apiKey: 'k', version: '2023-06-01' }),
    },
    news: () => {},
    meter: { count: () => {} },
  })
  await jobs.room.open()
  jobs.gatherer?.open()

  const refused: string[] = []
  const arrivals = arrivalsOf(of, dice)
  for (const { id, kind, at } of arrivals) {
    time.after(at, () => {
      const body = Buffer.from(JSON.stringify({ model: 'm', max_tokens: 300, messages: TALK, id }))
      const request = { tenant: kind, id, body, model: 'm', stream: false, maxTokens: 300 }
      const more = { degrade: [], headers: {} }
      if (kind === 'interactive') {
        const reply = replyOf((ok) => ends.set(id, { ok, at: time.now }))
        loop.request({ ...request, ...more, lane: 'interactive', deadlineMs: null, reply })
        return
      }
      const deadlineMs = kind === 'urgent' ? HOUR : 24 * HOUR
      const job = { ...request, ...more, lane: 'batch', deadlineMs }
      void jobs.desk.submit({ ...job, named: true, notBeforeMs: 0, group: '_' }).then((said) => {
        if ('refused' in said) refused.push(`${id}: ${said.refused.message}`)
      })
    })
  }
  while (ends.size < arrivals.length) {
    if (refused.length > 0) throw new Error(refused[0])
    if (time.now > RUN_MAX) throw new Error(`${arrivals.length - ends.size} never ended`)
    time.advance(Math.max(0, time.heap.next() - time.now))
    for (let turn = 0; turn < 12; turn++) await Promise.resolve()
  }
  jobs.gatherer?.stop()
  jobs.room.drain()

  let full = 0
  for (const times of ran.values()) full += times
  const half = batches.executed.length
  for (const { body } of batches.executed) {
    const { id } = JSON.parse(body) as { id: string }
    ran.set(id, (ran.get(id) ?? 0) + 1)
  }
  return {
    ...{ full, half, cost: full + half / 2, batches: batches.ids.length },
    missed: [...ends.values()].filter(({ ok }) => !ok).length,
    twice: [...ran.values()].filter((times) => times > 1).length,
    latency: latencies(arrivals, ends),
  }
}

const TALK = [{ role: 'user', content: 'x' }]

function fileOf({ batches, scale }: DayOptions): object {
  const slots = Math.max(2, Math.round(SLOTS * scale))
  return {
    llm_gateway: { max_inflight_global: slots },
    concurrency_limit: { initial: slots, floor: slots, ceiling: slots },
    routes: [{ model: 'm', initial: slots, floor: slots, batches }],
  }
}

interface WorkArrival {
  id: string
  kind: Kind
  at: Millis
}

/** People by day, from 8 to 20 o'clock; jobs all the day; and from 18 o'clock on, within ten minutes, the evening's heap. */
function arrivalsOf({ scale }: DayOptions, dice: Dice): WorkArrival[] {
  const all: WorkArrival[] = []
  const add = (kind: Kind, count: number, at: () => Millis): void => {
    for (let i = 0; i < Math.round(count * scale); i++)
      all.push({ id: `${kind}${i}`, kind, at: at() })
  }
  add('interactive', 5_000, () => (8 + 12 * dice.next()) * HOUR)
  add('urgent', 300, () => 24 * HOUR * dice.next())
  add('daytime', 1_500, () => 24 * HOUR * dice.next())
  add('evening', 6_000, () => (18 + dice.next() / 6) * HOUR)
  return all
}

function latencies(
  arrivals: readonly WorkArrival[],
  ends: ReadonlyMap<string, { at: Millis }>,
): DayFigures['latency'] {
  const of = (kind: Kind): { p50: Millis; max: Millis } => {
    const took = arrivals
      .filter((one) => one.kind === kind)
      .map(({ id, at }) => (ends.get(id)?.at ?? Infinity) - at)
      .toSorted((a, b) => a - b)
    return { p50: took[took.length >> 1] ?? 0, max: took.at(-1) ?? 0 }
  }
  return Object.fromEntries(KINDS.map((kind) => [kind, of(kind)])) as DayFigures['latency']
}

const replyOf = (ended: (ok: boolean) => void): Reply => ({
  event() {},
  ping() {},
  answer: () => ended(true),
  end: () => ended(true),
  refuse: () => ended(false),
})
