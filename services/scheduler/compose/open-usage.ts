/** Where rows of usage are kept: with the server where it keeps things, else in this process. */
import type { ConfigFile } from '#contracts/config'
import { storeNames } from '#contracts/store-names'
import { DAY_MS } from '#contracts/usage-report'
import type { Clock, UsageStore } from '#ports'
import { memoryUsageStore } from '#scheduler/memory/usage-store'
import { natsUsageStore, type NatsUsageStoreOptions } from '#scheduler/nats/usage-store'

export async function openUsage(of: {
  file: ConfigFile
  /** Null: there is no server. */
  connection: NatsUsageStoreOptions['connection'] | null
  clock: Clock
}): Promise<UsageStore> {
  const { connection, clock, file } = of
  const { keep_days: keepDays } = file.usage
  if (connection === null) return memoryUsageStore({ keepDays, reason: 'there is no NATS server' })
  try {
    return await natsUsageStore({
      ...{ connection, clock, bucket: storeNames(file.subject_prefix).usage },
      ...{ replicas: file.jobs.replicas, keepMs: keepDays * DAY_MS },
    })
  } catch (error) {
    const reason = error instanceof Error ? error.message : 'no reason given'
    return memoryUsageStore({ keepDays, reason })
  }
}
