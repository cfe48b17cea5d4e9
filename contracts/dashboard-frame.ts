/** One second of a scheduler, whole. */
import { z } from 'zod'
import { REQUEST_STATES } from './outcome.ts'
import { fleetNow, snapshot } from './snapshot.ts'

/** A frame a second. */
export const FRAME_MS = 1_000

/** How often each edge of a chart was taken since the start, in the order of `chart.edges`. */
const edgeCounts = z.array(z.int())

/** One machine of one route. */
const machineNow = z.object({
  /** A `name` of the chart's states; of the breaker, `halfOpen` and `probing` are two. */
  state: z.string(),
  since: z.int(),
  counts: edgeCounts,
})

const laneNow = snapshot.shape.lanes.element.extend({
  /** Of first starts of the last `wait_window_ms`; null: none. */
  wait_p50_ms: z.number().nullable(),
  wait_p95_ms: z.number().nullable(),
})

const routeNow = snapshot.shape.routes.element.extend({
  breaker_machine: machineNow,
  limit_machine: machineNow,
  /** Upstream answers of this status since the start. */
  http_429: z.int(),
  http_529: z.int(),
  attempts: z.int(),
  /** What attempts fail with just now, the most frequent cause: its part of all attempts of the last seconds.
   *  `silent`: no byte in time; `connection`: none was had; `broken`: it broke off; else a status. Null: too few
   *  fail to say so. */
  failing: z.object({ cause: z.string(), part: z.number(), since: z.int() }).nullable(),
})

/** One move of a controller. */
export const transition = z.object({
  /** Counts up by one. */
  seq: z.int(),
  at: z.int(),
  machine: z.enum(['breaker', 'limit']),
  route: z.string(),
  /** States for the breaker (`closed`, `ramp`, `half_open`, `open`); for the limit, numbers as text. */
  from: z.string(),
  to: z.string(),
  reason: z.string(),
})
export type Transition = z.infer<typeof transition>

export const preemption = z.object({
  seq: z.int(),
  at: z.int(),
  tenant: z.string(),
  lane: z.string(),
  id: z.string(),
  route: z.string(),
  wasted_ms: z.int(),
})
export type Preemption = z.infer<typeof preemption>

const alarm = z.object({
  seq: z.int(),
  at: z.int(),
  name: z.string(),
  route: z.string().nullable(),
  detail: z.string(),
})

const dial = z.object({
  name: z.enum(['ratio_429', 'p95_e2e_ms', 'retry_amplification']),
  /** Null: no sample. */
  value: z.number().nullable(),
  bound: z.number(),
  met: z.boolean(),
  /** Since when `met` is what it is. */
  since: z.int(),
})

/** One breach of a guardrail, over or not. */
const breach = z.object({
  name: dial.shape.name,
  value: z.number(),
  bound: z.number(),
  from_at: z.int(),
  /** Null: it lasts. */
  until_at: z.int().nullable(),
  /** Who had most of the 429s, or of the retries, of the last minutes, when it broke. */
  route: z.string().nullable(),
  tenant: z.string().nullable(),
})

/** Whose the 429s of the last minutes are, beside how much of all calls are theirs; largest first, at most five. */
const partsOfCalls = z.array(
  z.object({
    name: z.string(),
    part: z.number(),
    /** Its part of all attempts that ended. */
    of_calls: z.number(),
    /** Its calls meet 429 far more often than the others' do: more than its load explains. */
    concentrated: z.boolean(),
  }),
)

export const frame = z.object({
  at: z.int(),
  /** Counts up by one a second; a gap: frames were missed. */
  seq: z.int(),
  uptime_ms: z.int(),
  draining: z.boolean(),
  emergency: z.boolean(),
  bus: snapshot.shape.bus,
  doors: snapshot.shape.doors,
  global: snapshot.shape.global,
  lanes: z.array(laneNow),
  routes: z.array(routeNow),
  /** The busiest, at most twenty. */
  tenants: snapshot.shape.tenants,
  held: snapshot.shape.held,
  /** Durable jobs, the twenty tenants with most; null: none are kept. */
  jobs: snapshot.shape.jobs,
  /** Why requests wait. */
  waiting: snapshot.shape.waiting,
  /** What holds, and when it began. */
  conditions: snapshot.shape.conditions,
  lifecycle: z.object({
    /** Requests per state of the chart; `settled`: answered, and something is still held. */
    states: z.record(z.enum(REQUEST_STATES), z.int()),
    counts: edgeCounts,
    /** Moves per edge within the last second. */
    flow: edgeCounts,
  }),
  /** Of the last second. */
  rates: z.object({
    accepted: z.int(),
    refused: z.int(),
    settled: z.int(),
    attempts: z.int(),
    retries: z.int(),
    preempted: z.int(),
    http_429: z.int(),
    http_529: z.int(),
    /** Of the settled: with an answer; after attempts or a wait without one (504, 502, 5xx). The rest were
     *  refused or withdrawn. */
    completed: z.int(),
    failed: z.int(),
  }),
  concentration_429: z.object({ count: z.number(), routes: partsOfCalls, tenants: partsOfCalls }),
  guardrails: z.array(dial),
  /** Newest last, at most fifty. */
  breaches: z.array(breach),
  /** The last ones of each machine, newest last; `seq` tells which are new. */
  transitions: z.array(transition),
  preemptions: z.array(preemption),
  alarms: z.array(alarm),
  /** Durable jobs that changed hands without having ended, or were given up: the last of each kind, newest last. */
  job_moves: z.array(
    z.object({
      seq: z.int(),
      at: z.int(),
      what: z.enum(['taken_over', 'returned', 'dead']),
      tenant: z.string(),
      lane: z.string(),
      id: z.string(),
      /** The instance it was taken from, or that put it back; or why it was given up. */
      detail: z.string(),
      /** A call may run twice. */
      ambiguous: z.boolean(),
    }),
  ),
  /** Faults that were set through the dashboard and still last. */
  faults: z.array(
    z.object({
      kind: z.string(),
      model: z.string().nullable(),
      /** Absent: of a recording that does not say. */
      from_at: z.int().optional(),
      until_at: z.int(),
    }),
  ),
  /** The instances that divide the limits; null: it works alone. */
  fleet: fleetNow.nullable(),
  budgets: snapshot.shape.budgets,
  /** Pages connected, and frames that slow ones have missed. */
  readers: z.object({ open: z.int(), skipped: z.int() }),
})
export type Frame = z.infer<typeof frame>
export type FrameRoute = z.infer<typeof routeNow>
export type FrameLane = z.infer<typeof laneNow>
