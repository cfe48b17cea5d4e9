/** The knobs of message batches. */
import { z } from 'zod'
import { int, ms } from './knobs.ts'

export const batchKnobs = z
  .strictObject({
    entries_max: int({
      default: 100_000,
      min: 1,
      max: 100_000,
      unit: 'entries',
      why: 'entries of one batch over HTTP: the API takes as many',
      source: 'the API: message batches',
    }),
    tenant_max: int({
      default: 1_000,
      min: 1,
      max: 100_000,
      unit: 'batches',
      why: 'batches of one tenant that are kept; past it a further one is refused queue_full',
      source: 'architecture: nothing grows without a bound',
    }),
    receive_ms: ms({
      default: 600_000,
      min: 1_000,
      max: 86_400_000,
      why: 'a batch that is still being received and has heard nothing for so long is given up, and what came of it is deleted',
      source: 'architecture: nothing grows without a bound',
    }),
    max_age: int({
      default: 2_505_600,
      min: 3_600,
      max: 31_536_000,
      unit: 's',
      why: 'how long a batch is kept; its results as long as `results.max_age` says',
      source: 'the API: message batches',
      takes: 'restart',
    }),
  })
  .prefault({})
