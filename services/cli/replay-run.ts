/** Sends a plan through a running stack and waits until every request has its one answer. */
import { HeadgateError, type Headgate, type Transport } from '#client'
import type { Snapshot } from '#contracts/snapshot'
import { subjects } from '#contracts/subjects'
import type { Arrival, Plan } from './replay-plan.ts'
import { createTally, percentile, type Tally } from './replay-tally.ts'
import { overloads, readCounters, readLedger, storm } from './replay-upstream.ts'
import type { Counters, LedgerSummary } from './replay-upstream.ts'
import { snapshotFrom } from './snapshot-from.ts'
import type { Stack } from './stack.ts'
import { after, every, now, sleep } from '#platform/system'

export interface RunOptions {
  plan: Plan
  forS: number
  storm: { atS: number; forS: number } | null
  rows: readonly string[]
  model: string
  /** One line, again and again. */
  progress(line: string): void
  /** Somebody said stop. */
  signal: AbortSignal
}

export interface RunResult {
  tally: Tally
  /** By address, as they came: each request must have been answered once. */
  answers: { missing: number; extra: number }
  snapshot: Snapshot
  counters: Counters
  ledger: LedgerSummary
  wastedSlotMs: number
  /** How late requests were sent: the sender must not be the bottleneck. */
  lateness: { p99Ms: number; maxMs: number }
  inflightMean: number
  limitLowest: number
  cancelledAtEnd: number
  tookMs: number
}

const CALLS_MAX = 200_000
/** After the last arrival; then what is left is cancelled. */
const DRAIN_MS = 120_000
const REST_MS = 10_000
const REST_POLL_MS = 100
const SAMPLE_MS = 1_000
const CANCELS_AT_ONCE = 64
/** Bodies stay sane, whatever the trace says. */
const PROMPT_CHARS_MAX = 100_000
const CHARS_PER_TOKEN = 3.5
const STORM_WAIT_MS = 500
/** What a caller usually allows, whatever comes. */
const MAX_TOKENS = 1_024

export async function runReplay(stack: Stack, of: RunOptions): Promise<RunResult> {
  const { plan } = of
  const transport = watched(await stack.transport())
  const client = await stack.connect({ tenant: 'replay', callsMax: CALLS_MAX, transport })
  const tally = createTally(of.rows)
  const began = now()
  const live = new Map<string, Arrival>()
  const waste = watchWaste(transport, stack.subjectPrefix)
  const tenantOf = byTenant(client)
  const send = sender({ tenantOf, tally, live, model: of.model })
  const sampler = sample({ stack, client, tally, began, progress: of.progress, forS: of.forS })
  const stormy = of.storm
  // What still loops when we leave, for whatever reason, leaves too.
  const over = new AbortController()
  const stop = (): void => over.abort()
  of.signal.addEventListener('abort', stop)
  const cancelStorm =
    stormy === null
      ? () => {}
      : after(stormy.atS * 1_000, () => {
          const spec = { kind: 'storm_529', forMs: stormy.forS * 1_000, waitMs: STORM_WAIT_MS }
          storm(stack.simulatedUrl ?? '', spec).catch((error: unknown) => sampler.fail(error))
        })
  try {
    const { signal } = over
    const sending = sendAll({ arrivals: plan.arrivals, began, send, signal })
    const late = await Promise.race([sending, sampler.failed])
    of.signal.throwIfAborted()
    const extras = [...live].filter(([, arrival]) => arrival.extra)
    let cancelledAtEnd = await cancelAll(tenantOf, extras)
    await Promise.race([settled({ tally, ms: DRAIN_MS, signal }), sampler.failed])
    of.signal.throwIfAborted()
    cancelledAtEnd += await cancelAll(tenantOf, [...live])
    await settled({ tally, ms: REST_MS, signal })
    const snapshot = await atRest(client)
    const tookMs = now() - began
    return {
      tally,
      answers: transport.answers(),
      snapshot,
      counters: await readCounters(stack.httpUrl),
      ledger: await readLedger(stack.simulatedUrl ?? ''),
      wastedSlotMs: waste(),
      lateness: { p99Ms: percentile(late, 0.99) ?? 0, maxMs: percentile(late, 1) ?? 0 },
      ...sampler.seen(),
      cancelledAtEnd,
      tookMs,
    }
  } finally {
    of.signal.removeEventListener('abort', stop)
    over.abort()
    cancelStorm()
    sampler.end()
    await client.close()
    await transport.close()
  }
}

/** Sends each arrival when it is due, in order; answers how late each was. */
async function sendAll(of: {
  arrivals: readonly Arrival[]
  began: number
  send: (arrival: Arrival, n: number) => void
  signal: AbortSignal
}): Promise<number[]> {
  const { arrivals, began } = of
  const late: number[] = []
  for (let next = 0; next < arrivals.length && !of.signal.aborted;) {
    const elapsed = now() - began
    for (; next < arrivals.length; next++) {
      const arrival = arrivals[next]
      if (arrival === undefined || arrival.atMs > elapsed) break
      late.push(elapsed - arrival.atMs)
      of.send(arrival, next)
    }
    const due = arrivals[next]?.atMs
    if (due === undefined) break
    const pause = due - (now() - began)
    await sleep(Math.min(PAUSE_MS_MAX, Math.max(1, pause)))
  }
  return late
}

/** Between two looks at whether to go on. */
const PAUSE_MS_MAX = 200

type ByTenant = (name: string) => Headgate

function byTenant(client: Headgate): ByTenant {
  const tenants = new Map<string, Headgate>()
  return (name) => {
    let tenant = tenants.get(name)
    if (tenant === undefined) tenants.set(name, (tenant = client.as(name)))
    return tenant
  }
}

function sender(of: {
  tenantOf: ByTenant
  tally: Tally
  live: Map<string, Arrival>
  model: string
}): (arrival: Arrival, n: number) => void {
  const { tenantOf, tally, live } = of
  const filler = 'The farmer opens the gate a little and waits. '.repeat(
    Math.ceil(PROMPT_CHARS_MAX / 46),
  )
  return (arrival, n) => {
    const id = `n${n.toString(36)}`
    const characters = Math.min(PROMPT_CHARS_MAX, Math.ceil(arrival.input * CHARS_PER_TOKEN))
    const body =
      `{"model":"${of.model}","max_tokens":${Math.max(MAX_TOKENS, arrival.output)},` +
      `"stream":${arrival.stream},` +
      `"metadata":{"user_id":"${id}","simulated_output_tokens":${Math.max(1, arrival.output)}},` +
      `"messages":[{"role":"user","content":"${filler.slice(0, Math.max(1, characters))}"}]}`
    const tenant = tenantOf(arrival.tenant)
    const began = now()
    tally.offer(arrival.row)
    live.set(id, arrival)
    const options = { lane: arrival.lane, id }
    // A stream's events are counted by the client and read by nobody here.
    const ending = arrival.stream
      ? tenant.stream(body, options).final
      : tenant.request(body, options).then((answer) => answer.accounting)
    ending.then(
      (accounting) => {
        live.delete(id)
        tally.completed(arrival.row, accounting, now() - began)
      },
      (error: unknown) => {
        live.delete(id)
        tally.failed(arrival.row, error)
      },
    )
  }
}

/** Asks for each by its tenant, a few at a time; their answers come where they were awaited. */
async function cancelAll(
  tenantOf: ByTenant,
  live: readonly (readonly [id: string, arrival: Arrival])[],
): Promise<number> {
  const left = live.slice()
  let cancelled = 0
  const work = async (): Promise<void> => {
    for (let one = left.pop(); one !== undefined; one = left.pop()) {
      const [id, arrival] = one
      const said = await tenantOf(arrival.tenant)
        .cancel(id)
        .catch(() => null)
      if (said?.cancelled === true) cancelled++
    }
  }
  await Promise.all(Array.from({ length: CANCELS_AT_ONCE }, work))
  return cancelled
}

/** Or as long as it may take. */
async function settled(of: { tally: Tally; ms: number; signal: AbortSignal }): Promise<void> {
  const until = now() + of.ms
  while (of.tally.open() > 0 && now() < until && !of.signal.aborted) await sleep(REST_POLL_MS)
}

/** The last snapshot: at rest, or as it is when rest does not come. */
async function atRest(client: Headgate): Promise<Snapshot> {
  const until = now() + REST_MS
  for (;;) {
    const snapshot = await readSnapshot(client)
    if (isAtRest(snapshot) || now() > until) return snapshot
    await sleep(REST_POLL_MS)
  }
}

export const isAtRest = (of: Snapshot): boolean =>
  Object.values(of.held).every((count) => count === 0)

export const readSnapshot = async (client: Headgate): Promise<Snapshot> =>
  snapshotFrom(await client.admin('snapshot'))

interface Watched extends Transport {
  answers(): { missing: number; extra: number }
}

/** Counts answers where they arrive, beneath the client, which would not show a second one. */
function watched(transport: Transport): Watched {
  const waiting = new Map<string, 'one message' | 'a stream' | 'answered'>()
  let extra = 0
  const isRequest = (subject: string): boolean => subject.split('.')[2] === 'request'
  return {
    get maxPayload() {
      return transport.maxPayload
    },
    ready: () => transport.ready(),
    publish(subject, data, options) {
      if (options?.reply !== undefined && isRequest(subject)) {
        const streamed = typeof data === 'string' && data.includes('"stream":true')
        waiting.set(options.reply, streamed ? 'a stream' : 'one message')
      }
      transport.publish(subject, data, options)
    },
    subscribe(subject, on) {
      return transport.subscribe(subject, (message) => {
        const kind = waiting.get(message.subject)
        if (kind === 'one message' || (kind === 'a stream' && message.data.length === 0))
          waiting.set(message.subject, 'answered')
        else if (kind === 'answered') extra++
        on(message)
      })
    },
    onFault: (listener) => transport.onFault(listener),
    close: () => transport.close(),
    answers: () => ({
      missing: [...waiting.values()].filter((kind) => kind !== 'answered').length,
      extra,
    }),
  }
}

/** Slot time of attempts that yielded, from the events that say so. */
function watchWaste(transport: Transport, prefix: string): () => number {
  let wasted = 0
  transport.subscribe(subjects(prefix).requestEvent('*', '*'), ({ data }) => {
    const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
    if (!bytes.includes('"wasted_ms"')) return
    const { wasted_ms } = JSON.parse(bytes.toString()) as { wasted_ms?: number }
    wasted += wasted_ms ?? 0
  })
  return () => wasted
}

/** Looks at the scheduler and the provider once a second, and says what it sees. */
function sample(of: {
  stack: Stack
  client: Headgate
  tally: Tally
  began: number
  forS: number
  progress(line: string): void
}) {
  const { stack, client, tally } = of
  const failure = Promise.withResolvers<never>()
  failure.promise.catch(() => {})
  let looks = 0
  let inflightSum = 0
  let limitLowest = Infinity
  let looking = false
  const look = async (): Promise<void> => {
    const [snapshot, refused] = await Promise.all([
      readSnapshot(client),
      overloads(stack.simulatedUrl ?? ''),
    ])
    const [route] = snapshot.routes
    const elapsedS = (now() - of.began) / 1_000
    if (elapsedS <= of.forS) {
      looks++
      inflightSum += snapshot.global.inflight
      limitLowest = Math.min(limitLowest, route?.limit ?? Infinity)
    }
    of.progress(
      `${Math.round(elapsedS)} s of ${of.forS}  sent ${tally.open() + tally.done()}  ` +
        `done ${tally.done()}  in flight ${snapshot.global.inflight}  ` +
        `queued ${snapshot.global.queued}  limit ${route?.limit ?? '-'}  ` +
        `breaker ${route?.breaker ?? '-'}  529s ${refused}`,
    )
  }
  const stop = every(SAMPLE_MS, () => {
    if (looking) return
    looking = true
    look()
      // A look that fails says nothing of the requests; their own answers do.
      .catch((error: unknown) => {
        if (!(error instanceof HeadgateError)) failure.reject(error)
      })
      .finally(() => (looking = false))
  })
  return {
    failed: failure.promise,
    fail: (error: unknown) => failure.reject(error),
    end: stop,
    seen: () => ({
      inflightMean: looks === 0 ? 0 : inflightSum / looks,
      limitLowest: Number.isFinite(limitLowest) ? limitLowest : 0,
    }),
  }
}
