/** What is wrong with durable jobs, in words. Pure. */
import type { Frame } from '#contracts/dashboard'
import type { Finding } from './finding.ts'
import { duration, number, plural, shortened } from './words.ts'

type Jobs = NonNullable<Frame['jobs']>

/** Null: no durable jobs are kept; absent from older recordings. */
export const jobsOf = (frame: Frame): Jobs | null => (frame as Partial<Frame>).jobs ?? null

/** By what the scheduler says that holds. */
export function jobFindings(frame: Frame): Finding[] {
  const jobs = jobsOf(frame)
  if (jobs === null) return []
  return frame.conditions.flatMap(({ condition, about, since }) => {
    const say = SAID[condition]
    return say === undefined ? [] : [{ ...say(jobs, about ?? ''), since }]
  })
}

type Condition = Frame['conditions'][number]['condition']

const SAID: Partial<Record<Condition, (jobs: Jobs, about: string) => Omit<Finding, 'since'>>> = {
  jobs_store_lost: (jobs) => ({
    kind: 'jobs_store_lost',
    level: 'bad',
    what: 'The store of durable jobs does not answer',
    whom: `who submits a job, and ${plural(jobs.stored, 'job')} that it held when it answered last`,
    doing: 'refusing new jobs, keeping results until they can be stored; requests are served',
  }),
  jobs_store_full: ({ store: { bytes, bytes_max } }) => ({
    kind: 'jobs_store_full',
    level: 'bad',
    what: `The store of durable jobs is full${bytes_max === null ? '' : `: ${megabytes(bytes)} of ${megabytes(bytes_max)}`}`,
    whom: 'who submits a job; those that are there may stand still',
    doing: 'refusing what it cannot store, with queue_full',
  }),
  jobs_dead: ({ dead }) => ({
    kind: 'jobs_dead',
    level: 'warn',
    what: `Durable jobs were given up lately: ${plural(dead.kept, 'dead letter')} kept`,
    whom: 'their owners, who have an error as the result',
    doing: 'keeping each with its reason, for whoever looks into it',
  }),
  jobs_old: ({ lanes }, about) => {
    const lane = lanes.find((one) => one.lane === about)
    return {
      kind: 'jobs_old',
      level: 'warn',
      what: `The oldest job of lane ${shortened(about)} is ${duration(lane?.oldest_ms ?? null)} old`,
      whom: `${plural(lane?.stored ?? 0, 'job')} of the lane`,
      doing: `working through them; expected is ${duration(lane?.expected_ms ?? null)} at most`,
    }
  },
}

export const megabytes = (bytes: number): string => `${number(bytes / 1_000_000)} MB`
