/** The room of durable jobs, put together with the loop that runs them and the bus that tells of them. */
import { createHash } from 'node:crypto'
import type { ConfigFile } from '#contracts/config'
import { isToken } from '#contracts/ids'
import { HEADER } from '#contracts/messages'
import type { Subjects } from '#contracts/subjects'
import type {
  BatchAsk,
  ProviderBatches,
  Bus,
  Clock,
  Dice,
  Incoming,
  JobNews,
  JobsOperator,
  Meter,
  StoredJob,
} from '#ports'
import type { Gatherer } from '#scheduler/jobs/gather'
import { JobsDesk } from '#scheduler/jobs/desk'
import { jobsOperator } from '#scheduler/jobs/operator-desk'
import { JobsRoom } from '#scheduler/jobs/room'
import { roomLimits } from '#scheduler/jobs/room-limits'
import { deferLane } from '#core/laws/jobs'
import { JobsWatch } from '#scheduler/jobs/watch'
import type { Loop } from '#scheduler/loop/loop'
import { accountingHeaders, errorMessage } from '#scheduler/nats/outbox'
import { parseRequest } from '#scheduler/nats/request-parse'
import { MessageBuilder } from '#scheduler/provider/whole-and-stream'
import type { JobsKept } from './open-jobs.ts'
import { wireGatherer } from './wire-gatherer.ts'
import type { SeenJobs } from './observers.ts'
import { NONE_OPEN } from '#scheduler/batches/work'
import { wireBatches, type WiredBatches } from './wire-batches.ts'

export interface WiredJobs {
  readonly room: JobsRoom
  readonly desk: JobsDesk
  /** Null: nothing goes to the provider in batches. */
  readonly gatherer: Gatherer | null
  readonly watch: JobsWatch
  readonly operator: JobsOperator
  /** Null: batches are kept nowhere. */
  readonly batches: WiredBatches | null
}

export function wireJobs(of: {
  kept: JobsKept
  loop: Loop
  bus: Bus
  subjects: Subjects
  clock: Clock
  dice: Dice
  instance: string
  /** The provider's own, for jobs that can wait; null or absent: none is made. */
  provided?: { batches: ProviderBatches; upstream: (name: string) => BatchAsk['upstream'] } | null
  news: (news: JobNews) => void
  meter: Meter
}): WiredJobs {
  const { loop, bus, subjects, instance } = of
  const file = (): ConfigFile => loop.state.config.file
  const { store, members, gatherings } = of.kept
  const room = new JobsRoom({
    ...{ store, members },
    ...{ scheduler: loop, clock: of.clock, dice: of.dice, instance },
    news(news) {
      watch.note(news)
      of.news(news)
    },
    limits: () => roomLimits(file()),
    words: { answer: accountingHeaders, error: errorMessage, message: messageOf },
    read: (job) => requestOf(job, file()),
    tell: ({ lane, tenant, seq }) =>
      bus.publish(subjects.peerJob, JSON.stringify({ by: instance, lane, tenant, seq })),
  })
  const watch = new JobsWatch({
    ...{ store, clock: of.clock },
    lanes: () => expectedOf(loop),
    counts: () => room.counts(),
    delayed: () => room.delayed.size,
    flows: () => room.backlog.flows.values(),
    tenantsMax: () => file().metrics.tenants_max,
  })
  const desk = new JobsDesk({
    room,
    deferLane: (tenant) => deferLane(loop.state, tenant),
    timeoutOf: (lane) => loop.state.lanesByName.get(lane)?.config.timeoutMs ?? 0,
    hash: (body) => createHash('sha256').update(body).digest('base64url'),
    resultSubject: subjects.result,
  })
  bus.subscribe(subjects.peerJob, ({ data }) => {
    const told = peerJob(data)
    if (told === null || told.by === instance) return
    const flow = room.backlog.flow(told)
    if (flow !== null) room.told(flow, told.seq)
  })
  const { provided = null } = of
  const gatherer =
    provided === null || gatherings === undefined
      ? null
      : wireGatherer({ ...of, ...provided, store, gatherings, room, file })
  const kept = of.kept.batches
  const batches = kept === undefined ? null : wireBatches({ ...of, store: kept, jobs: desk })
  return { room, desk, watch, gatherer, batches, operator: jobsOperator(room, desk) }
}

/** What those see of it who watch a scheduler. */
export const seenJobs = ({ watch, desk, batches, gatherer }: WiredJobs): SeenJobs => ({
  read: () => watch.read(),
  batches() {
    const { batches: gatherings, jobs: gathered } = gatherer?.counts() ?? { batches: 0, jobs: 0 }
    return { open: batches?.work.open ?? NONE_OPEN, gatherings, gathered }
  },
  life: (tenant, id) => desk.life(tenant, id),
})

/** Of the time that a lane gives: a job without a deadline of its own then has as much left as it has waited. */
const OLD_PART = 0.5

/** How old the oldest job of each lane may get before it is told. */
const expectedOf = ({ state }: Loop): { lane: string; expectedMs: number }[] =>
  state.lanes.map(({ config: { name, timeoutMs } }) => ({
    lane: name,
    expectedMs: timeoutMs * OLD_PART,
  }))

/** The stored body, read as a request's is; null: the bounds of a body have become narrower since. */
function requestOf(
  job: StoredJob,
  { limits, scheduling }: ConfigFile,
): Omit<Incoming, 'reply' | 'past'> | null {
  const said: Readonly<Record<string, string | undefined>> = {
    [HEADER.version]: job.headers.version,
    [HEADER.beta]: job.headers.beta,
    [HEADER.traceparent]: job.headers.traceparent,
    [HEADER.tracestate]: job.headers.tracestate,
    [HEADER.prefix]: job.prefix,
  }
  const parsed = parseRequest({
    message: { data: job.body, header: (name) => said[name], names: () => [] },
    makeId: () => job.id,
    bytesMax: limits.request_bytes,
    scan: { depthMax: limits.json_depth, valuesMax: limits.json_values },
    prefixes: scheduling.prefix_wait_ms > 0,
    as: 'job',
  })
  if (!parsed.ok) return null
  const { ok: _, job: __, ...request } = parsed
  const { tenant, lane, id, deadlineMs, degrade, maxAttempts } = job
  return { ...request, tenant, lane, id, deadlineMs, degrade, maxAttempts }
}

/** The Message that a stream's events make; null: none. */
function messageOf(events: readonly Uint8Array[]): Uint8Array | null {
  const builder = new MessageBuilder()
  const decoder = new TextDecoder()
  try {
    if (!events.every((event) => builder.take(JSON.parse(decoder.decode(event))))) return null
  } catch {
    return null
  }
  const message = builder.message()
  return message === null ? null : Buffer.from(JSON.stringify(message))
}

interface PeerJob {
  by: string
  lane: string
  tenant: string
  /** Null: not said. */
  seq: number | null
}

function peerJob(data: Uint8Array): PeerJob | null {
  try {
    const said = JSON.parse(new TextDecoder().decode(data)) as Record<string, unknown>
    const { by, lane, tenant } = said
    if (typeof by !== 'string' || !isToken(lane) || !isToken(tenant)) return null
    return { by, lane, tenant, seq: Number.isSafeInteger(said['seq']) ? Number(said['seq']) : null }
  } catch {
    return null
  }
}
