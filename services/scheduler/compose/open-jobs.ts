/** Where durable jobs are kept, if the server keeps anything: asked once, at the start. */
import type { ConfigFile } from '#contracts/config'
import { JOBS_SERVER_MIN, keepsJobs } from '#contracts/job-streams'
import { storeNames } from '#contracts/store-names'
import { subjects } from '#contracts/subjects'
import { natsGatheringStore } from '#scheduler/nats/gathering-store'
import type { BatchStore, Clock, GatheringStore, JobStore, KeptSettings } from '#ports'
import { natsBatchStore } from '#scheduler/nats/batch-store'
import { natsJobStore, type JobStoreOptions } from '#scheduler/nats/job-store'
import { natsSettings } from '#scheduler/nats/settings'

export interface JobsKept {
  store: JobStore
  /** Where instances say that they live. */
  members: KeptSettings
  /** What is noted of batches of the provider's; absent: none is made. */
  gatherings?: GatheringStore
  /** Where batches of them are kept; absent: there are none. */
  batches?: BatchStore
}

const MS = 1_000

/** Null with the reason: nobody answers `submit` then, and requests work as ever. */
export async function openJobs(of: {
  file: ConfigFile
  /** Null: there is no server. */
  connection: JobStoreOptions['connection'] | null
  clock: Clock
}): Promise<{ kept: JobsKept; reason: null } | { kept: null; reason: string }> {
  const { file, connection, clock } = of
  if (!file.jobs.enabled) return { kept: null, reason: 'jobs.enabled is false' }
  if (connection === null) return { kept: null, reason: 'there is no NATS server' }
  const version = connection.info?.version ?? ''
  if (!keepsJobs(version))
    return {
      kept: null,
      reason: `they need nats-server ${JOBS_SERVER_MIN} or later, and this one is ${version}`,
    }
  const names = storeNames(file.subject_prefix)
  const { replicas } = file.jobs
  try {
    const store = await natsJobStore({
      ...{ connection, names, replicas, clock },
      subjects: subjects(file.subject_prefix),
      backlogBytes: file.jobs.backlog_bytes ?? null,
      resultsAgeMs: file.results.max_age * MS,
      deadAgeMs: file.results.dead_max_age * MS,
    })
    const members = await natsSettings({ connection, clock, bucket: names.fleet, replicas })
    const gatherings = await natsGatheringStore({ connection, bucket: names.gatherings, replicas })
    const batches = await natsBatchStore({
      ...{ connection, names, replicas },
      subjects: subjects(file.subject_prefix),
      maxAgeMs: file.batches.max_age * MS,
    })
    return { kept: { store, members, gatherings, batches }, reason: null }
  } catch (error) {
    return { kept: null, reason: error instanceof Error ? error.message : 'no reason given' }
  }
}
