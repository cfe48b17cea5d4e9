/** The knobs `jobs.batches`: half the price for jobs that can wait. */
import { z } from 'zod'
import { int } from './knobs.ts'

const HALF_PRICE = 'operations: half price'
const BOUND = 'architecture: nothing grows without a bound'

export const batches = z
  .strictObject({
    deadline_min: int({
      default: 86_400,
      min: 3_600,
      max: 604_800,
      unit: 's',
      why: 'only a job that was given at least so long may wait in a batch: the provider promises one within 24 h',
      source: HALF_PRICE,
    }),
    wait: int({
      default: 600,
      min: 0,
      max: 86_400,
      unit: 's',
      why: 'how long a free slot has to take a job before it is gathered: what there is room for is answered at once',
      source: HALF_PRICE,
    }),
    gather: int({
      default: 300,
      min: 0,
      max: 86_400,
      unit: 's',
      why: 'how long a gathering waits for more jobs of its model, from its first on',
      source: HALF_PRICE,
    }),
    reserve: int({
      default: 21_600,
      min: 60,
      max: 86_400,
      unit: 's',
      why: 'so long before the first of its deadlines a batch is cancelled, and what it has not done goes in line: as long as the line needs for entries_max jobs',
      source: HALF_PRICE,
    }),
    entries_max: int({
      default: 10_000,
      min: 1,
      max: 20_000,
      unit: 'jobs',
      why: 'jobs of one batch; the API takes 100,000, and what is noted of them must fit into one message of NATS',
      source: BOUND,
    }),
    bytes_max: int({
      default: 64_000_000,
      min: 1_000,
      max: 250_000_000,
      unit: 'bytes',
      why: 'bodies of one batch, which are in memory while it is made; the API takes 256 MB',
      source: BOUND,
    }),
    open_max: int({
      default: 20,
      min: 1,
      max: 1_000,
      unit: 'batches',
      why: 'batches of one instance that are not over yet; past it nothing is gathered',
      source: BOUND,
    }),
    look_per_second: int({
      default: 200,
      min: 1,
      max: 100_000,
      unit: 'jobs',
      why: 'how fast the backlog is looked through for jobs that can be gathered',
      source: HALF_PRICE,
    }),
    poll_max: int({
      default: 300,
      min: 1,
      max: 3_600,
      unit: 's',
      why: 'longest wait between two looks at a batch',
      source: HALF_PRICE,
    }),
    find: int({
      default: 600,
      min: 1,
      max: 86_400,
      unit: 's',
      why: "how long the provider's list is looked through for a batch whose create was not answered, before it counts as not made",
      source: HALF_PRICE,
    }),
  })
  .prefault({})
