/** `npm run bench -- submit [--seconds N] [--rounds N] [--seed N]`: durable jobs that are submitted, and their results,
 *  beside bare JetStream that publishes with acknowledgement, and that consumes and acknowledges: the same bodies, the
 *  same server, streams on disk with one replica. */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { parseArgs } from 'node:util'
import { jetstream, jetstreamManager } from '@nats-io/jetstream'
import { connect, headers, type NatsConnection } from '@nats-io/transport-node'
import { seededDice } from '#core/estimators/dice'
import { HEADER } from '#contracts/messages'
import { natsServer } from '../support/nats-server.ts'
import type { FloorWork } from './jet-floor.ts'
import { jobBody } from './job-load.ts'
import { median, sayMarkdown } from './report.ts'
import { cpuSeconds, start } from './wire-cost.ts'

const AT_ONCE = 64
const TENANTS = 20
const HOUR = '3600000'

/** Of one phase of one round. */
interface Phase {
  perSecond: number
  /** Of all processes that take part, the one that asks too. */
  perCoreSecond: number
}

interface Bench {
  nc: NatsConnection
  natsPid: number
  floor: ChildProcess
  headgate: ChildProcess
  seconds: number
  tenantOf: () => string
}

type Column = 'publish' | 'consume' | 'call' | 'submit' | 'result'

export async function benchSubmit(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seconds: { type: 'string', default: '5' },
      rounds: { type: 'string', default: '5' },
      seed: { type: 'string', default: '1' },
    },
  })
  const nats = await natsServer()
  const upstream = await start('./upstream.ts', [], {})
  const url = String(upstream.told['url'])
  const floor = await start('./jet-floor.ts', [nats.url, url], {})
  const headgate = await start('../../services/scheduler/main.ts', [], {
    ...{ NATS_URL: nats.url, ANTHROPIC_BASE_URL: url, ANTHROPIC_API_KEY: 'sk-bench' },
    ...{ HEADGATE_HTTP_PORT: '0', LOG_LEVEL: 'warn' },
    HEADGATE_CONFIG: new URL('./bench.yaml', import.meta.url).pathname,
  })
  const nc = await connect({ servers: nats.url, noAsyncTraces: true })
  const dice = seededDice(Number(values.seed))
  const bench: Bench = {
    ...{ nc, natsPid: nats.pid, floor: floor.child, headgate: headgate.child },
    seconds: Number(values.seconds),
    tenantOf: () => `t${Math.floor(dice.next() * TENANTS)}`,
  }
  const phases: Record<Column, Phase[]> = {
    ...{ publish: [], consume: [], call: [], submit: [], result: [] },
  }
  try {
    // What is compiled and opened at the first of each is no matter of the others.
    await round(
      { ...bench, seconds: 1 },
      { publish: [], consume: [], call: [], submit: [], result: [] },
    )
    for (let n = 1; n <= Number(values.rounds); n++) {
      process.stderr.write(`round ${n} of ${values.rounds}\n`)
      await round(bench, phases)
    }
    report(phases)
  } finally {
    await nc.close()
    for (const child of [headgate.child, floor.child, upstream.child]) child.kill('SIGTERM')
    await nats.stop()
  }
}

async function round(bench: Bench, into: Record<Column, Phase[]>): Promise<void> {
  for (const work of ['ack', 'call'] as const) {
    const { published, consumed } = await floorRound(bench, work)
    if (work === 'ack') into.publish.push(published)
    into[work === 'ack' ? 'consume' : 'call'].push(consumed)
  }
  const { submitted, ended } = await headgateRound(bench)
  into.submit.push(submitted)
  into.result.push(ended)
}

// ---- the floor ----

async function floorRound(
  bench: Bench,
  work: FloorWork,
): Promise<{ published: Phase; consumed: Phase }> {
  const { nc, floor } = bench
  const manager = await jetstreamManager(nc, { timeout: 60_000 })
  const common = { storage: 'file', num_replicas: 1, max_msgs_per_subject: 1, allow_direct: true }
  const add = (config: object) =>
    manager.streams.add({ ...common, ...config } as Parameters<typeof manager.streams.add>[0])
  await add({ name: 'FLOOR', subjects: ['floor.job.>'], retention: 'workqueue', discard: 'new' })
  await add({ name: 'FLOOR_DONE', subjects: ['floor.done.>'], retention: 'limits' })
  await manager.consumers.add('FLOOR', {
    ...{ durable_name: 'floor', ack_policy: 'explicit' as never, max_ack_pending: 10_000 },
  })
  const js = jetstream(nc)
  const { count, phase: published } = await asked(bench, [], async (n) => {
    const tenant = bench.tenantOf()
    await js.publish(`floor.job.${tenant}.j${n}`, jobBody(`${tenant}/${n}`))
  })
  const consumed = await measured(bench, [floor], count, async () => {
    const done = once(floor, 'message')
    floor.send({ stream: 'FLOOR', count, work })
    await done
  })
  for (const name of ['FLOOR', 'FLOOR_DONE']) await manager.streams.delete(name)
  return { published, consumed }
}

// ---- Headgate ----

let submits = 0

async function headgateRound(bench: Bench): Promise<{ submitted: Phase; ended: Phase }> {
  const { nc, headgate } = bench
  const pause = (paused: boolean): Promise<unknown> =>
    nc.request('llm.v1.admin.lane', JSON.stringify({ lane: 'interactive', paused }))
  await pause(true)
  const { count, phase: submitted } = await asked(bench, [headgate], async () => {
    const tenant = bench.tenantOf()
    const id = `j${submits++}`
    const said = headers()
    said.set(HEADER.id, id)
    said.set(HEADER.deadline, HOUR)
    const answer = await nc.request(
      `llm.v1.submit.${tenant}.interactive`,
      jobBody(`${tenant}/${id}`),
      { headers: said, timeout: 30_000 },
    )
    const error = answer.headers?.get('Nats-Service-Error') ?? ''
    if (error !== '') throw new Error(error)
  })
  const ended = await measured(bench, [headgate], count, async () => {
    const all = Promise.withResolvers<void>()
    let heard = 0
    const results = nc.subscribe('llm.v1.result.>', {
      callback: () => {
        if (++heard === count) all.resolve()
      },
    })
    await pause(false)
    await all.promise
    results.unsubscribe()
  })
  return { submitted, ended }
}

// ---- measuring ----

/** As many as can be asked in the time, so many at once. */
async function asked(
  bench: Bench,
  serving: readonly ChildProcess[],
  ask: (n: number) => Promise<void>,
): Promise<{ count: number; phase: Phase }> {
  let count = 0
  const before = cpuOf(bench, serving)
  const began = performance.now()
  const until = began + bench.seconds * 1_000
  const lane = async (): Promise<void> => {
    while (performance.now() < until) await ask(count++)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, lane))
  return { count, phase: phaseOf(bench, { serving, count, before, began }) }
}

async function measured(
  bench: Bench,
  serving: readonly ChildProcess[],
  count: number,
  act: () => Promise<void>,
): Promise<Phase> {
  const before = cpuOf(bench, serving)
  const began = performance.now()
  await act()
  return phaseOf(bench, { serving, count, before, began })
}

function phaseOf(
  bench: Bench,
  of: { serving: readonly ChildProcess[]; count: number; before: Cpu; began: number },
): Phase {
  const { count, before } = of
  const took = (performance.now() - of.began) / 1_000
  const now = cpuOf(bench, of.serving)
  const spent = now.map((seconds, n) => seconds - (before[n] ?? 0))
  const each = spent.map((seconds) => ((seconds * 1e6) / count).toFixed(0)).join(', ')
  process.stderr.write(
    `  ${count} in ${took.toFixed(1)} s; µs of CPU each, asking, NATS, serving: ${each}\n`,
  )
  return {
    perSecond: count / took,
    perCoreSecond: count / spent.reduce((sum, one) => sum + one, 0),
  }
}

/** Seconds so far of who asks, of the nats-server and of those that serve. */
type Cpu = readonly number[]

function cpuOf({ natsPid }: Bench, serving: readonly ChildProcess[]): Cpu {
  return [process.pid, natsPid, ...serving.flatMap(({ pid }) => pid ?? [])].map(cpuSeconds)
}

// ---- what is said ----

function report(phases: Record<Column, Phase[]>): void {
  const of = (column: Column, what: keyof Phase): number =>
    median(phases[column].map((one) => one[what]))
  const row = (name: string, floor: Column, ours: Column, what: keyof Phase): string[] => {
    const ratios = phases[ours].map((one, n) => one[what] / phases[floor][n]![what])
    return [
      ...[name, of(floor, what).toFixed(0), of(ours, what).toFixed(0)],
      ...[`${median(ratios).toFixed(2)}x`, floor === 'call' ? '' : '>= 0.5x'],
    ]
  }
  sayMarkdown([
    ['', 'bare JetStream', 'Headgate', 'between', 'aimed at'],
    row('submit beside publish with ack, a second', 'publish', 'submit', 'perSecond'),
    row('the same, a second of one core', 'publish', 'submit', 'perCoreSecond'),
    row('result beside consume and ack, a second', 'consume', 'result', 'perSecond'),
    row('the same, a second of one core', 'consume', 'result', 'perCoreSecond'),
    row('result beside consume, call, store and ack, a second', 'call', 'result', 'perSecond'),
    row('the same, a second of one core', 'call', 'result', 'perCoreSecond'),
  ])
}
