/** A configuration at random: any that the schema allows and that a person could mean. What would by its own
 *  words serve nobody (a lane that holds every slot, a timeout below the service) is not drawn. */
import { configFile, resolve, type Config, type ConfigInput } from '#contracts/config'
import type { Millis, Seconds, Tokens } from '#contracts/units'
import type { Throws } from './throws.ts'

/** What the callers of this world need, so that numbers fit their work. */
export interface Needs {
  models: readonly string[]
  /** Lanes beside the shipped ones. */
  lanes: readonly string[]
  tenants: readonly string[]
  /** Mean of the longest kind of call. */
  service: Seconds
  inputTokens: Tokens
  outputTokens: Tokens
  /** That the provider serves at once, and per second. */
  slots: number
  perSecond: number
}

type LaneInput = NonNullable<ConfigInput['lanes']>[string]
type RouteInput = NonNullable<ConfigInput['routes']>[number]

/** Tries again while parts contradict each other. */
export function randomConfig(dice: Throws, needs: Needs): Config {
  for (let tries = 0; tries < 100; tries++) {
    const file = configFile.parse(plain(randomFile(dice, needs)))
    const { config, contradictions } = resolve(file, { emergency: dice.chance(0.1) })
    if (contradictions.length === 0) return config
  }
  throw new Error('no configuration without contradictions in 100 tries')
}

/** Keys without a value are no keys. */
const plain = (tree: unknown): unknown => JSON.parse(JSON.stringify(tree))

function randomFile(dice: Throws, needs: Needs): object {
  const base = dice.chance(0.7) ? 60 : dice.int(1, 120)
  const initial = dice.logInt(1, 100)
  // A floor above what the provider serves would be a fault that never ends.
  const floor = Math.min(8, needs.slots, dice.chance(0.6) ? 8 : dice.int(1, 8))
  return {
    llm_gateway: gateway(dice, needs),
    concurrency_limit: dice.chance(0.3)
      ? { floor }
      : {
          initial,
          floor,
          ceiling:
            dice.maybe(0.5, () => initial + dice.logInt(1, 200) - 1) ?? Math.max(initial, 128),
          window_seconds: dice.maybe(0.3, () => dice.int(30, 60)),
        },
    scheduling: {
      base,
      headroom: dice.maybe(0.3, () => dice.int(0, Math.ceil(base / 4))),
      arbitration: dice.maybe(0.2, () => 'strict'),
      tenant_queue_share: dice.maybe(0.2, () => dice.log(0.01, 1)),
    },
    priors: dice.maybe(0.3, () => ({
      ttft_ms: Math.round(dice.log(1, 10_000)),
      tokens_per_s: dice.log(6, 600),
      output_tokens: dice.logInt(1, 10 * needs.outputTokens),
    })),
    preemption: dice.maybe(0.2, () => ({
      check_ms: dice.logInt(1, 5_000),
      max_per_request: dice.int(0, 5),
      credit_start: dice.int(0, 500),
      credit_max: dice.int(0, 1_000),
      waste_ratio: dice.real(0, 1),
    })),
    lanes: lanes(dice, needs, base),
    tenants: tenants(dice, needs),
    upstreams: { default: {}, second: {} },
    routes: dice.maybe(0.6, () => routes(dice, needs)),
  }
}

function gateway(dice: Throws, needs: Needs): NonNullable<ConfigInput['llm_gateway']> | object {
  return {
    timeout_ms: dice.maybe(0.2, () => patience(dice, needs)),
    max_inflight_global: dice.maybe(0.7, () => dice.logInt(1, 100)),
    max_inflight_per_tenant: dice.maybe(0.3, () => dice.logInt(1, 30)),
    retry: dice.maybe(0.4, () => ({
      max_attempts: dice.maybe(0.5, () => dice.int(1, 8)),
      buffer_ms: dice.maybe(0.3, () => dice.int(0, 2_000)),
      budget_start: dice.maybe(0.5, () => dice.int(0, 20)),
      budget_max: dice.maybe(0.5, () => dice.int(1, 60)),
      budget_per_ok: dice.maybe(0.5, () => dice.real(0, 0.5)),
      budget_per_minute: dice.maybe(0.5, () => dice.int(1, 20)),
    })),
    circuit_breaker: dice.maybe(0.4, () => ({
      error_rate_threshold: dice.log(0.1, 1),
      window_seconds: dice.int(5, 300),
      min_samples: dice.logInt(1, 100),
      open_seconds: dice.real(10, 20),
      half_open_probe_ratio: dice.real(0.05, 0.1),
    })),
  }
}

/** Long enough for calls of this world, save their very longest. */
const patience = (dice: Throws, { service }: Needs): Millis =>
  Math.round(1_000 * dice.log(20 * service + 5, 3_600))

const SHIPPED = ['premium', 'interactive', 'batch'] as const

function lanes(dice: Throws, needs: Needs, base: number): Record<string, LaneInput> {
  const names = [...SHIPPED, ...needs.lanes.filter(() => dice.chance(0.8))]
  // What the shipped premium lane guarantees does not fit every base.
  let left = base
  let held = Math.floor(0.8 * base)
  const all: Record<string, LaneInput> = {}
  for (const name of names) {
    const preemptible =
      name === 'batch' ? !dice.chance(0.1) : dice.chance(name === 'premium' ? 0.05 : 0.25)
    const shippedGuarantee = name === 'premium' && !preemptible ? 20 : 0
    const guarantee = preemptible
      ? 0
      : dice.chance(0.5) && shippedGuarantee <= left
        ? shippedGuarantee
        : dice.int(0, Math.floor(left / 2))
    const reserved = preemptible || dice.chance(0.6) ? 0 : dice.int(0, Math.min(guarantee, held))
    left -= guarantee
    held -= reserved
    const cap = dice.maybe(0.4, () => dice.int(Math.max(1, guarantee), Math.max(1, 2 * base)))
    const minimum = preemptible ? dice.int(0, Math.min(10, cap ?? 10)) : 0
    all[name] = plain({
      weight: dice.maybe(0.5, () => dice.log(0.1, 50)),
      guarantee,
      reserved_slots: reserved,
      cap: cap ?? (guarantee > 60 ? guarantee : undefined),
      preemptible,
      minimum_share:
        name === 'batch' && preemptible && dice.chance(0.5) ? Math.min(2, cap ?? 2) : minimum,
      delay_control: dice.maybe(0.15, () => true),
      timeout_ms: dice.maybe(0.4, () => patience(dice, needs)),
      max_attempts: dice.maybe(0.3, () => dice.int(1, 8)),
      queue_max: dice.maybe(0.5, () => dice.logInt(1, 2_000)),
      ...backoff(dice),
    }) as LaneInput
  }
  return all
}

function backoff(dice: Throws): LaneInput {
  const base = dice.logInt(1, 5_000)
  const cap = dice.logInt(base, 60_000)
  const last = dice.int(0, 20_000)
  return dice.chance(0.7)
    ? {}
    : {
        base_backoff_ms: base,
        cap_backoff_ms: cap,
        ...(dice.chance(0.5) ? { last_backoff_ms: last } : {}),
      }
}

function tenants(dice: Throws, needs: Needs): object {
  const named = needs.tenants.filter(() => dice.chance(0.2))
  return Object.fromEntries(
    named.map((name) => [
      name,
      {
        weight: dice.maybe(0.7, () => dice.log(0.1, 20)),
        max_inflight: dice.maybe(0.3, () => dice.logInt(1, 20)),
      },
    ]),
  )
}

/** Limits from a fifth of what the provider could serve to five times that. */
function routes(dice: Throws, needs: Needs): RouteInput[] {
  const shared = dice.chance(0.4)
  const perMinute = (each: number): number =>
    Math.max(1, Math.round(60 * needs.perSecond * each * dice.log(0.2, 5)))
  const models = needs.models.filter((_, i) => i === 0 || dice.chance(0.9))
  return models.map((model) => ({
    model,
    upstream: dice.chance(0.2) ? 'second' : 'default',
    quota: shared ? 'shared' : undefined,
    initial: dice.maybe(0.3, () => dice.logInt(1, 60)),
    floor: dice.maybe(0.2, () => 1),
    rpm: dice.maybe(0.3, () => Math.max(6, perMinute(1))),
    itpm: dice.maybe(0.2, () => Math.max(needs.inputTokens, perMinute(needs.inputTokens))),
    otpm: dice.maybe(0.2, () => Math.max(needs.outputTokens, perMinute(needs.outputTokens))),
  })) as RouteInput[]
}
