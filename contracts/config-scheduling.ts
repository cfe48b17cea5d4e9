/** How the scheduler decides: limit, breaker, retries, lanes, preemption. */
import { z } from 'zod'
import { ASKED, LAWS, LONGEST, WIRE, int, knob, model, ms, real } from './config-knob.ts'

export const llmGateway = z
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
        acting: knob(z.boolean().default(false), {
          why: 'also tries again, or preempts, calls whose tools run at the provider and may have acted already',
          source: `${LAWS} §11`,
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

export const laneFile = z.strictObject({
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
  fast: knob(z.array(model).max(64).optional(), {
    why: 'models whose calls in this lane are sent in fast mode (`speed: fast`), where the body says no speed',
    source: `${LAWS} §23`,
  }),
  service_tier: knob(z.enum(['auto', 'standard_only']).optional(), {
    why: '`service_tier` of its calls, where the body says none; `standard_only` leaves committed capacity to other lanes',
    source: `${LAWS} §23`,
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

export const concurrencyLimitFile = z
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
  .prefault({})

export const schedulingFile = z
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
    prefix_wait_ms: int({
      default: 0,
      min: 0,
      max: 60_000,
      unit: 'ms',
      why: 'longest wait of a call for another one that writes their common prefix to the cache; 0: none waits',
      source: `${LAWS} §22`,
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
  .prefault({})

export const priorsFile = z
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
  .prefault({})

export const preemptionFile = z
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
  .prefault({})
