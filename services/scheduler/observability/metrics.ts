/** What Prometheus reads: the names of the wire contract, section Metrics, prefixed `headgate_`.
 *  Counters are fed by events, gauges are read from a snapshot when somebody asks.
 *  Bound: tenants and models by name are the busiest ones (`busiest`), lanes are the configured ones, anything
 *  else is `other`; and no counter has more than `SERIES_MAX` series, past which the tenant becomes `other`.
 *  A tenant that loses its name loses its series, and starts again at zero if it comes back. */
import { collectDefaultMetrics, Counter, Histogram, Registry } from 'prom-client'
import type { Config } from '#contracts/config'
import { paidFor, type Paid } from '#contracts/cost'
import { TOKEN } from '#contracts/ids'
import type { Prices } from '#contracts/prices'
import type { Snapshot } from '#contracts/snapshot'
import type { BatchesNow, Clock, HeadgateEvent, JobNews, Meter, Recorder } from '#ports'
import { busiest, OTHER, type Busiest } from './busiest.ts'
import { countCells, type CountCells, type Labels } from './count-cells.ts'
import { jobMetrics } from './job-metrics.ts'
import { makeGauges, readGuardrails, readSnapshot } from './gauges.ts'
import type { Guardrails } from './guardrails.ts'

export interface Metrics extends Recorder, Meter {
  /** The page as of now. */
  page(): Promise<{ contentType: string; body: string }>
  /** Something went wrong in one callback, timer or act. */
  fault(room: string): void
  /** Something became of a durable job. */
  jobNews(news: JobNews): void
  /** The event loop stood still. */
  stall(of: { room: string; ms: number }): void
}

/** Alarm names are ours and few; this is for the day they are not. */
const ALARM_NAMES_MAX = 50

export function createMetrics(of: {
  config: () => Config
  /** Null until there is one. */
  snapshot: () => Snapshot | null
  guardrails: () => Guardrails
  clock: Clock
  version: string
  /** The file on disk is refused and an older one is in force; absent: there is no file. */
  configRefused?: () => boolean
  /** Null or absent: no batches are kept. */
  batches?: () => BatchesNow | null
  /** Also of the process itself: memory, event loop and its stalls, garbage collection, faults. */
  process?: boolean
}): Metrics {
  const registry = new Registry()
  if (of.process === true) collectDefaultMetrics({ register: registry })
  const gauges = makeGauges(registry)
  gauges.build.set({ version: of.version }, 1)
  const histograms = makeHistograms(registry)
  const own = of.process === true ? makeOwn(registry) : null

  let stale = false
  const tenants = busiest({
    max: () => of.config().file.metrics.tenants_max,
    onDrop: () => (stale = true),
  })
  const models = busiest({
    max: () => Math.max(of.config().file.routes_max, of.config().routes?.length ?? 0),
    onDrop(model) {
      stale = true
      histograms.retries.remove(model)
    },
  })
  const counters = makeCounters(registry, {
    keeps: ({ tenant, model }) =>
      (tenant === undefined || tenants.label(tenant) === tenant) &&
      (model === undefined || models.label(model) === model),
    isStale: () => stale,
  })
  const names = { tenants, models, laneOf: laneLabels(of.config) }
  const jobs = jobMetrics(registry, names.laneOf)
  const count = counting({ counters, histograms, ...names })

  return {
    record: (event) => count(event, of.clock.now()),
    count: billing({ counters, ...names, prices: () => of.config().prices, now: of.clock.now }),
    fault: (room) => own?.faults.inc({ room }),
    jobNews: (news) => jobs.note(news),
    stall: ({ room, ms }) => own?.stalls.observe({ room }, ms),
    async page() {
      for (const cells of Object.values(counters)) cells.sweep()
      stale = false
      const snapshot = of.snapshot()
      if (snapshot !== null) readSnapshot(gauges, snapshot, tenants.label)
      jobs.read(of.batches?.() ?? null)
      gauges.configRefused.set(Number(of.configRefused?.() ?? false))
      readGuardrails(gauges, of.guardrails(), of.clock.now(), of.config())
      return { contentType: registry.contentType, body: await registry.metrics() }
    },
  }
}

/** What each call that is billed adds. */
function billing(to: {
  counters: Counters
  tenants: Busiest
  models: Busiest
  laneOf: (lane: string) => string
  prices: () => Prices
  now: () => number
}): Meter['count'] {
  const { counters, tenants, models, laneOf } = to
  return ({ usage, ...used }) => {
    if (usage === null || used.kind === 'preempted') return
    const lane = laneOf(used.lane)
    const now = to.now()
    // A job that a batch answered has been no request here, and is named by this.
    const named = (names: Busiest, name: string): string =>
      used.batch === true ? names.count(name, now) : names.label(name)
    const tenant = named(tenants, used.tenant)
    for (const hop of paidFor(usage, { ...used, prices: to.prices() })) {
      const model = hop.model === used.model ? named(models, hop.model) : models.label(hop.model)
      for (const [kind, tokens] of billedTokens(hop))
        if (tokens > 0) counters.billed.add(model, kind, lane, tenant, tokens)
      if (used.waitedForPrefix === true && hop.cacheReadTokens > 0)
        counters.prefixSaved.add(model, lane, tenant, '', hop.cacheReadTokens)
      if (hop.cost !== null) counters.cost.add(model, lane, tenant, '', hop.cost / 1e6)
    }
  }
}

/** By what is asked for them. */
function billedTokens(of: Paid): [kind: string, tokens: number][] {
  const hour = of.cacheCreation1hTokens ?? 0
  return [
    ['input', of.inputTokens],
    ['cache_write_5m', of.cacheCreationTokens - hour],
    ['cache_write_1h', hour],
    ['cache_read', of.cacheReadTokens],
    ['output', of.outputTokens],
  ]
}

/** What each event adds. */
function counting(to: {
  counters: Counters
  histograms: Histograms
  tenants: Busiest
  models: Busiest
  laneOf: (lane: string) => string
}): (event: HeadgateEvent, now: number) => void {
  const { counters, histograms, tenants, models, laneOf } = to
  const alarmNames = new Set<string>()
  // A model has a name of its own once it had a route: invented ones must not take the names away.
  const modelOf = (model: string | null, now: number): string =>
    model === null ? OTHER : models.count(model, now)
  const tenantOf = (tenant: string, now: number): string =>
    TOKEN.test(tenant) ? tenants.count(tenant, now) : OTHER

  return (event, now) => {
    switch (event.name) {
      case 'request.queued':
        // Named from its first request on, so that its attempts are.
        tenantOf(event.data.tenant, now)
        if (event.data.predicted_wait_ms !== null)
          histograms.predictions.observe(
            { lane: laneOf(event.data.lane) },
            event.data.predicted_wait_ms,
          )
        return
      case 'request.dispatched': {
        const { attempt, queue_ms, predicted_wait_ms } = event.data
        const lane = laneOf(event.data.lane)
        if (attempt === 1) histograms.waits.observe({ lane }, queue_ms)
        if (predicted_wait_ms !== null)
          histograms.mistakes.observe({ lane }, Math.abs(queue_ms - predicted_wait_ms))
        return
      }
      case 'attempt.ended': {
        const { data } = event
        const model = modelOf(data.model, now)
        const tenant = tenants.label(data.tenant)
        counters.attempts.add(model, statusOf(data.status), laneOf(data.lane), tenant, 1)
        if (data.input_tokens) counters.tokens.add(model, 'input', '', '', data.input_tokens)
        if (data.output_tokens) counters.tokens.add(model, 'output', '', '', data.output_tokens)
        return
      }
      case 'request.settled': {
        const { data } = event
        const lane = laneOf(data.lane)
        const tenant = tenantOf(data.tenant, now)
        const model =
          data.route === null ? models.label(data.model ?? '') : modelOf(data.model, now)
        counters.requests.add(model, statusOf(data.status), lane, tenant, 1)
        if (data.code !== null) counters.refusals.add(data.reason ?? OTHER, lane, '', '', 1)
        else counters.answers.add(data.served_by, lane, '', '', 1)
        if (data.attempts > 0) histograms.retries.observe({ model }, data.attempts - 1)
        else if (data.queue_ms > 0) histograms.waits.observe({ lane }, data.queue_ms)
        return
      }
      case 'request.preempted':
        counters.preemptions.add(laneOf(event.data.lane), '', '', '', 1)
        return
      case 'request.dropped':
        counters.dropped.add(event.data.reason, '', '', '', 1)
        return
      case 'alarm': {
        const { name } = event.data
        if (alarmNames.size < ALARM_NAMES_MAX) alarmNames.add(name)
        counters.alarms.add(alarmNames.has(name) ? name : OTHER, '', '', '', 1)
      }
    }
  }
}

type Counters = ReturnType<typeof makeCounters>

function makeCounters(
  registry: Registry,
  bound: { keeps: (labels: Labels) => boolean; isStale: () => boolean },
) {
  const counter = (name: string, help: string, ...labels: (keyof Labels)[]): CountCells => {
    const cells = countCells({ labels, ...bound })
    const own = { name: `headgate_${name}`, help, labelNames: labels, registers: [registry] }
    const metric = new Counter(own)
    const read = metric.get.bind(metric)
    // The cells as they are, instead of counting each of them once more into the library's own.
    metric.get = async () => ({ ...(await read()), values: [...cells.all()] })
    return cells
  }
  const call = ['model', 'status', 'lane', 'tenant'] as const
  return {
    requests: counter('requests_total', 'Requests by the HTTP status of the final reply.', ...call),
    attempts: counter('attempts_total', 'Calls by the status the upstream answered.', ...call),
    preemptions: counter('preemptions_total', 'Attempts that yielded to urgent work.', 'lane'),
    tokens: counter('tokens_total', 'Tokens as the upstream counted them.', 'model', 'kind'),
    billed: counter(
      'billed_tokens_total',
      'Tokens by what is asked for them, those of batches of the provider too.',
      ...(['model', 'kind', 'lane', 'tenant'] as const),
    ),
    cost: counter(
      'cost_usd_total',
      'What they cost, in USD, where a price is known.',
      ...(['model', 'lane', 'tenant'] as const),
    ),
    prefixSaved: counter(
      'prefix_saved_tokens_total',
      'Tokens that calls read from the cache after they had waited for another to write them.',
      ...(['model', 'lane', 'tenant'] as const),
    ),
    refusals: counter('refusals_total', 'Every no, by its reason.', 'reason', 'lane'),
    answers: counter('answers_total', 'Every answer, by who gave it.', 'served_by', 'lane'),
    dropped: counter('requests_dropped_total', 'Messages that can be answered nowhere.', 'reason'),
    alarms: counter('upstream_alarms_total', 'Faults that an operator must see.', 'name'),
  }
}

const STALLS = [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000]

/** Of the process itself. */
function makeOwn(registry: Registry) {
  const registers = [registry]
  const labelNames = ['room'] as const
  return {
    faults: new Counter({
      name: 'headgate_faults_total',
      help: 'Errors of ours that cost one message, timer or act, by the room they happened in.',
      labelNames,
      registers,
    }),
    stalls: new Histogram({
      name: 'headgate_event_loop_stall_ms',
      help: 'Milliseconds above 100 in which nothing could run, the longest of each second, by the room.',
      labelNames,
      buckets: STALLS,
      registers,
    }),
  }
}

type Histograms = ReturnType<typeof makeHistograms>

const WAITS = [1, 10, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000]

function makeHistograms(registry: Registry) {
  const registers = [registry]
  const ofWaits = (name: string, help: string): Histogram<'lane'> =>
    new Histogram({
      name: `headgate_${name}`,
      help,
      labelNames: ['lane'],
      buckets: WAITS,
      registers,
    })
  return {
    retries: new Histogram({
      name: 'headgate_retry_attempts_histogram',
      help: 'Retries of a request that had an attempt: 0 is a first try that was enough.',
      labelNames: ['model'],
      buckets: [0, 1, 2, 3, 4, 5, 10, 20],
      registers,
    }),
    waits: ofWaits(
      'queue_wait_ms',
      'Milliseconds queued before the first attempt, or before the request was given up.',
    ),
    predictions: ofWaits('predicted_wait_ms', 'The wait that was expected of a request taken in.'),
    mistakes: ofWaits(
      'predicted_wait_error_ms',
      'How far the expected wait was from the true one, either way, at the first start.',
    ),
  }
}

/** An HTTP status, or `error` when none came or it is none. */
const statusOf = (status: number | null): string =>
  status !== null && status >= 100 && status <= 599 ? String(status) : 'error'

function laneLabels(config: () => Config): (lane: string) => string {
  let of: Config | null = null
  let names = new Set<string>()
  return (lane) => {
    const current = config()
    if (current !== of) {
      of = current
      names = new Set(current.lanes.map((one) => one.name))
    }
    return names.has(lane) ? lane : OTHER
  }
}
