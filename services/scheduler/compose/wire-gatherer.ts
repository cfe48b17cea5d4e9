/** Jobs at half the price, put together: the room's jobs, the notes of gatherings, and the provider's batches. */
import { randomBytes } from 'node:crypto'
import type { Config, ConfigFile } from '#contracts/config'
import type {
  BatchAsk,
  ProviderBatches,
  Clock,
  Dice,
  GatheringStore,
  JobNews,
  JobStore,
  Meter,
  StoredJob,
} from '#ports'
import { BatchJobs } from '#scheduler/jobs/batch-jobs'
import { Gatherer, type GathererLimits } from '#scheduler/jobs/gather'
import type { JobsRoom } from '#scheduler/jobs/room'
import type { Loop } from '#scheduler/loop/loop'

export function wireGatherer(of: {
  batches: ProviderBatches
  store: JobStore
  gatherings: GatheringStore
  room: JobsRoom
  loop: Loop
  clock: Clock
  dice: Dice
  instance: string
  upstream: (name: string) => BatchAsk['upstream']
  file: () => ConfigFile
  news: (news: JobNews) => void
  meter: Meter
}): Gatherer {
  const { room, clock, dice, instance, news } = of
  const { read, words } = room.of
  const config = (): Config => of.loop.state.config
  const jobs = new BatchJobs({
    ...{ store: of.store, clock, instance, room, words, read, news, meter: of.meter },
  })
  const gatherer = new Gatherer({
    ...{ jobs, clock, dice, instance, store: of.gatherings },
    ...{ batches: of.batches, upstream: of.upstream },
    limits: () => limitsOf(of.file()),
    upstreamOf: (model) =>
      config().routes?.find((route) => route.batches && route.model === model)?.upstream ?? null,
    enabled: () => config().routes?.some((route) => route.batches) ?? false,
    mayGather(tenant) {
      const { named, default: unnamed } = config().tenants
      return (named.get(tenant) ?? unnamed).batches
    },
    streams: (job: StoredJob) => read(job)?.stream ?? false,
    dead: (who) => room.members.dead(who),
    makeId: () => randomBytes(8).toString('hex'),
    news: (what, entries) => news({ kind: 'batch', what, entries, job: null }),
    onError: (error) => news({ kind: 'store_error', job: null, error }),
  })
  room.inBatch = (seq) => gatherer.holds(seq)
  return gatherer
}

const S = 1_000

const limitsOf = ({ jobs: { batches: of } }: ConfigFile): GathererLimits => ({
  deadlineMinMs: of.deadline_min * S,
  waitMs: of.wait * S,
  gatherMs: of.gather * S,
  reserveMs: of.reserve * S,
  entriesMax: of.entries_max,
  bytesMax: of.bytes_max,
  pollMaxMs: of.poll_max * S,
  findMs: of.find * S,
  openMax: of.open_max,
  lookPerSecond: of.look_per_second,
})
