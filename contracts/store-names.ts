/** The only file that names what Headgate keeps in JetStream (wire contract, section Names). Each name ends with
 *  the subject prefix, so that two Headgates on one NATS account keep their things apart. */

export type StoreNames = ReturnType<typeof storeNames>

/** `prefix` is the configuration's `subject_prefix`, already checked against `ids`. */
export const storeNames = (prefix: string) => ({
  /** Buckets of key and value. */
  config: `headgate_config_${prefix}`,
  cache: `headgate_cache_${prefix}`,
  fleet: `headgate_fleet_${prefix}`,
  budgets: `headgate_budgets_${prefix}`,
  gatherings: `headgate_gatherings_${prefix}`,
  batches: `headgate_batches_${prefix}`,
  usage: `headgate_usage_${prefix}`,
  /** Streams of durable jobs. */
  jobs: `HEADGATE_JOBS_${prefix}`,
  results: `HEADGATE_RESULTS_${prefix}`,
  dead: `HEADGATE_DEAD_${prefix}`,
})

/** Where version 0.1.0 kept its settings, whatever the prefix: read where the bucket of the prefix says nothing. */
export const SHARED_CONFIG_BUCKET = 'headgate_config'
