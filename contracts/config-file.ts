/** Each knob of `headgate.yaml`: schema, default, unit, range, why and source, written once. `config` makes of
 *  it what runs. */
import { z } from 'zod'
import { batches } from './config-batches.ts'
import { batchKnobs } from './batch-knobs.ts'
import { ASKED, int, knob, LAWS, model, ms, real, token, WIRE } from './knobs.ts'
import type { FormerLaneKeys } from './former-keys.ts'
import type { Millis } from './units.ts'

export type { ChangeTakes } from './knobs.ts'

const LONGEST: Millis = 604_800_000

/** Anything wider could reach the server's own subjects, or nobody. */
const REPLY_PREFIX = /^[A-Za-z_][A-Za-z0-9_<>-]*\.([A-Za-z0-9_<>-]+\.)*$/
const REPLY_PREFIX_SHAPE =
  'expected subject tokens that end with a dot, such as _INBOX. or _INBOX_<tenant>.'

// ---- llm_gateway: the operators' emergency block, every key optional ----

const llmGateway = z
  .strictObject({
    timeout_ms: knob(z.int().min(1).max(LONGEST).optional(), {
      unit: 'ms',
      why: 'default deadline of every lane that is not preemptible; absent: each lane its own',
      source: `${WIRE}: Configuration`,
    }),
    max_inflight_global: int({
      default: 60,
      min: 1,
      max: 10_000,
      unit: 'slots',
      why: 'attempts in flight over all routes (G)',
      source: `${LAWS} §1, ${ASKED} R14`,
    }),
    max_inflight_per_tenant: knob(z.int().min(1).max(10_000).optional(), {
      unit: 'slots',
      why: 'one tenant over all lanes and routes; absent: 12, binding only while another tenant has work',
      source: `${LAWS} §1, ${ASKED} R13`,
    }),
    retry: z
      .strictObject({
        max_attempts: knob(z.int().min(1).max(20).optional(), {
          why: 'attempts of one request, the first included; absent: each lane its own',
          source: `${ASKED} R12, R19`,
        }),
        base_backoff_ms: knob(z.int().min(1).max(600_000).optional(), {
          unit: 'ms',
          why: 'first back-off ceiling; absent: each lane its own',
          source: `${LAWS} §11`,
        }),
        cap_backoff_ms: knob(z.int().min(1).max(3_600_000).optional(), {
          unit: 'ms',
          why: 'largest back-off ceiling; absent: each lane its own',
          source: `${LAWS} §11`,
        }),
        last_backoff_ms: knob(z.int().min(0).max(3_600_000).optional(), {
          unit: 'ms',
          why: 'longest wait before the last attempt, which takes up to half of the time left; absent: each lane its own',
          source: `${LAWS} §11`,
        }),
        jitter: knob(z.enum(['full']).default('full'), {
          why: 'callers that fail together must not return together; nothing else does that',
          source: `${ASKED} R2, R10`,
        }),
        buffer_ms: ms({
          default: 0,
          min: 0,
          max: 60_000,
          why: 'added to a retry-after; the full jitter already spreads what it would release at once',
          source: `${ASKED} R3, ${LAWS} §11`,
        }),
        retry_after_max_ms: ms({
          default: 300_000,
          min: 1_000,
          max: 86_400_000,
          why: 'a longer retry-after is cut to this and raises an alarm',
          source: `${LAWS} §2`,
          takes: 'restart',
        }),
        budget_start: int({
          default: 10,
          min: 0,
          max: 10_000,
          unit: 'retries',
          why: 'charged retries a route and lane class may make before any success',
          source: `${LAWS} §11`,
        }),
        budget_max: int({
          default: 50,
          min: 0,
          max: 10_000,
          unit: 'retries',
          why: 'most retries that quiet times save up',
          source: `${LAWS} §11`,
        }),
        budget_per_ok: real({
          default: 0.1,
          min: 0,
          max: 1,
          unit: 'retries',
          why: 'bounds amplification at 1.1 in steady state',
          source: `${LAWS} §11, ${ASKED} R20`,
        }),
        budget_per_minute: int({
          default: 10,
          min: 0,
          max: 10_000,
          unit: 'retries',
          why: 'lets a quiet route try again',
          source: `${LAWS} §11`,
        }),
      })
      .prefault({}),
    circuit_breaker: z
      .strictObject({
        error_rate_threshold: real({
          default: 0.25,
          min: 0.01,
          max: 1,
          why: 'share of failed verdicts in the window above which the breaker opens',
          source: `${ASKED} R15`,
        }),
        window_seconds: int({
          default: 30,
          min: 5,
          max: 300,
          unit: 's',
          why: 'how far back failures count',
          source: `${ASKED} R15`,
        }),
        min_samples: int({
          default: 20,
          min: 1,
          max: 10_000,
          unit: 'verdicts',
          why: 'a rate over fewer is noise',
          source: `${LAWS} §10`,
        }),
        open_seconds: real({
          default: 15,
          min: 10,
          max: 20,
          unit: 's',
          why: 'long enough for an overload to pass; jittered by 20 % so that fleets do not probe together',
          source: `${ASKED} R15, ${LAWS} §10`,
        }),
        half_open_probe_ratio: real({
          default: 0.1,
          min: 0.05,
          max: 0.1,
          why: 'share of the limit that probes a provider that was sick',
          source: `${ASKED} R15`,
        }),
      })
      .prefault({}),
  })
  .prefault({})

// ---- lanes: the columns of control-laws §1 ----

const laneFile = z.strictObject({
  weight: knob(z.number().min(0.001).max(1_000).optional(), {
    why: 'share of the slots against the other lanes of its class',
    source: `${LAWS} §1`,
  }),
  guarantee: knob(z.int().min(0).max(10_000).optional(), {
    unit: 'slots of base',
    why: 'slots that the lane can always claim back; lent while idle',
    source: `${LAWS} §1, ${ASKED} R14`,
  }),
  reserved_slots: knob(z.int().min(0).max(10_000).optional(), {
    unit: 'slots of base',
    why: 'the part of the guarantee never lent; 20 for premium gives a fixed 20/40 split',
    source: `${LAWS} §1, §5`,
  }),
  cap: knob(z.int().min(1).max(10_000).optional(), {
    unit: 'slots of base',
    why: 'most slots that the lane ever has',
    source: `${LAWS} §1, ${ASKED} R14`,
  }),
  preemptible: knob(z.boolean().optional(), {
    why: 'its running work yields to other lanes',
    source: `${LAWS} §7, ${ASKED} R14`,
  }),
  minimum_share: knob(z.int().min(0).max(10_000).optional(), {
    unit: 'slots of base',
    why: 'slots that a preemptible lane keeps under any load',
    source: `${LAWS} §1`,
  }),
  delay_control: knob(z.boolean().optional(), {
    why: 'drops what waited too long in a queue that does not get shorter, and serves the newest first, where a request names no deadline of its own',
    source: `${LAWS} §12`,
  }),
  timeout_ms: knob(z.int().min(1).max(LONGEST).optional(), {
    unit: 'ms',
    why: 'default deadline: queue, attempts, back-off and stream together',
    source: `${LAWS} §1`,
  }),
  max_attempts: knob(z.int().min(1).max(20).optional(), {
    why: 'attempts of one request, the first included',
    source: `${LAWS} §1, ${ASKED} R12`,
  }),
  queue_max: knob(z.int().min(1).max(1_000_000).optional(), {
    unit: 'requests',
    why: 'most requests waiting in the lane, per route',
    source: `${LAWS} §1, §12`,
  }),
  base_backoff_ms: knob(z.int().min(1).max(600_000).optional(), {
    unit: 'ms',
    why: 'first back-off ceiling',
    source: `${LAWS} §11`,
  }),
  cap_backoff_ms: knob(z.int().min(1).max(3_600_000).optional(), {
    unit: 'ms',
    why: 'largest back-off ceiling',
    source: `${LAWS} §11`,
  }),
  last_backoff_ms: knob(z.int().min(0).max(3_600_000).optional(), {
    unit: 'ms',
    why: 'longest wait before the last attempt, which takes up to half of the time left; absent: cap_backoff_ms where that is set, else 13000',
    source: `${LAWS} §11`,
  }),
})

const hashedKey = z.string().min(8).max(512)

const tenantFile = z.strictObject({
  keys: knob(z.array(hashedKey).max(100).default([]), {
    why: 'HTTP keys, as sha256:<hex>; a plain key is accepted with a warning that tells its hash',
    source: `${WIRE}: Configuration`,
    takes: 'file',
  }),
  weight: knob(z.number().min(0.001).max(1_000).default(1), {
    why: 'share against the other tenants of a lane',
    source: `${LAWS} §4`,
  }),
  max_inflight: knob(z.int().min(1).max(10_000).optional(), {
    unit: 'slots',
    why: 'cap of this tenant, always binding',
    source: `${LAWS} §1`,
  }),
  lanes: knob(z.array(token).min(1).optional(), {
    why: 'the lanes it may use; absent: all',
    source: `${WIRE}: Configuration`,
  }),
  batches: knob(z.boolean().default(true), {
    why: "whether its jobs may wait in batches of the provider's, where their route says `batches`",
    source: 'operations: half price',
  }),
})

const tenantsFile = z
  .object({
    unknown: knob(z.enum(['default', 'reject']).default('default'), {
      why: 'what a tenant gets that is not named here',
      source: `${WIRE}: Names`,
    }),
    default: tenantFile.omit({ keys: true }).prefault({}),
  })
  .catchall(tenantFile)
  .prefault({})

/** A name and a password in it would be a secret in a file. */
const baseUrl = z
  .url({ protocol: /^https?$/ })
  .regex(/^[^@]*$/, { error: 'expected an address without a user or password in it' })

const upstreamFile = z.strictObject({
  base_url: knob(baseUrl.default('https://api.anthropic.com'), {
    why: 'where the API answers',
    source: `${WIRE}: Configuration`,
    takes: 'file',
  }),
  api_key_env: knob(
    z
      .string()
      .regex(/^[A-Z_][A-Z0-9_]*$/, { error: 'expected the NAME of an environment variable' })
      .default('ANTHROPIC_API_KEY'),
    {
      why: 'the variable that holds the key; a key never stands in a file',
      source: WIRE,
      takes: 'file',
    },
  ),
  version: knob(
    z
      .string()
      .regex(/^\d{4}-\d\d-\d\d$/)
      .default('2023-06-01'),
    {
      why: 'anthropic-version for callers who send none; this one lets temperature work',
      source: `${WIRE}: A request`,
      takes: 'file',
    },
  ),
})

const rate = (why: string) =>
  knob(z.int().min(1).max(1_000_000_000).optional(), {
    unit: 'per minute',
    why,
    source: `${LAWS} §9`,
  })

const routeFile = z.strictObject({
  model,
  upstream: token.default('default'),
  quota: knob(token.optional(), {
    why: 'routes of one quota share their token buckets; absent: its own',
    source: `${LAWS} §9`,
  }),
  initial: knob(z.int().min(1).max(10_000).optional(), {
    unit: 'slots',
    why: 'the limit at start; absent: concurrency_limit.initial',
    source: `${LAWS} §8`,
  }),
  floor: knob(z.int().min(1).max(8).optional(), {
    unit: 'slots',
    why: 'the limit never falls below; 4 for minor models; absent: concurrency_limit.floor',
    source: `${LAWS} §8`,
  }),
  rpm: rate('requests'),
  itpm: rate('input tokens, cache reads excluded'),
  otpm: rate('output tokens'),
  fallback: knob(z.array(model).max(8).default([]), {
    why: 'models to try instead, for callers that ask for it',
    source: `${LAWS} §13`,
  }),
  batches: knob(z.boolean().default(false), {
    why: "jobs of the model that can wait may go to the provider's Message Batches API, at half the price",
    source: 'operations: half price',
  }),
})

export const configFile = z.strictObject({
  subject_prefix: knob(token.default('llm'), {
    why: 'first token of every subject',
    source: `${WIRE}: Names`,
    takes: 'restart',
  }),
  llm_gateway: llmGateway,
  concurrency_limit: z
    .strictObject({
      mode: knob(z.enum(['default', 'classic']).default('default'), {
        why: 'classic is the plain rule: any throttle, 429 included, shrinks; 429 fails the breaker',
        source: `${LAWS} §8`,
      }),
      initial: int({
        default: 60,
        min: 1,
        max: 10_000,
        unit: 'slots',
        why: 'the limit before anything is known',
        source: `${LAWS} §8`,
      }),
      floor: int({
        default: 8,
        min: 1,
        max: 8,
        unit: 'slots',
        why: 'enough verdicts to notice recovery',
        source: `${LAWS} §8, ${ASKED} R11`,
      }),
      ceiling: int({
        default: 128,
        min: 1,
        max: 10_000,
        unit: 'slots',
        why: 'hard top of any limit',
        source: `${LAWS} §8, ${ASKED} R11`,
      }),
      window_seconds: int({
        default: 30,
        min: 30,
        max: 60,
        unit: 's',
        why: 'healthy time for one step up',
        source: `${ASKED} R11`,
      }),
    })
    .prefault({}),
  scheduling: z
    .strictObject({
      base: int({
        default: 60,
        min: 1,
        max: 10_000,
        unit: 'slots',
        why: "what a lane's slot numbers are parts of",
        source: `${LAWS} §1`,
      }),
      headroom: knob(z.int().min(0).max(10_000).optional(), {
        unit: 'slots of base',
        why: 'slots that preemptible lanes leave free; absent: what the others lately needed at their peak',
        source: `${LAWS} §5`,
      }),
      arbitration: knob(z.enum(['weighted', 'strict']).default('weighted'), {
        why: 'weighted shares by weight; strict serves the heaviest lane first',
        source: `${LAWS} §5`,
      }),
      tenant_queue_share: real({
        default: 0.25,
        min: 0.01,
        max: 1,
        why: 'most of a queue that one tenant may hold while another has requests there',
        source: `${LAWS} §12`,
      }),
      idle_tenants_max: int({
        default: 100_000,
        min: 1,
        max: 10_000_000,
        unit: 'tenants',
        why: 'idle tenants whose debt is remembered, per route and lane; past it the smallest debt is forgotten',
        source: 'decisions/0003',
      }),
      learned_max: int({
        default: 20_000,
        min: 10,
        max: 10_000_000,
        unit: 'tenants',
        why: 'tenants whose token habits are remembered, per model; past it those not seen for longest are forgotten',
        source: `${LAWS} §3`,
      }),
    })
    .prefault({}),
  priors: z
    .strictObject({
      ttft_ms: ms({
        default: 1_000,
        min: 1,
        max: 600_000,
        why: 'time to first token before 20 samples',
        source: `${LAWS} §3`,
      }),
      tokens_per_s: real({
        default: 60,
        min: 0.1,
        max: 100_000,
        unit: 'tokens/s',
        why: 'output speed before 20 samples',
        source: `${LAWS} §3`,
      }),
      output_tokens: int({
        default: 300,
        min: 1,
        max: 1_000_000,
        unit: 'tokens',
        why: 'answer length before 20 samples',
        source: `${LAWS} §3`,
      }),
    })
    .prefault({}),
  preemption: z
    .strictObject({
      check_ms: ms({
        default: 250,
        min: 1,
        max: 60_000,
        why: 'how long a request waits before it may ask a batch attempt to yield',
        source: `${LAWS} §7`,
      }),
      max_per_request: int({
        default: 2,
        min: 0,
        max: 10,
        why: 'a victim twice is a victim no more',
        source: `${LAWS} §7`,
      }),
      credit_start: int({
        default: 50,
        min: 0,
        max: 10_000,
        unit: 'slot-seconds',
        why: 'waste allowed before any success',
        source: `${LAWS} §7`,
      }),
      credit_max: int({
        default: 200,
        min: 0,
        max: 100_000,
        unit: 'slot-seconds',
        why: 'most waste that quiet times save up',
        source: `${LAWS} §7`,
      }),
      waste_ratio: real({
        default: 0.05,
        min: 0,
        max: 1,
        why: 'aborted slot-seconds per useful one',
        source: `${LAWS} §7`,
      }),
    })
    .prefault({}),
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
  limits: z
    .strictObject({
      request_bytes: int({
        default: 33_554_432,
        min: 1_000,
        max: 64_000_000,
        unit: 'bytes',
        why: 'largest body, as the API has it; less where it comes over NATS and the server takes less',
        source: 'decisions/0043',
        takes: 'restart',
      }),
      queued_bytes: int({
        default: 1_000_000_000,
        min: 1_000_000,
        max: 100_000_000_000,
        unit: 'bytes',
        why: 'bodies of all live requests together; past it arrivals are refused queue_full',
        source: 'architecture: nothing grows without a bound',
      }),
      tenant_bytes: int({
        default: 500_000_000,
        min: 1_000,
        max: 100_000_000_000,
        unit: 'bytes',
        why: "bodies of one tenant's live requests; so that no tenant alone can take all of queued_bytes",
        source: 'architecture: nothing grows without a bound',
      }),
      header_bytes: int({
        default: 65_536,
        min: 1_024,
        max: 1_000_000,
        unit: 'bytes',
        why: 'largest headers of a message; more is refused unread',
        source: 'architecture: nothing grows without a bound',
        takes: 'restart',
      }),
      json_depth: int({
        default: 256,
        min: 16,
        max: 1_000,
        unit: 'levels',
        why: 'objects and lists of a body that stand open together; no schema of a tool comes near it',
        source: 'architecture: nothing grows without a bound',
      }),
      json_values: int({
        default: 1_000_000,
        min: 10_000,
        max: 100_000_000,
        unit: 'values',
        why: 'members of all lists and objects of a body; ten for each of the 100,000 messages that the API takes',
        source: 'architecture: nothing grows without a bound',
      }),
      idle_ms: ms({
        default: 60_000,
        min: 10,
        max: 3_600_000,
        why: 'no byte for this long after the first is a hang',
        source: `${LAWS} §2, ${ASKED} R5`,
      }),
      first_byte_max_ms: ms({
        default: 60_000,
        min: 10,
        max: 3_600_000,
        why: "longest wait for a first byte; half the lane's timeout if that is less",
        source: `${LAWS} §2, ${ASKED} R5`,
      }),
    })
    .prefault({}),
  nats: z
    .strictObject({
      reply_prefixes: knob(
        z
          .array(z.string().max(128).regex(REPLY_PREFIX, { error: REPLY_PREFIX_SHAPE }))
          .min(1)
          .max(20)
          .default(['_INBOX.', '_INBOX_<tenant>.', '_R_.']),
        {
          why: 'where an answer may be sent; anything else could reach another tenant or the server itself',
          source: `${WIRE}: An error`,
          takes: 'file',
        },
      ),
      egress_connections: int({
        default: 2,
        min: 1,
        max: 16,
        unit: 'connections',
        why: 'answers are spread over these by tenant, so that one frozen reader does not delay all',
        source: 'nats-server #5394, measured',
        takes: 'restart',
      }),
      ping_ms: ms({
        default: 5_000,
        min: 100,
        max: 5_000,
        why: 'a streamed caller hears a ping at least this often, and a vanished one is noticed',
        source: `${WIRE}: A request`,
        takes: 'file',
      }),
    })
    .prefault({}),
  jobs: z
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
        why: 'how often a job may be begun by an instance that then dies; past it the job is what kills them, and is put aside',
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
        why: 'how fast the backlog is looked through for jobs whose deadline has passed, so that they are told before their turn',
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
    .prefault({}),
  batches: batchKnobs,
  results: z
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
    .prefault({}),
  cache: z
    .strictObject({
      ttl_seconds: int({
        default: 3_600,
        min: 1,
        max: 604_800,
        unit: 's',
        why: 'how old an answer may be that stands in for a refused call',
        source: `${LAWS} §13, ${ASKED} R16`,
        takes: 'restart',
      }),
      answer_bytes: int({
        default: 500_000,
        min: 1_000,
        max: 8_000_000,
        unit: 'bytes',
        why: 'the largest answer that is kept',
        source: 'architecture: nothing grows without a bound',
        takes: 'restart',
      }),
      bytes_max: int({
        default: 100_000_000,
        min: 1_000_000,
        max: 100_000_000_000,
        unit: 'bytes',
        why: 'all kept answers; past it the oldest go',
        source: 'architecture: nothing grows without a bound',
        takes: 'restart',
      }),
      tenant_bytes: int({
        default: 25_000_000,
        min: 1_000,
        max: 100_000_000_000,
        unit: 'bytes',
        why: "one tenant's answers, where they are kept in memory; past it its own oldest go",
        source: 'architecture: nothing grows without a bound',
        takes: 'restart',
      }),
    })
    .prefault({}),
  gateway: z
    .strictObject({
      connections_max: int({
        default: 10_000,
        min: 1,
        max: 100_000,
        unit: 'connections',
        why: 'callers of the HTTP door at once; more are not accepted',
        source: 'architecture: nothing grows without a bound',
        takes: 'restart',
      }),
      upload_bytes: int({
        default: 500_000_000,
        min: 1_000,
        max: 100_000_000_000,
        unit: 'bytes',
        why: 'bodies that are being received, together, and of one tenant a quarter of it; past it they wait unread',
        source: 'architecture: nothing grows without a bound',
      }),
      upload_queued_max: int({
        default: 256,
        min: 0,
        max: 100_000,
        unit: 'bodies',
        why: 'bodies that wait to be received, and of one tenant a quarter of them; past it they are refused queue_full',
        source: 'architecture: nothing grows without a bound',
      }),
      upload_wait_ms: ms({
        default: 10_000,
        min: 0,
        max: 600_000,
        why: 'how long each waits before it is refused queue_full',
        source: 'decisions/0043',
      }),
      batch_bytes: int({
        default: 268_435_456,
        min: 1_000,
        max: 268_435_456,
        unit: 'bytes',
        why: 'the body of one batch: the API takes as many; past it 413',
        source: 'the API: message batches',
      }),
      batches_receiving_max: int({
        default: 8,
        min: 1,
        max: 10_000,
        unit: 'batches',
        why: 'batches that are being received; each holds its names, up to 15 MB, and its largest entry. Past it a further one is refused queue_full',
        source: 'architecture: nothing grows without a bound',
      }),
      job_wait_ms: ms({
        default: 60_000,
        min: 0,
        max: LONGEST,
        why: 'how long `GET /v1/headgate/jobs/<id>?wait=` waits at most: proxies between give up on silence',
        source: 'field practice',
      }),
      stream_buffer_bytes: int({
        default: 4_000_000,
        min: 10_000,
        max: 1_000_000_000,
        unit: 'bytes',
        why: 'what one caller may leave unread; past it the call is ended unless something is read every 5 s',
        source: 'architecture: nothing grows without a bound',
      }),
      buffer_bytes: int({
        default: 256_000_000,
        min: 10_000,
        max: 100_000_000_000,
        unit: 'bytes',
        why: 'what all callers together leave unread; past it the one who leaves most is ended, one who reads nothing first',
        source: 'architecture: nothing grows without a bound',
      }),
      headers_ms: ms({
        default: 10_000,
        min: 100,
        max: 600_000,
        why: "until a request's headers are here; slow senders on purpose are cut",
        source: 'CVE-2007-6750 (slow loris)',
        takes: 'restart',
      }),
      request_ms: ms({
        default: 240_000,
        min: 100,
        max: 3_600_000,
        why: 'until a whole request is here: 32 MB in four minutes are 1 Mbit/s',
        source: 'CVE-2007-6750 (slow loris)',
        takes: 'restart',
      }),
      early_status_ms: ms({
        default: 30_000,
        min: 0,
        max: LONGEST,
        why: 'a streamed call that waited so long hears its 200 and then pings: common clients and proxies give up on silence after 60 to 300 s',
        source: 'field practice',
      }),
      place_ms: ms({
        default: 10_000,
        min: 0,
        max: 600_000,
        why: 'how long a whole call keeps its place whose client gave up on a silence of early_status_ms, for the same call coming back; 0: not at all',
        source: 'decisions/0044',
      }),
      places_max: int({
        default: 1_000,
        min: 0,
        max: 100_000,
        unit: 'calls',
        why: 'places that are kept so; past it they are given up as all others',
        source: 'architecture: nothing grows without a bound',
      }),
      refused_ms: ms({
        default: 5_000,
        min: 0,
        max: 600_000,
        why: 'how long a call that was refused for good is known when its client asks again by itself: it is not tried again then; 0: not at all',
        source: 'decisions/0044',
      }),
      refused_max: int({
        default: 10_000,
        min: 0,
        max: 1_000_000,
        unit: 'calls',
        why: 'refused calls that are known so, a hash each; past it they are not',
        source: 'architecture: nothing grows without a bound',
      }),
      stall_ms: ms({
        default: 60_000,
        min: 100,
        max: 3_600_000,
        why: 'a caller who reads nothing for so long while something waits for it is gone',
        source: 'architecture: nothing grows without a bound',
      }),
      keep_alive_ms: ms({
        default: 65_000,
        min: 0,
        max: 3_600_000,
        why: 'until a connection with nothing to do is closed; longer than the minute of common proxies',
        source: 'field practice',
        takes: 'restart',
      }),
    })
    .prefault({}),
  metrics: z
    .strictObject({
      tenants_max: int({
        default: 200,
        min: 1,
        max: 10_000,
        unit: 'labels',
        why: 'busiest tenants with a label of their own; the rest are `other`',
        source: `${WIRE}: Metrics`,
      }),
    })
    .prefault({}),
  events: z
    .strictObject({
      buffer: int({
        default: 1_000,
        min: 10,
        max: 1_000_000,
        unit: 'events',
        why: 'last events kept in memory for a reader that joins late',
        source: 'architecture: nothing grows without a bound',
        takes: 'restart',
      }),
    })
    .prefault({}),
  guardrails: z
    .strictObject({
      window_seconds: int({
        default: 300,
        min: 10,
        max: 3_600,
        unit: 's',
        why: 'observation window',
        source: `${ASKED} R20`,
      }),
      min_samples: int({
        default: 50,
        min: 1,
        max: 100_000,
        unit: 'requests',
        why: 'fewer say nothing',
        source: `${LAWS} §2`,
      }),
      ratio_429: real({
        default: 0.02,
        min: 0,
        max: 1,
        why: '429 answers per attempt',
        source: `${ASKED} R20`,
      }),
      p95_e2e_ms: int({
        default: 8_000,
        min: 1,
        max: LONGEST,
        unit: 'ms',
        why: 'end to end of lanes that are not preemptible, queue wait included',
        source: `${ASKED} R20`,
      }),
      retry_amplification: real({
        default: 1.3,
        min: 1,
        max: 100,
        why: 'attempts per request that started',
        source: `${ASKED} R20`,
      }),
    })
    .prefault({}),
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
