/** What runs: the complete `Config` that `resolve` makes of a file, and what may not stand together in one. */
import { routeId, routeKey, TOKEN, TOKEN_SHAPE } from './ids.ts'
import { configFile, type ChangeTakes, type ConfigFile, type ConfigInput } from './config-file.ts'
import { tenantLimits, type TenantLimits } from './tenant-limits.ts'
import { pricesInForce } from './default-prices.ts'
import type { Prices } from './prices.ts'
import type { TenantLimitsFile } from './config-money.ts'
import type { Millis } from './units.ts'

export { configFile, type ChangeTakes, type ConfigFile, type ConfigInput }

type RouteFile = NonNullable<ConfigFile['routes']>[number]

export interface LaneConfig {
  name: string
  weight: number
  guarantee: number
  reservedSlots: number
  cap: number
  /** The cap was configured, and binds; else a preemptible lane may have what the others lately left. */
  capBinds: boolean
  preemptible: boolean
  /** Models that it asks in fast mode. */
  fast: readonly string[]
  /** Null: as each body says. */
  serviceTier: 'auto' | 'standard_only' | null
  minimumShare: number
  timeoutMs: Millis
  maxAttempts: number
  queueMax: number
  delayControl: boolean
  retryBaseMs: Millis
  retryCapMs: Millis
  /** Longest wait before the last attempt. */
  retryLastMs: Millis
}

export interface TenantConfig {
  weight: number
  /** Null: the shared default of 12, binding only while another tenant has work. */
  maxInflight: number | null
  /** Null: all lanes. */
  lanes: readonly string[] | null
  /** Its jobs may wait in the provider's batches. */
  batches: boolean
  /** What it may use; null: as much as it gets. */
  limits: TenantLimits | null
}

export interface RouteConfig {
  model: string
  /** Of its calls in fast mode. */
  fast: boolean
  upstream: string
  quota: string | null
  initial: number
  floor: number
  rpm: number | null
  itpm: number | null
  otpm: number | null
  fallback: readonly string[]
  /** Jobs of the model may go to the provider's batches. */
  batches: boolean
}

export interface Config {
  file: ConfigFile
  emergency: boolean
  lanes: readonly LaneConfig[]
  tenants: {
    unknown: 'default' | 'reject'
    default: TenantConfig
    named: ReadonlyMap<string, TenantConfig>
  }
  prices: Prices
  /** A configured `max_inflight_per_tenant`, always binding; null: the default. */
  tenantCap: number | null
  maxInflight: number
  breaker: {
    threshold: number
    windowMs: Millis
    minSamples: number
    openMs: Millis
    probeRatio: number
  }
  /** Null: routes are made on demand on the one upstream. */
  routes: readonly RouteConfig[] | null
  /** Settings of a route made on demand. */
  routeDefaults: Omit<RouteConfig, 'model'>
}

/** The default per-tenant cap, binding only while another tenant has work (control-laws §1). */
export const SHARED_TENANT_CAP = 12

/** Shipped lanes: control-laws §1. */
const shippedLanes: readonly LaneConfig[] = [
  lane('premium', { weight: 8, guarantee: 20, cap: 60 }),
  lane('interactive', { weight: 4, cap: 60 }),
  lane('batch', {
    weight: 1,
    cap: 15,
    preemptible: true,
    minimumShare: 2,
    timeoutMs: 86_400_000,
    maxAttempts: 5,
    queueMax: 20_000,
    retryBaseMs: 1_000,
    retryCapMs: 32_000,
  }),
]

function lane(name: string, own: Partial<LaneConfig>): LaneConfig {
  const plain = {
    guarantee: 0,
    reservedSlots: 0,
    cap: 60,
    capBinds: false,
    preemptible: false,
    fast: [],
    serviceTier: null,
    minimumShare: 0,
    weight: 1,
  }
  const times = { timeoutMs: 300_000, maxAttempts: 3, queueMax: 1_000, delayControl: false }
  const backoff = { retryBaseMs: 250, retryCapMs: 2_500, retryLastMs: 13_000 }
  return { name, ...plain, ...times, ...backoff, ...own }
}

/** The operators' emergency block (docs/requirements.md R19), in the words of the file. Where it is on, the lower of its
 *  number and the configured one is in force. */
export const EMERGENCY = {
  timeout_ms: 8_000,
  max_inflight_global: 48,
  max_inflight_per_tenant: 12,
  retry: { max_attempts: 3, base_backoff_ms: 250, cap_backoff_ms: 2_500 },
  circuit_breaker: { error_rate_threshold: 0.25, open_seconds: 15, half_open_probe_ratio: 0.1 },
} as const

/** Builds what runs. Gives contradictions as `path: what, and what is allowed`; then nothing runs. */
export function resolve(
  file: ConfigFile,
  options: { emergency?: boolean } = {},
): { config: Config; contradictions: string[] } {
  const emergency = options.emergency ?? false
  const gateway = file.llm_gateway
  const block = emergency
    ? {
        ...lower(gateway, EMERGENCY),
        retry: lower(gateway.retry, EMERGENCY.retry),
        circuit_breaker: lower(gateway.circuit_breaker, EMERGENCY.circuit_breaker),
      }
    : gateway
  const lanes = resolveLanes(file, block, emergency)
  const routeDefaults = {
    upstream: Object.keys(file.upstreams)[0] ?? 'default',
    fast: false,
    quota: null,
    initial: file.concurrency_limit.initial,
    floor: Math.min(file.concurrency_limit.floor, file.concurrency_limit.initial),
    rpm: null,
    itpm: null,
    otpm: null,
    fallback: [],
    batches: false,
  }
  const named = new Map<string, TenantConfig>()
  for (const [name, tenant] of Object.entries(file.tenants)) {
    if (name === 'unknown' || name === 'default' || typeof tenant === 'string') continue
    named.set(name, tenantConfig(tenant, emergency))
  }
  const config: Config = {
    file,
    emergency,
    lanes,
    tenants: {
      unknown: file.tenants.unknown,
      default: tenantConfig(file.tenants.default, emergency),
      named,
    },
    prices: pricesInForce(file.prices),
    tenantCap: block.max_inflight_per_tenant ?? null,
    maxInflight: block.max_inflight_global,
    breaker: {
      threshold: block.circuit_breaker.error_rate_threshold,
      windowMs: file.llm_gateway.circuit_breaker.window_seconds * 1_000,
      minSamples: file.llm_gateway.circuit_breaker.min_samples,
      openMs: Math.round(block.circuit_breaker.open_seconds * 1_000),
      probeRatio: block.circuit_breaker.half_open_probe_ratio,
    },
    routes: file.routes?.map((route) => routeConfig(route, routeDefaults)) ?? null,
    routeDefaults,
  }
  return { config, contradictions: contradictions(config) }
}

/** Of each number of the block the lower one: a switch for emergencies never allows more than there was. */
function lower<Own extends object, Block extends { readonly [K in keyof Block]: unknown }>(
  own: Own,
  block: Block,
): Own {
  const lowered = { ...own } as Record<string, unknown>
  for (const [key, most] of Object.entries(block)) {
    const said = lowered[key]
    if (typeof most === 'number')
      lowered[key] = typeof said === 'number' ? Math.min(said, most) : most
  }
  return lowered as Own
}

const tenantConfig = (
  of: {
    weight: number
    max_inflight?: number | undefined
    lanes?: string[] | undefined
    batches: boolean
    limits?: TenantLimitsFile | undefined
  },
  emergency: boolean,
): TenantConfig => ({
  weight: of.weight,
  maxInflight: emergency
    ? Math.min(of.max_inflight ?? Infinity, EMERGENCY.max_inflight_per_tenant)
    : (of.max_inflight ?? null),
  lanes: of.lanes ?? null,
  batches: of.batches,
  limits: of.limits === undefined ? null : tenantLimits(of.limits),
})

const routeConfig = (of: RouteFile, defaults: Omit<RouteConfig, 'model'>): RouteConfig => ({
  model: of.model,
  fast: of.fast,
  upstream: of.upstream,
  quota: of.quota ?? null,
  initial: of.initial ?? defaults.initial,
  floor: of.floor ?? Math.min(defaults.floor, of.initial ?? defaults.initial),
  rpm: of.rpm ?? null,
  itpm: of.itpm ?? null,
  otpm: of.otpm ?? null,
  fallback: of.fallback,
  batches: of.batches,
})

type Block = {
  timeout_ms?: number | undefined
  retry: {
    max_attempts?: number | undefined
    base_backoff_ms?: number | undefined
    cap_backoff_ms?: number | undefined
    last_backoff_ms?: number | undefined
  }
}

/** `lanes.<name>` wins over `llm_gateway`; with the emergency switch on, the lower number does. */
function resolveLanes(file: ConfigFile, block: Block, emergency: boolean): LaneConfig[] {
  const own = file.lanes ?? {}
  const shipped = new Map(shippedLanes.map((one) => [one.name, one]))
  const names = [...new Set([...shipped.keys(), ...Object.keys(own)])]
  return names.map((name) => {
    const base = shipped.get(name) ?? lane(name, { cap: file.scheduling.base })
    const said = own[name] ?? {}
    const preemptible = said.preemptible ?? base.preemptible
    const pick = (lanes: number | undefined, gateway: number | undefined, fallback: number) =>
      emergency
        ? gateway === undefined
          ? (lanes ?? fallback)
          : Math.min(gateway, lanes ?? fallback)
        : (lanes ?? gateway ?? fallback)
    const capMs = pick(said.cap_backoff_ms, block.retry.cap_backoff_ms, base.retryCapMs)
    return {
      name,
      weight: said.weight ?? base.weight,
      guarantee: said.guarantee ?? base.guarantee,
      reservedSlots: said.reserved_slots ?? base.reservedSlots,
      cap: said.cap ?? base.cap,
      capBinds: said.cap !== undefined,
      preemptible,
      fast: said.fast ?? base.fast,
      serviceTier: said.service_tier ?? base.serviceTier,
      minimumShare: said.minimum_share ?? base.minimumShare,
      timeoutMs: pick(said.timeout_ms, preemptible ? undefined : block.timeout_ms, base.timeoutMs),
      maxAttempts: pick(said.max_attempts, block.retry.max_attempts, base.maxAttempts),
      queueMax: said.queue_max ?? base.queueMax,
      delayControl: said.delay_control ?? base.delayControl,
      retryBaseMs: pick(said.base_backoff_ms, block.retry.base_backoff_ms, base.retryBaseMs),
      retryCapMs: capMs,
      // Who says how long a back-off may be means the last one too.
      retryLastMs: pick(
        said.last_backoff_ms ?? said.cap_backoff_ms,
        block.retry.last_backoff_ms ?? block.retry.cap_backoff_ms,
        base.retryLastMs,
      ),
    }
  })
}

function contradictions(config: Config): string[] {
  const found: string[] = []
  const base = config.file.scheduling.base
  const sum = config.lanes.reduce((total, one) => total + one.guarantee, 0)
  if (sum > base)
    found.push(`lanes: the guarantees add up to ${sum}; at most scheduling.base = ${base}`)
  for (const one of config.lanes) {
    const at = `lanes.${one.name}`
    if (one.reservedSlots > one.guarantee)
      found.push(
        `${at}.reserved_slots: ${one.reservedSlots} is more than its guarantee, ${one.guarantee}`,
      )
    if (one.guarantee > one.cap)
      found.push(`${at}.guarantee: ${one.guarantee} is more than its cap, ${one.cap}`)
    if (one.minimumShare > one.cap)
      found.push(`${at}.minimum_share: ${one.minimumShare} is more than its cap, ${one.cap}`)
    if (one.preemptible && (one.guarantee > 0 || one.reservedSlots > 0))
      found.push(`${at}: a preemptible lane has no guarantee and no reserved slots`)
    if (!one.preemptible && one.minimumShare > 0)
      found.push(`${at}.minimum_share: only a preemptible lane has one`)
    if (one.retryBaseMs > one.retryCapMs)
      found.push(
        `${at}.base_backoff_ms: ${one.retryBaseMs} is more than its cap_backoff_ms, ${one.retryCapMs}`,
      )
  }
  const { reserve, deadline_min: least } = config.file.jobs.batches
  if (2 * reserve > least)
    found.push(
      `jobs.batches.reserve: ${reserve} is more than half of jobs.batches.deadline_min, ${least}`,
    )
  const limit = config.file.concurrency_limit
  if (limit.initial > limit.ceiling)
    found.push(
      `concurrency_limit.initial: ${limit.initial} is more than the ceiling, ${limit.ceiling}`,
    )
  const laneNames = new Set(config.lanes.map((one) => one.name))
  const lanes = listed([...laneNames])
  const tenants = [...config.tenants.named, ['default', config.tenants.default] as const]
  for (const [name, tenant] of tenants) {
    if (!TOKEN.test(name)) found.push(`tenants.${name}: expected ${TOKEN_SHAPE}`)
    for (const used of tenant.lanes ?? [])
      if (!laneNames.has(used))
        found.push(`tenants.${name}.lanes: no lane ${used}; there are ${lanes}`)
  }
  found.push(...routeContradictions(config))
  return found
}

function routeContradictions(config: Config): string[] {
  const found: string[] = []
  const seen = new Set<string>()
  const ids = new Map<string, string>()
  const upstreams = listed(Object.keys(config.file.upstreams))
  const models = new Set(
    (config.routes ?? []).filter(({ fast }) => !fast).map(({ model }) => model),
  )
  for (const [index, route] of (config.routes ?? []).entries()) {
    const at = `routes.${index}`
    if (!Object.hasOwn(config.file.upstreams, route.upstream))
      found.push(`${at}.upstream: no upstream ${route.upstream}; there are ${upstreams}`)
    if (route.initial > config.file.concurrency_limit.ceiling)
      found.push(`${at}.initial: ${route.initial} is more than concurrency_limit.ceiling`)
    if (route.floor > route.initial)
      found.push(`${at}.floor: ${route.floor} is more than its initial, ${route.initial}`)
    const name = routeKey(route.model, route.fast)
    const id = routeId(route)
    if (seen.has(name)) found.push(`${at}.model: ${name} has a route already`)
    else if (ids.has(id))
      found.push(
        `${at}.model: its route id, ${id}, is that of ${ids.get(id)}; name its upstream otherwise`,
      )
    seen.add(name)
    ids.set(id, name)
    if (route.fast) found.push(...fastContradictions(at, route, models))
    for (const [place, other] of route.fallback.entries()) {
      if (!models.has(other)) found.push(`${at}.fallback: no route serves ${other}`)
      if (other === route.model)
        found.push(`${at}.fallback: ${other} is the model itself; expected other models`)
      if (route.fallback.indexOf(other) < place)
        found.push(`${at}.fallback: ${other} stands twice; keep one`)
    }
  }
  return found
}

/** It is beside the usual route of its model. */
function fastContradictions(at: string, route: RouteConfig, models: ReadonlySet<string>): string[] {
  const found: string[] = []
  if (!models.has(route.model))
    found.push(`${at}.fast: ${route.model} needs a route without fast too, for its other calls`)
  if (route.fallback.length > 0)
    found.push(`${at}.fallback: expected at the route of ${route.model} without fast`)
  return found
}

/** More names than these help nobody. */
const LISTED_MAX = 20
const listed = (names: readonly string[]): string =>
  names.length <= LISTED_MAX
    ? names.join(', ')
    : `${names.slice(0, LISTED_MAX).join(', ')} and ${names.length - LISTED_MAX} more`

/** The configuration of nothing but defaults. */
export const defaultConfig = (): Config => resolve(configFile.parse({})).config
