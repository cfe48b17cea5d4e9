/** `npm run bench -- overload`: what users get while a provider is asked for half as much again as it can, has a
 *  storm and a cut of its quota. Headgate through its HTTP door, the Anthropic SDK alone with its own retries,
 *  and the SDK behind a queue with a fixed width meet the same calls, one after the other. One Markdown table
 *  goes to stdout, progress to stderr, a row per call to a file. */
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { parseArgs } from 'node:util'
import Anthropic from '@anthropic-ai/sdk'
import PQueue from 'p-queue'
import { stringify } from 'yaml'
import {
  LANES,
  markdownTable,
  OVERLOAD_HEAD,
  overloadCells,
  overloadConfig,
  overloadFigures,
  overloadSource,
  overloadTenants,
  PHASES,
  phaseOf,
  type OverloadFigures,
  type OverloadRow,
} from '#simulator/overload'
import type { Arrival } from '#simulator/workload'
import { startNatsServer } from '../../services/cli/nats-server.ts'
import { start } from './wire-cost.ts'

const HELP = `npm run bench -- overload [options]
  --seed N       arrivals, services and chance follow from it (default 1)
  --seconds N    length of a column; storm and cut shrink with it (default 240)
  --capacity N   calls that the provider serves at once (default 48); the load grows with it
  --cut X        share of the capacity that the quota allows in the cut (default 0.5)
  --initial N    Headgate's concurrency_limit.initial (default: its own)
  --only NAME    one column: headgate, sdk, queue, url
  --url URL      one more column: the SDK at a gateway of your own, whose upstream is what --port says
  --header H     sent to it with every call, as 'name: value'; may be given again
  --port N       where the fake provider listens (default: any free port)
  --rows FILE    a line per call (default: a new file in the system's temporary directory)`

const COLUMNS = ['headgate', 'sdk', 'queue', 'url'] as const
type Column = (typeof COLUMNS)[number]

/** Of the queue before the SDK: Headgate's own default for all its calls. */
const WIDTH = 60

interface Options {
  seed: number
  seconds: number
  capacity: number
  cut: number
  initial: number | null
  columns: readonly Column[]
  url: string | null
  headers: Record<string, string>
  port: number
  rows: string
}

interface Target {
  name: string
  /** Sends one call; false: it was not answered well. */
  call: (arrival: Arrival, index: number, signal: AbortSignal) => Promise<boolean>
  stop: () => Promise<void>
}

type Upstream = Awaited<ReturnType<typeof start>>

export async function benchOverload(args: readonly string[]): Promise<void> {
  const options = optionsOf(args)
  const rows: string[] = []
  const table: string[][] = [[...OVERLOAD_HEAD]]
  for (const column of options.columns) {
    const { name, figures, lines } = await measure(column, options)
    table.push(overloadCells(name, figures))
    rows.push(...lines)
  }
  writeFileSync(options.rows, rows.map((row) => `${row}\n`).join(''))
  tell(`rows: ${options.rows}`)
  console.log(markdownTable(table))
}

async function measure(
  column: Column,
  options: Options,
): Promise<{ name: string; figures: OverloadFigures; lines: string[] }> {
  const { seed, seconds, capacity, cut } = options
  const upstream = await start(
    './overload-upstream.ts',
    [seed, seconds, capacity, cut, options.port].map(String),
    {},
  )
  const target = await open(column, String(upstream.told['url']), options)
  try {
    const rows = await drive(target, upstream, options)
    const figures = overloadFigures(rows, options)
    const lines = rows.map((row) =>
      JSON.stringify({ column, seed, phase: phaseOf(row.at / 1_000, seconds), ...row }),
    )
    return { name: target.name, figures, lines }
  } finally {
    await target.stop()
    upstream.child.kill('SIGTERM')
  }
}

/** Sends every call when it is due, whatever became of those before, and counts what comes back. */
async function drive(
  target: Target,
  upstream: Upstream,
  { seed, seconds, capacity }: Options,
): Promise<OverloadRow[]> {
  const source = overloadSource({ seed, seconds, capacity })
  const arrivals: Arrival[] = []
  for (let next = source.next(); next !== null; next = source.next()) arrivals.push(next)
  const lag = monitorEventLoopDelay({ resolution: 10 })
  lag.enable()
  upstream.child.send('start')
  const began = performance.now()
  const now = (): number => performance.now() - began
  const running = new Set<Promise<void>>()
  const over = new AbortController()
  const rows: OverloadRow[] = []
  const one = async (arrival: Arrival, index: number): Promise<void> => {
    const row: OverloadRow = {
      at: arrival.at,
      lane: arrival.asked.lane,
      model: arrival.asked.model,
      tenant: arrival.asked.tenant,
      serviceMs: arrival.work.serviceMs,
      endedAt: null,
      inTime: false,
      attempts: 0,
      refused: 0,
    }
    rows[index] = row
    const left = arrival.at + arrival.asked.deadlineMs! - now()
    const signal = AbortSignal.any([over.signal, AbortSignal.timeout(Math.max(1, Math.ceil(left)))])
    const well = await target.call(arrival, index, signal).catch(() => false)
    if (over.signal.aborted) return
    row.endedAt = now()
    row.inTime = well && row.endedAt <= arrival.at + arrival.asked.deadlineMs!
  }
  const progress = setInterval(() => say(target.name, rows, now() / 1_000, seconds), 10_000)
  await new Promise<void>((done) => {
    let next = 0
    const due = (): void => {
      while (next < arrivals.length && arrivals[next]!.at <= now()) {
        const sent = one(arrivals[next]!, next).finally(() => running.delete(sent))
        running.add(sent)
        next++
      }
      if (next === arrivals.length) done()
      else setTimeout(due, Math.max(1, arrivals[next]!.at - now()))
    }
    due()
  })
  // The last interactive calls may still be in time; batch is counted to the end of the run.
  await new Promise((done) => setTimeout(done, seconds * 1_000 + LANES.interactive * 1_000 - now()))
  clearInterval(progress)
  over.abort()
  await Promise.allSettled(running)
  lag.disable()
  tell(
    `${target.name}: done; the load's own lag P99 ${(lag.percentile(99) / 1e6 - 10).toFixed(0)} ms`,
  )
  for (const [index, seen] of await upstreamRows(upstream)) Object.assign(rows[index]!, seen)
  return rows
}

function upstreamRows({
  child,
}: Upstream): Promise<[number, Pick<OverloadRow, 'attempts' | 'refused'>][]> {
  return new Promise((resolve) => {
    child.once('message', (message) => resolve((message as { rows: never }).rows))
    child.send('rows')
  })
}

function say(name: string, rows: readonly OverloadRow[], at: number, seconds: number): void {
  const seen = rows.filter(
    (row) => row.lane === 'interactive' && row.at / 1_000 > at - 18 && row.at / 1_000 < at - 8,
  )
  const good = seen.filter((row) => row.inTime).length
  const phase = PHASES.find((one) => one === phaseOf(at, seconds))
  tell(
    `${name}: ${at.toFixed(0)} of ${seconds} s (${phase}), interactive in time ${((100 * good) / Math.max(1, seen.length)).toFixed(0)} %`,
  )
}

// ---- the columns ----

async function open(column: Column, upstream: string, options: Options): Promise<Target> {
  switch (column) {
    case 'headgate':
      return headgate(upstream, options)
    case 'sdk': {
      const call = caller(upstream)
      return { name: 'SDK, its own retries', call, stop: async () => {} }
    }
    case 'queue': {
      const call = caller(upstream)
      const queue = new PQueue({ concurrency: WIDTH })
      return {
        name: `SDK behind p-queue, ${WIDTH} at once`,
        call: (arrival, index, signal) =>
          queue.add(() => call(arrival, index, signal), { signal }) as Promise<boolean>,
        stop: async () => {},
      }
    }
    case 'url':
      return {
        name: options.url!,
        call: caller(options.url!, options.headers),
        stop: async () => {},
      }
  }
}

/** The SDK as it comes, with the deadline as its time limit. */
function caller(baseURL: string, more: Record<string, string> = {}): Target['call'] {
  const clients = new Map(
    overloadTenants().map((tenant) => [tenant, new Anthropic({ baseURL, apiKey: keyOf(tenant) })]),
  )
  return async ({ asked, work }, index, signal) => {
    const timeout = asked.deadlineMs!
    await clients.get(asked.tenant)!.messages.create(
      {
        model: 'claude-bench',
        max_tokens: 256,
        messages: [{ role: 'user', content: 'p'.repeat(600) }],
        metadata: { user_id: `${index}-${work.serviceMs}` },
      },
      {
        signal,
        timeout,
        headers: {
          'headgate-lane': asked.lane,
          'headgate-deadline-ms': String(timeout),
          ...more,
        },
      },
    )
    return true
  }
}

const keyOf = (tenant: string): string => `hg_bench_${tenant}`

/** Door and scheduler in one process, NATS beside it, everything on defaults but the tenants' keys. */
async function headgate(upstream: string, options: Options): Promise<Target> {
  const { server: nats, reason } = await startNatsServer()
  if (nats === null) throw new Error(reason)
  const dir = mkdtempSync(join(tmpdir(), 'headgate-bench-'))
  const config = join(dir, 'headgate.yaml')
  writeFileSync(config, stringify(configOf(options)))
  const { child, told } = await start('../../services/scheduler/main.ts', [], {
    NATS_URL: nats.url,
    ANTHROPIC_BASE_URL: upstream,
    ANTHROPIC_API_KEY: 'sk-bench',
    HEADGATE_HTTP_PORT: '0',
    HEADGATE_GATEWAY_PORT: '0',
    HEADGATE_GATEWAY: 'on',
    LOG_LEVEL: 'warn',
    HEADGATE_CONFIG: config,
  })
  const { initial } = options
  return {
    name: `Headgate, SDK at its door${initial === null ? '' : `, initial ${initial}`}`,
    call: caller(String(told['gateway'])),
    async stop() {
      child.kill('SIGTERM')
      await new Promise((ended) => child.once('exit', ended))
      await nats.stop()
      rmSync(dir, { recursive: true })
    },
  }
}

function configOf(options: Options): object {
  const tenants = Object.fromEntries(
    overloadTenants().map((tenant) => [
      tenant,
      { keys: [`sha256:${createHash('sha256').update(keyOf(tenant)).digest('hex')}`] },
    ]),
  )
  return { tenants, ...overloadConfig(options) }
}

// ---- options ----

function optionsOf(args: readonly string[]): Options {
  const text = { type: 'string' } as const
  const { values } = parsed(() =>
    parseArgs({
      args: [...args],
      options: {
        seed: text,
        seconds: text,
        capacity: text,
        cut: text,
        initial: text,
        only: text,
        url: text,
        header: { type: 'string', multiple: true },
        port: text,
        rows: text,
        help: { type: 'boolean' },
      },
    }),
  )
  if (values.help === true) {
    console.log(HELP)
    process.exit(0)
  }
  const whole = (
    name: 'seed' | 'seconds' | 'capacity' | 'initial' | 'port',
    min: number,
    max: number,
  ) => {
    const value = values[name]
    if (value === undefined) return null
    if (/^\d+$/.test(value) && Number(value) >= min && Number(value) <= max) return Number(value)
    return misuse(`--${name}: expected a whole number from ${min} to ${max}, found ${value}`)
  }
  const { only, url = null } = values
  const known = COLUMNS.filter((name) => name !== 'url' || url !== null)
  if (only !== undefined && !known.some((name) => name === only))
    misuse(`--only: expected one of ${known.join(', ')}, found ${only}`)
  const seed = whole('seed', 0, 2 ** 31) ?? 1
  return {
    seed,
    seconds: whole('seconds', 40, 3_600) ?? 240,
    capacity: whole('capacity', 4, 1_000) ?? 48,
    cut: shareOf(values.cut ?? '0.5'),
    initial: whole('initial', 1, 1_000),
    port: whole('port', 0, 65_535) ?? 0,
    columns: only === undefined ? known : known.filter((name) => name === only),
    url,
    headers: headersOf(values.header ?? []),
    rows: values.rows ?? join(tmpdir(), `overload-${seed}-${process.pid}.ndjson`),
  }
}

function shareOf(text: string): number {
  const share = Number(text)
  if (/^[\d.]+$/.test(text) && share > 0 && share <= 1) return share
  return misuse(`--cut: expected a number above 0, up to 1, found ${text}`)
}

function headersOf(given: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    given.map((header) => {
      const [, name, value] = /^([\w-]+): *(.+)$/.exec(header) ?? []
      if (name === undefined || value === undefined)
        return misuse(`--header: expected 'name: value', found ${header}`)
      return [name, value]
    }),
  )
}

function parsed<T>(work: () => T): T {
  try {
    return work()
  } catch (error) {
    return misuse(error instanceof Error ? error.message : String(error))
  }
}

function misuse(message: string): never {
  console.error(`${message}\n${HELP}`)
  process.exit(2)
}

function tell(line: string): void {
  process.stderr.write(`${line}\n`)
}
