/** `npm run bench -- fleet-scale [--seconds N] [--seed N] [--calls N] [--part scale|cost] [--members 2,5,10]`: what more
 *  schedulers get through on this machine, and what it costs each of them to divide the limits. A Markdown table of
 *  each on stdout. */
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { setTimeout as after } from 'node:timers/promises'
import { connect, type NatsConnection } from '@nats-io/transport-node'
import { seededDice, type Dice } from '#core/estimators/dice'
import { markdownTable } from '#simulator/overload'
import { shareTalk, type Talk } from '../support/share-talk.ts'
import { startBenchFleet } from './bench-fleet.ts'
import { median } from './report.ts'
import { cpuSeconds, load, prompt, start } from './wire-cost.ts'

const INSTANCES = [1, 2, 4] as const
/** Of the scale: so many calls at once. */
const SCALE = { rounds: 5, width: 128 }
/** Of a busy member: calls a second, of so long. */
const BUSY = { perSecond: 10, serviceMs: 500 }
const SETTLED_MS = 5_000
const YAML = `llm_gateway: { max_inflight_global: 1000, max_inflight_per_tenant: 1000 }
lanes: { interactive: { cap: 1000, queue_max: 100000 } }
scheduling: { base: 1000 }
concurrency_limit: { initial: 1000, ceiling: 1000 }
`

export async function benchFleetScale(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seconds: { type: 'string', default: '30' },
      seed: { type: 'string', default: '1' },
      calls: { type: 'string', default: '4000' },
      part: { type: 'string' },
      members: { type: 'string', default: '2,5,10' },
    },
  })
  const of = {
    ...{ seconds: Number(values.seconds), seed: Number(values.seed) },
    fleets: values.members.split(',').map(Number),
  }
  if (values.part !== 'cost') await scale(Number(values.calls))
  if (values.part !== 'scale') await cost(of)
}

async function scale(calls: number): Promise<void> {
  const rows: string[][] = []
  let first: number | null = null
  for (const instances of INSTANCES) {
    process.stderr.write(`${instances} instances\n`)
    const { perSecond, cpuUs } = await throughput(instances, calls)
    first ??= perSecond
    rows.push([
      String(instances),
      perSecond.toFixed(0),
      `${(perSecond / first).toFixed(2)}x`,
      cpuUs.toFixed(0),
      ((perSecond * cpuUs) / 1e6).toFixed(2),
    ])
  }
  const cores = `of ${availableParallelism()} cores they have`
  console.log(
    markdownTable([['instances', 'completed/s', 'of one', 'their CPU µs a call', cores], ...rows]),
  )
}

/** Medians over the rounds. */
async function throughput(
  members: number,
  calls: number,
): Promise<{ perSecond: number; cpuUs: number }> {
  const upstream = await start('./upstream.ts', [], {})
  const fleet = await startBenchFleet({
    members,
    upstream: String(upstream.told['url']),
    yaml: YAML,
  })
  const nc = await connect({ servers: fleet.nats.url })
  const served = {
    ...{ name: `${members} instances`, child: upstream.child },
    subject: (i: number) => `llm.v1.request.t${i % 20}.interactive`,
  }
  const body = prompt(false)
  const rates: number[] = []
  const cpus: number[] = []
  try {
    await load(nc, served, { body, count: calls / 2, width: SCALE.width })
    for (let round = 0; round < SCALE.rounds; round++) {
      const [before, began] = [cpuOf(fleet.pids), performance.now()]
      await load(nc, served, { body, count: calls, width: SCALE.width })
      rates.push(calls / ((performance.now() - began) / 1_000))
      cpus.push(((cpuOf(fleet.pids) - before) * 1e6) / calls)
    }
    return { perSecond: median(rates), cpuUs: median(cpus) }
  } finally {
    await nc.close()
    await fleet.close()
    upstream.child.kill('SIGTERM')
  }
}

const cpuOf = (pids: readonly number[]): number =>
  pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0)

/** Of one member and second. */
interface Cost extends Talk {
  cpuMs: number
}

async function cost(of: { seconds: number; seed: number; fleets: number[] }): Promise<void> {
  const rows: string[][] = []
  for (const members of of.fleets)
    for (const busy of [false, true]) {
      process.stderr.write(`${members} members, ${busy ? 'busy' : 'idle'}\n`)
      const shared = await costOf({ ...of, members, busy, alone: false })
      const alone = await costOf({ ...of, members, busy, alone: true })
      rows.push([
        ...[String(members), busy ? 'busy' : 'idle'],
        ...[shared.writes.toFixed(2), shared.messages.toFixed(1), shared.bytes.toFixed(0)],
        shared.beats.toFixed(1),
        ...[shared.cpuMs.toFixed(2), alone.cpuMs.toFixed(2)],
        (shared.cpuMs - alone.cpuMs).toFixed(2),
      ])
    }
  console.log(
    markdownTable([
      [
        ...['members', 'they are', 'writes', 'messages', 'bytes', 'heartbeats'],
        ...['CPU ms, in a fleet', 'CPU ms, each alone', 'between'],
      ],
      ...rows,
    ]),
  )
}

async function costOf(of: {
  members: number
  busy: boolean
  alone: boolean
  seconds: number
  seed: number
}): Promise<Cost> {
  const { members, seconds, alone } = of
  const upstream = await start('./overload-upstream.ts', [String(of.seed), '1', 'Infinity'], {})
  const url = String(upstream.told['url'])
  const fleet = await startBenchFleet({ members, upstream: url, yaml: YAML, alone })
  const nc = await connect({ servers: fleet.nats.url })
  const talk = await shareTalk(fleet.nats.url)
  const stop = of.busy ? offer(nc, members * BUSY.perSecond, seededDice(of.seed)) : () => {}
  try {
    await after(SETTLED_MS)
    talk.take()
    const before = cpuOf(fleet.pids)
    await after(seconds * 1_000)
    const cpuMs = (cpuOf(fleet.pids) - before) * 1_000
    const { messages, bytes, writes, beats } = talk.take()
    const each = (value: number): number => value / (members * seconds)
    return {
      ...{ messages: each(messages), bytes: each(bytes), writes: each(writes) },
      ...{ beats: each(beats), cpuMs: each(cpuMs) },
    }
  } finally {
    stop()
    await talk.close()
    await nc.close()
    await fleet.close()
    upstream.child.kill('SIGTERM')
  }
}

/** Poisson arrivals of plain calls, until it is told to stop. */
function offer(nc: NatsConnection, perSecond: number, dice: Dice): () => void {
  let timer: NodeJS.Timeout | null = null
  let sent = 0
  let due = performance.now()
  const next = (): void => {
    for (; due <= performance.now(); due -= (1_000 / perSecond) * Math.log(1 - dice.next())) {
      const serviceMs = Math.round(-BUSY.serviceMs * Math.log(1 - dice.next()))
      const body = {
        ...{ model: 'claude-bench', max_tokens: 64, metadata: { user_id: `${sent}-${serviceMs}` } },
        messages: [{ role: 'user', content: 'Say hello.' }],
      }
      const reply = `_INBOX.offer.${sent}`
      nc.publish(`llm.v1.request.t${sent++ % 20}.interactive`, JSON.stringify(body), { reply })
    }
    timer = setTimeout(next, Math.max(0, due - performance.now()))
  }
  const answers = nc.subscribe('_INBOX.offer.*', { callback: () => {} })
  next()
  return () => {
    if (timer !== null) clearTimeout(timer)
    answers.unsubscribe()
  }
}
