/** What the dashboard's page gets from its server, and what it may ask.
 *
 *  `GET /api/feed` is a stream of server-sent events: one `hello`, then a `frame` a second. A reader that is
 *  too slow misses frames, never parts of one: each frame is whole, and every count in it is since the start
 *  of the process, so a difference between any two frames is right. `GET /api/history` gives what was before.
 *  Times called `at`, `since`, `from_at` and the like are wall time in milliseconds since 1970; durations end
 *  in `_ms`. Names of tenants, lanes and models are other people's text: show them as text.
 *
 *  `/` is the page folder's `index.html`. Its other files stand under `/page/`: every `*.css`, and every
 *  `*.ts` as `*.js`, types taken out and `./x.ts` in its imports turned into `./x.js`; a page module imports
 *  `./` and nothing else, but for types. `/vendor/uplot.js` is uPlot as a classic script (`window.uPlot`),
 *  `/vendor/uplot.css` its styles. Nothing inline runs: scripts and styles come from files, and an element's
 *  style is set by script. An error answer is `apiError`. */
import { z } from 'zod'
import { OUTCOMES, REQUEST_STATES } from './outcome.ts'
import { fleetNow, snapshot } from './snapshot.ts'
import { waitReason } from './waiting.ts'

/** A frame a second. */
export const FRAME_MS = 1_000

// ---- charts ----

export const CHART_NAMES = ['breaker', 'limit', 'lifecycle'] as const
export type ChartName = (typeof CHART_NAMES)[number]

/** One machine as data and as a drawing; the same ids in both. */
export const chart = z.object({
  name: z.enum(CHART_NAMES),
  title: z.string(),
  /** Without a `<style>`: the page's own speaks of `.headgate-chart .paper`, `.state`, `.state .name`,
   *  `.state .start`, `.edge`, `.hears`, `.head`, `.on`, `.guard` and `.does`. Each `<g class="state">` carries
   *  `data-id` = a state's `id`; each `<g class="edge">` (an arrow) and `<g class="hears">` (a line in a
   *  state's box) carries `data-id` = an edge's `id`. */
  svg: z.string(),
  /** `id` is machine and state: `breaker.open`. `name` is what `state` says elsewhere: `open`. */
  states: z.array(z.object({ id: z.string(), name: z.string(), means: z.string() })),
  /** In the order in which `counts` speaks of them. */
  edges: z.array(
    z.object({
      id: z.string(),
      from: z.string(),
      to: z.string(),
      on: z.string(),
      guard: z.string(),
      /** False: heard without leaving the state. */
      moves: z.boolean(),
    }),
  ),
})
export type Chart = z.infer<typeof chart>

/** How often each edge of a chart was taken since the start, in the order of `chart.edges`. */
const edgeCounts = z.array(z.int())

// ---- hello ----

export const hello = z.object({
  instance: z.string(),
  version: z.string(),
  /** Wall time of the scheduler's start. Another one than before: it has restarted. */
  started_at: z.int(),
  at: z.int(),
  charts: z.array(chart),
  lanes: z.array(z.object({ name: z.string(), weight: z.number(), preemptible: z.boolean() })),
  knobs: z.object({
    frame_ms: z.int(),
    /** Over how long the guardrails look. */
    guardrail_window_ms: z.int(),
    /** Most of a lane's queue wait P50 and P95 in a frame: over how long. */
    wait_window_ms: z.int(),
    transitions_max: z.int(),
    settled_lives_max: z.int(),
    tenants_page_max: z.int(),
    requests_max: z.int(),
  }),
  /** What an operator can do about each kind of finding, in a sentence; more stands at `/runbook#<kind>`. */
  runbook: z.record(z.string(), z.string()),
  /** What each reason for waiting means, and what can be done about it; null: nothing needs doing. */
  wait_reasons: z.record(z.string(), z.object({ means: z.string(), act: z.string().nullable() })),
  /** `token`: acts need `Authorization: Bearer`. `off`: no token is set and every act is refused. */
  admin: z.enum(['token', 'off']),
  /** True: the only upstream is the simulated provider, and its faults may be set. */
  simulated: z.boolean(),
})
export type Hello = z.infer<typeof hello>

// ---- frame ----

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

// ---- history ----

/** How a breaker's band stands in a column. */
export const BANDS = ['closed', 'ramp', 'half_open', 'open'] as const

const column = z.array(z.number().nullable())

export const historyQuery = z.object({
  span: z.enum(['live', 'day']).default('live'),
  route: z.string().max(64).optional(),
})

/** `GET /api/history?span=live|day&route=<id>`: columns of equal length for uPlot, oldest first. `live` is 15
 *  minutes a second apart, `day` 24 hours a minute apart (means; of `band` and waits the largest). Without
 *  `route`, or with one that is not known, `route` is null. */
export const history = z.object({
  span: z.enum(['live', 'day']),
  step_ms: z.int(),
  /** Seconds since 1970, as uPlot wants them. */
  t: z.array(z.number()),
  /** All routes together; rates are per second. */
  total: z.object({
    limit: column,
    inflight: column,
    queued: column,
    attempts: column,
    settled: column,
    http_429: column,
    http_529: column,
  }),
  lanes: z.array(
    z.object({
      name: z.string(),
      inflight: column,
      queued: column,
      wait_p50_ms: column,
      wait_p95_ms: column,
    }),
  ),
  /** Durable jobs that have not ended, by lane and by the tenants that have, or had, most. */
  jobs: z.object({
    lanes: z.array(z.object({ name: z.string(), stored: column, oldest_ms: column })),
    tenants: z.array(z.object({ name: z.string(), stored: column })),
  }),
  /** Those that have a history. */
  routes: z.array(z.string()),
  route: z
    .object({
      id: z.string(),
      limit: column,
      inflight: column,
      /** Place in `BANDS`. */
      band: column,
      http_429: column,
      http_529: column,
      /** Level over burst, below 0 in debt; null: not paced. */
      requests: column,
      input_tokens: column,
      output_tokens: column,
    })
    .nullable(),
})
export type History = z.infer<typeof history>

// ---- tenants ----

export const TENANT_SORTS = [
  'tenant',
  'inflight',
  'queued',
  'share',
  'settled',
  'refused',
  'http_429',
  'tokens',
] as const
export type TenantSort = (typeof TENANT_SORTS)[number]
export const TENANTS_PAGE_MAX = 200

const whole = (most: number) => z.coerce.number().int().min(0).max(most)

export const tenantsQuery = z.object({
  search: z.string().max(64).default(''),
  sort: z.enum(TENANT_SORTS).default('inflight'),
  dir: z.enum(['asc', 'desc']).default('desc'),
  offset: whole(1_000_000_000).default(0),
  limit: whole(TENANTS_PAGE_MAX).default(50),
})
export type TenantsQuery = z.infer<typeof tenantsQuery>

/** Counts are since the start, or since the tenant was last forgotten for idleness. */
export const tenantRow = z.object({
  tenant: z.string(),
  inflight: z.int(),
  queued: z.int(),
  /** Its part of all attempts' time lately (weights halve each minute), 0 to 1. */
  share: z.number(),
  settled: z.int(),
  refused: z.int(),
  http_429: z.int(),
  /** Input and output. */
  tokens: z.int(),
  last_at: z.int(),
})
export type TenantRow = z.infer<typeof tenantRow>

/** `GET /api/tenants?search=&sort=&dir=&offset=&limit=`: `sort` of `TENANT_SORTS` (inflight), `dir` asc or desc
 *  (desc), `limit` to 200 (50). `search`: part of a name, in either case of letters. */
export const tenantsPage = z.object({
  /** Known in all, and that match the search. */
  total: z.int(),
  matching: z.int(),
  offset: z.int(),
  rows: z.array(tenantRow),
})
export type TenantsPage = z.infer<typeof tenantsPage>

/** Requests now alive, oldest first; from `GET /api/requests?state=&route=&tenant=&limit=` (all optional;
 *  `limit` to 200, 50). `matching` counts those that are not listed too. */
export const requestRow = z.object({
  tenant: z.string(),
  lane: z.string(),
  id: z.string(),
  model: z.string(),
  route: z.string().nullable(),
  state: z.enum(REQUEST_STATES),
  /** In this state. */
  since: z.int(),
  arrived_at: z.int(),
  attempts: z.int(),
  preemptions: z.int(),
  stream: z.boolean(),
  /** What holds it; null: it does not wait. */
  waits_for: z.object({ reason: waitReason, text: z.string() }).nullable(),
})
export type RequestRow = z.infer<typeof requestRow>
export const REQUESTS_MAX = 200
export const requestsQuery = z.object({
  state: z.enum(REQUEST_STATES).optional(),
  route: z.string().max(64).optional(),
  tenant: z.string().max(64).optional(),
  limit: whole(REQUESTS_MAX).default(50),
})
export const requestsPage = z.object({ matching: z.int(), rows: z.array(requestRow) })
export type RequestsPage = z.infer<typeof requestsPage>

/** A request that has settled lately. */
export const settledRow = z.object({
  tenant: z.string(),
  lane: z.string(),
  id: z.string(),
  model: z.string().nullable(),
  at: z.int(),
  outcome: z.enum(OUTCOMES),
  code: z.string().nullable(),
  total_ms: z.int(),
  attempts: z.int(),
})
export type SettledRow = z.infer<typeof settledRow>

/** `GET /api/tenants/:name`; 404 where the name is not known. */
export const tenantPage = z.object({
  row: tenantRow,
  outcomes: z.partialRecord(z.enum(OUTCOMES), z.int()),
  /** Refusals and failures by code. */
  codes: z.record(z.string(), z.int()),
  lanes: z.array(z.object({ name: z.string(), settled: z.int() })),
  /** At most fifty each. */
  live: z.array(requestRow),
  settled: z.array(settledRow),
})
export type TenantPage = z.infer<typeof tenantPage>

// ---- one request's life ----

export const SPAN_KINDS = [
  'queued',
  'attempt',
  'streaming',
  'backoff',
  'preempted',
  'settled',
] as const

/** One stretch of a life, milliseconds since the request arrived. `preempted` and `settled` are instants. */
export const span = z.object({
  kind: z.enum(SPAN_KINDS),
  from_ms: z.number(),
  /** Null: it lasts. */
  to_ms: z.number().nullable(),
  /** Number of the attempt, of `attempt` and `streaming`. */
  attempt: z.int().nullable(),
  /** A verdict, an outcome; null while there is none. */
  verdict: z.string().nullable(),
  status: z.int().nullable(),
  /** Why it began or ended as it did: a cause, a code. */
  reason: z.string().nullable(),
})
export type Span = z.infer<typeof span>

/** `GET /api/requests/:tenant/:id`; 404 where it is not kept: the last `settled_lives_max` are. `streaming` lies
 *  within its attempt. */
export const life = z.object({
  tenant: z.string(),
  lane: z.string(),
  id: z.string(),
  model: z.string().nullable(),
  route: z.string().nullable(),
  arrived_at: z.int(),
  /** Its state now where it lives; `settled` where not. */
  state: z.enum(REQUEST_STATES),
  stream: z.boolean(),
  max_tokens: z.int().nullable(),
  deadline_ms: z.int().nullable(),
  predicted_wait_ms: z.int().nullable(),
  outcome: z.enum(OUTCOMES).nullable(),
  code: z.string().nullable(),
  input_tokens: z.int().nullable(),
  output_tokens: z.int().nullable(),
  spans: z.array(span),
  /** True: it had more than are kept, and the earliest are missing. */
  cut: z.boolean(),
})
export type Life = z.infer<typeof life>

// ---- one durable job ----

/** `GET /api/jobs/:tenant/:id`: what the store has of a job, over restarts and instances; 404 where it has nothing
 *  of it (a result is kept for `results.max_age`), 503 where it does not answer. */
export const jobLife = z.object({
  tenant: z.string(),
  lane: z.string(),
  id: z.string(),
  /** `delayed`: its time has not come. `stored`: nobody has it. `claimed`: an instance has it; `calling`: and a call
   *  of it is under way, or was when its owner was heard last. */
  state: z.enum(['delayed', 'stored', 'claimed', 'calling', 'ended']),
  accepted_at: z.int(),
  /** When it may start; null: at once, or it has ended. */
  due_at: z.int().nullable(),
  /** Null: it has ended. */
  deadline_at: z.int().nullable(),
  ended_at: z.int().nullable(),
  outcome: z.enum(OUTCOMES).nullable(),
  /** Calls that were begun, by all its owners. */
  attempts: z.int(),
  /** A call may have run without its result being seen: some work may be done twice. */
  ambiguous: z.boolean(),
  /** The first one first; the last sixteen. */
  owners: z.array(
    z.object({
      instance: z.string(),
      /** Null: nobody wrote it down. */
      since: z.int().nullable(),
      /** `has`: it has the job now. */
      how: z.enum(['has', 'died', 'returned', 'ended']),
      attempts: z.int(),
      calling: z.boolean(),
    }),
  ),
})
export type JobLife = z.infer<typeof jobLife>

// ---- acts ----

export const FAULT_KINDS = ['storm', 'quota_drop', 'hang', 'off'] as const
export const FAULT_FOR_MS = { default: 60_000, max: 600_000 } as const

/** `POST /api/admin/fault`, with the admin token like every act; 404 unless `hello.simulated`. `off` ends all.
 *  `storm`: most calls get a 529. `quota_drop`: `rpm` (60) requests a minute. `hang`: most calls stay silent.
 *  The other acts are `emergency {on}`, `lane {lane, paused}` and `drain {}`, of `contracts/admin`. */
const wholeFrom = (min: number, max: number, unit = '') => {
  const error = `expected a whole number${unit} from ${min} to ${max}`
  return z.int({ error }).min(min, { error }).max(max, { error })
}
export const faultAsk = z.strictObject(
  {
    kind: z.enum(FAULT_KINDS, { error: `expected one of ${FAULT_KINDS.join(', ')}` }),
    /** Only this model. */
    model: z
      .string({ error: 'expected the name of a model' })
      .max(128, { error: 'expected at most 128 characters' })
      .optional(),
    for_ms: wholeFrom(1_000, FAULT_FOR_MS.max, ' of milliseconds').default(FAULT_FOR_MS.default),
    rpm: wholeFrom(1, 100_000).default(60),
  },
  {
    error: (issue) =>
      issue.code === 'unrecognized_keys'
        ? `expected only kind, model, for_ms and rpm, found ${shownKeys(issue.keys)}`
        : 'expected a JSON object',
  },
)
/** Other people's words, and not all of them. */
const shownKeys = (keys: readonly string[]): string =>
  keys
    .slice(0, 3)
    .map((key) => JSON.stringify(key.slice(0, 32)))
    .join(', ')

/** What is wrong, where, and what is allowed. */
export function faultProblem(error: z.ZodError): string {
  const [issue] = error.issues
  if (issue === undefined) return 'body: does not fit'
  return `${issue.path.length === 0 ? 'body' : issue.path.join('.')}: ${issue.message}`
}
export type FaultAsk = z.infer<typeof faultAsk>

export const apiError = z.object({
  type: z.literal('error'),
  error: z.object({ type: z.string(), message: z.string() }),
})
