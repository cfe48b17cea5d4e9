/** The streams of durable jobs, as they are made and as they should be: what JetStream's API takes and says. */
import type { StoreNames } from './store-names.ts'
import type { Subjects } from './subjects.ts'
import type { Millis } from './units.ts'

export interface JobStream {
  name: string
  description: string
  subjects: string[]
  retention: 'limits'
  storage: 'file'
  discard: 'new' | 'old'
  num_replicas: number
  allow_direct: true
  max_msgs_per_subject: 1
  max_msgs: -1
  /** -1: as the server has room. */
  max_bytes?: number
  /** ns. */
  max_age?: number
  republish?: { src: string; dest: string }
}

export interface JobStreamsOf {
  subjects: Subjects
  names: StoreNames
  replicas: number
  /** Null: as the server has room. */
  backlogBytes: number | null
  /** How long results and the dead are kept, ms. */
  resultsAgeMs: Millis
  deadAgeMs: Millis
}

/** Before it a server looks at one lane only where an id is to be new in all of them, and neither counts nor gives
 *  many messages at once. */
export const JOBS_SERVER_MIN = '2.11'

export function keepsJobs(serverVersion: string): boolean {
  const [major = 0, minor = 0] = serverVersion.split('.').map(Number)
  return major > 2 || (major === 2 && minor >= 11)
}

const NS_PER_MS = 1_000_000

export function jobStreams({ subjects, names, ...of }: JobStreamsOf): JobStream[] {
  const { every, doneAsResult } = subjects.stored
  const all = {
    retention: 'limits',
    storage: 'file',
    num_replicas: of.replicas,
    allow_direct: true,
    max_msgs_per_subject: 1,
    max_msgs: -1,
  } as const
  return [
    {
      ...all,
      name: names.jobs,
      description: "Headgate's durable jobs, their claims, and who has any",
      subjects: [every.job, every.claim, every.flow],
      discard: 'new',
      max_bytes: of.backlogBytes ?? -1,
    },
    {
      ...all,
      name: names.results,
      description: 'The results of durable jobs',
      subjects: [every.done],
      discard: 'old',
      max_age: of.resultsAgeMs * NS_PER_MS,
      republish: { src: every.done, dest: doneAsResult },
    },
    {
      ...all,
      name: names.dead,
      description: 'Durable jobs that were given up, with the reason',
      subjects: [every.dead],
      discard: 'old',
      max_age: of.deadAgeMs * NS_PER_MS,
    },
  ]
}
