/** The knobs of durable jobs, `jobs` and `results`. */
import { z } from 'zod'
import { batches } from './config-half-price.ts'
import { ASKED, int, knob, WIRE } from './config-knob.ts'

export const jobs = z
  .strictObject({
    enabled: knob(z.boolean().default(true), {
      why: 'durable jobs are taken where the server has JetStream; false: nobody answers `submit`',
      source: `${WIRE}: A job`,
      takes: 'restart',
    }),
    window: int({
      default: 4,
      min: 1,
      max: 1_000,
      unit: 'jobs',
      why: 'jobs of one tenant and lane that wait in memory for a slot; the rest of its backlog stays in the store. Enough that its queue does not run dry while the next is read',
      source: 'benchmarks: durable jobs',
    }),
    window_total: int({
      default: 10_000,
      min: 1,
      max: 1_000_000,
      unit: 'jobs',
      why: 'jobs that wait in memory, of all tenants; at most half of what a lane may queue is theirs',
      source: 'architecture: nothing grows without a bound',
    }),
    window_bytes: int({
      default: 200_000_000,
      min: 1_000_000,
      max: 100_000_000_000,
      unit: 'bytes',
      why: 'bodies of jobs in memory, waiting and running',
      source: 'architecture: nothing grows without a bound',
    }),
    claims_max: int({
      default: 5,
      min: 1,
      max: 100,
      unit: 'times',
      why: 'how many instances may die while they make a call of a job; then the job is what kills them, and is put aside',
      source: 'benchmarks: durable jobs',
    }),
    delayed_max: int({
      default: 100_000,
      min: 0,
      max: 10_000_000,
      unit: 'jobs',
      why: 'jobs that may not start yet (Headgate-Not-Before-Ms); past it they are refused queue_full',
      source: 'architecture: nothing grows without a bound',
    }),
    flows_max: int({
      default: 100_000,
      min: 1,
      max: 10_000_000,
      unit: 'flows',
      why: 'tenants with jobs, counted once for each lane; past it a further one is refused queue_full',
      source: 'architecture: nothing grows without a bound',
    }),
    places_max: int({
      default: 4_000_000,
      min: 10_000,
      max: 1_000_000_000,
      unit: 'jobs',
      why: 'stored jobs whose places are in memory, 8 bytes each; of more of them only the next are, and the others are looked up when it is their turn',
      source: 'architecture: nothing grows without a bound',
    }),
    submits_max: int({
      default: 1_000,
      min: 1,
      max: 100_000,
      unit: 'jobs',
      why: 'jobs that are being stored at once; past it they are refused queue_full',
      source: 'architecture: nothing grows without a bound',
    }),
    fetches_max: int({
      default: 10_000,
      min: 1,
      max: 1_000_000,
      unit: 'calls',
      why: '`fetch` calls that wait for a result at once; past it they are told `pending` at once',
      source: 'architecture: nothing grows without a bound',
    }),
    sweep_per_second: int({
      default: 2_000,
      min: 1,
      max: 100_000,
      unit: 'jobs',
      why: 'how fast all that is stored is looked through for jobs whose deadline has passed, so that they are told before their turn, and for whatever was left behind',
      source: 'benchmarks: durable jobs',
    }),
    batches,
    replicas: int({
      default: 1,
      min: 1,
      max: 5,
      unit: 'servers',
      why: 'copies of the streams of jobs and results in a NATS cluster; what that protects from is in operations.md',
      source: `${WIRE}: A job`,
      takes: 'restart',
    }),
    backlog_bytes: knob(z.int().min(1_000_000).max(1_000_000_000_000_000).optional(), {
      unit: 'bytes',
      why: "all stored jobs, which NATS reserves; past it a further one is refused queue_full. Absent: what the server's own max_file_store leaves",
      source: 'architecture: nothing grows without a bound',
      takes: 'restart',
    }),
  })
  .prefault({})

export const results = z
  .strictObject({
    max_age: int({
      default: 86_400,
      min: 60,
      max: 31_536_000,
      unit: 's',
      why: 'how long the result of a job is kept',
      source: `${WIRE}: A job`,
      takes: 'restart',
    }),
    dead_max_age: int({
      default: 2_592_000,
      min: 60,
      max: 31_536_000,
      unit: 's',
      why: 'how long a job that was given up is kept for whoever looks into it',
      source: `${ASKED} R16`,
      takes: 'restart',
    }),
  })
  .prefault({})
