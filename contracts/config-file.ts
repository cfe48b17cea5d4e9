/** Each knob of `headgate.yaml`: schema, default, unit, range, why and source, written once. `config` makes of
 *  it what runs. */
import { z } from 'zod'
import {
  cacheFile,
  eventsFile,
  guardrailsFile,
  limitsFile,
  metricsFile,
  natsFile,
} from './config-bounds.ts'
import { batches } from './config-batches.ts'
import { fleetFile } from './config-fleet.ts'
import { gatewayFile } from './config-door.ts'
import { jobs, results } from './config-jobs.ts'
import { LAWS, WIRE, int, knob, ms, token, type ChangeTakes } from './config-knob.ts'
import {
  concurrencyLimitFile,
  laneFile,
  llmGateway,
  preemptionFile,
  priorsFile,
  schedulingFile,
} from './config-scheduling.ts'
import { pricesFile, usageFile } from './config-money.ts'
import { routeFile, tenantsFile, upstreamFile, type tenantFile } from './config-who.ts'
import type { FormerLaneKeys } from './former-keys.ts'

export type { ChangeTakes }

export const configFile = z.strictObject({
  subject_prefix: knob(token.default('llm'), {
    why: 'first token of every subject',
    source: `${WIRE}: Names`,
    takes: 'restart',
  }),
  llm_gateway: llmGateway,
  concurrency_limit: concurrencyLimitFile,
  scheduling: schedulingFile,
  priors: priorsFile,
  preemption: preemptionFile,
  lanes: knob(z.record(token, laneFile).optional(), {
    why: 'absent: premium, interactive and batch; those named here are added, or change them',
    source: `${LAWS} §1`,
  }),
  tenants: tenantsFile,
  upstreams: z.record(token, upstreamFile).prefault({ default: {} }),
  routes: knob(z.array(routeFile).max(1_000).optional(), {
    why: 'absent: each model asked for gets its own route on the one upstream',
    source: `${WIRE}: Configuration`,
  }),
  routes_max: int({
    default: 50,
    min: 1,
    max: 1_000,
    unit: 'routes',
    why: 'routes made on demand; past it the idle one longest without a success gives way',
    source: `${WIRE}: Configuration`,
  }),
  prices: pricesFile,
  usage: usageFile,
  limits: limitsFile,
  nats: natsFile,
  fleet: fleetFile,
  jobs,
  results,
  batches,
  cache: cacheFile,
  gateway: gatewayFile,
  metrics: metricsFile,
  events: eventsFile,
  guardrails: guardrailsFile,
  aux_inflight_max: int({
    default: 16,
    min: 1,
    max: 1_000,
    unit: 'calls',
    why: 'count_tokens calls at once, and as many models calls; one tenant never holds them all',
    source: `${WIRE}: Names`,
  }),
  aux_queued_max: int({
    default: 512,
    min: 0,
    max: 100_000,
    unit: 'calls',
    why: 'of each kind may wait for a place, one tenant in at most half of them',
    source: `${WIRE}: Names`,
  }),
  aux_queued_bytes: int({
    default: 64_000_000,
    min: 0,
    max: 10_000_000_000,
    unit: 'bytes',
    why: 'bodies of those that wait, of each kind; one body may always',
    source: `${WIRE}: Names`,
  }),
  aux_wait_ms: ms({
    default: 10_000,
    min: 0,
    max: 20_000,
    why: 'how long one waits for a place before it is refused',
    source: `${WIRE}: Names`,
  }),
  aux_timeout_ms: ms({
    default: 30_000,
    min: 100,
    max: 40_000,
    why: 'the answer of the upstream is here by then: a count takes a fraction of a second',
    source: `${WIRE}: Names`,
  }),
  settled_max: int({
    default: 10_000,
    min: 0,
    max: 1_000_000,
    unit: 'ids',
    why: 'ended ids that status and cancel still know',
    source: `${WIRE}: Names`,
  }),
  settled_ms: ms({
    default: 60_000,
    min: 0,
    max: 3_600_000,
    why: 'how long they are known',
    source: `${WIRE}: Names`,
  }),
  drain_ms: ms({
    default: 30_000,
    min: 0,
    max: 3_600_000,
    why: 'running requests may end within this at shutdown',
    source: `${WIRE}: An error`,
  }),
})

export type ConfigFile = z.infer<typeof configFile>

/** What a file may say before defaults stand in it. */
export type ConfigInput = Omit<z.input<typeof configFile>, 'tenants' | 'lanes'> & {
  lanes?: Record<string, z.input<typeof laneFile> & FormerLaneKeys> | undefined
  tenants?: {
    unknown?: 'default' | 'reject'
    default?: Omit<TenantInput, 'keys'>
    [tenant: string]: TenantInput | 'default' | 'reject' | undefined
  }
}
type TenantInput = z.input<typeof tenantFile>
