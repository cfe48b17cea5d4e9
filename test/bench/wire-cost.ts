/** What a request costs: Headgate beside the floor in one run, both against the cheapest upstream, with
 *  800-byte prompts. CPU is the serving process's own, from the kernel's account of it. */
import { fork, type ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { connect, type NatsConnection } from '@nats-io/transport-node'
import { startNatsServer } from '../../services/cli/nats-server.ts'
import { v8Flags } from '../../services/cli/v8-flags.ts'
import { median, quantile, sayTable } from './report.ts'

const TICKS_PER_SECOND = 100
const ROUNDS = 5

export interface Served {
  name: string
  child: ChildProcess
  subject: (i: number) => string
}

export interface WireFigures {
  cpu64: { floor: number; headgate: number; ratio: number }
  p50: { floor: number; headgate: number; added: number }
  stream: { floor: number; headgate: number; ratio: number }
}

export async function benchWire(): Promise<WireFigures> {
  const { server: nats, reason } = await startNatsServer()
  if (nats === null) throw new Error(reason)
  const { child: upstream, told } = await start('./upstream.ts', [], {})
  const url = String(told['url'])
  const floor = await start('./floor.ts', [nats.url, url], {})
  const headgate = await start('../../services/scheduler/main.ts', [], {
    NATS_URL: nats.url,
    ANTHROPIC_BASE_URL: url,
    ANTHROPIC_API_KEY: 'sk-bench',
    HEADGATE_HTTP_PORT: '0',
    LOG_LEVEL: 'warn',
    HEADGATE_CONFIG: new URL('./bench.yaml', import.meta.url).pathname,
  })
  const served: Served[] = [
    { name: 'floor', child: floor.child, subject: (i) => `floor.request.t${i % 20}.interactive` },
    {
      name: 'headgate',
      child: headgate.child,
      subject: (i) => `llm.v1.request.t${i % 20}.interactive`,
    },
  ]
  const nc = await connect({ servers: nats.url })
  try {
    const whole = prompt(false)
    const streamed = prompt(true)
    for (const one of served) await load(nc, one, { body: whole, count: 3_000, width: 64 })
    for (const one of served) await load(nc, one, { body: streamed, count: 1_500, width: 16 })
    const cpu = await rounds(nc, served, { body: whole, count: 10_000, width: 64 })
    const latency = await rounds(nc, served, { body: whole, count: 1_500, width: 1 })
    const stream = await rounds(nc, served, { body: streamed, count: 5_000, width: 64 })
    return report({ cpu, latency, stream })
  } finally {
    await nc.close()
    for (const child of [headgate.child, floor.child, upstream]) child.kill('SIGTERM')
    await nats.stop()
  }
}

type Samples = Record<string, { cpuUs: number[]; p50Ms: number[] }>

export async function rounds(
  nc: NatsConnection,
  served: Served[],
  of: { body: Buffer; count: number; width: number },
): Promise<Samples> {
  const samples: Samples = {}
  for (let round = 0; round < ROUNDS; round++)
    for (const one of served) {
      const before = cpuSeconds(one.child.pid!)
      const took = await load(nc, one, of)
      const spent = cpuSeconds(one.child.pid!) - before
      const mine = (samples[one.name] ??= { cpuUs: [], p50Ms: [] })
      mine.cpuUs.push((spent * 1e6) / of.count)
      mine.p50Ms.push(quantile(took, 0.5))
    }
  return samples
}

/** Sends `count` requests, `width` at a time; milliseconds each. A stream ends with an empty message. */
export function load(
  nc: NatsConnection,
  one: Served,
  of: { body: Buffer; count: number; width: number },
): Promise<number[]> {
  const stream = of.body.includes('"stream":true')
  return new Promise((resolve, reject) => {
    const took: number[] = []
    const began = new Map<string, number>()
    const inbox = `_INBOX.bench${Math.random().toString(36).slice(2)}`
    let sent = 0
    const send = (): void => {
      const to = `${inbox}.${sent}`
      began.set(to, performance.now())
      nc.publish(one.subject(sent), of.body, { reply: to })
      sent++
    }
    const subscription = nc.subscribe(`${inbox}.*`, {
      callback: (_error, message) => {
        if (message.headers?.get('Nats-Service-Error') || message.headers?.code === 503) {
          reject(new Error(`${one.name}: ${message.headers.get('Nats-Service-Error')}`))
          return
        }
        if (stream && message.data.length > 0) return
        took.push(performance.now() - began.get(message.subject)!)
        began.delete(message.subject)
        if (sent < of.count) send()
        else if (took.length === of.count) {
          subscription.unsubscribe()
          resolve(took)
        }
      },
    })
    for (let i = 0; i < of.width; i++) send()
  })
}

export function prompt(stream: boolean): Buffer {
  const body = {
    model: 'claude-bench',
    max_tokens: 256,
    ...(stream ? { stream } : {}),
    messages: [{ role: 'user', content: '' }],
  }
  const missing = 800 - JSON.stringify(body).length
  body.messages[0]!.content = 'p'.repeat(missing)
  return Buffer.from(JSON.stringify(body))
}

/** User and system time of one process so far. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}

export async function start(
  file: string,
  args: string[],
  env: Record<string, string>,
  lessMemory = false,
): Promise<{ child: ChildProcess; told: Record<string, unknown> }> {
  const child = fork(new URL(file, import.meta.url), args, {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    // As `headgate serve` starts it.
    execArgv: file.includes('/services/') ? v8Flags({ simulator: false, lessMemory }) : [],
  })
  const told = await new Promise<Record<string, unknown>>((resolve, reject) => {
    child.once('message', (message) => resolve(message as Record<string, unknown>))
    child.once('exit', (code) => reject(new Error(`${file} ended with ${code}`)))
  })
  if (told['type'] !== 'ready') throw new Error(`${file}: ${JSON.stringify(told)}`)
  return { child, told }
}

function report(of: { cpu: Samples; latency: Samples; stream: Samples }): WireFigures {
  const at = (samples: Samples, name: string, what: 'cpuUs' | 'p50Ms'): number =>
    median(samples[name]![what])
  const pairs = (samples: Samples): number =>
    median(samples['headgate']!.cpuUs.map((cpu, i) => cpu / samples['floor']!.cpuUs[i]!))
  const figures: WireFigures = {
    cpu64: {
      floor: at(of.cpu, 'floor', 'cpuUs'),
      headgate: at(of.cpu, 'headgate', 'cpuUs'),
      ratio: pairs(of.cpu),
    },
    p50: {
      floor: at(of.latency, 'floor', 'p50Ms'),
      headgate: at(of.latency, 'headgate', 'p50Ms'),
      added: at(of.latency, 'headgate', 'p50Ms') - at(of.latency, 'floor', 'p50Ms'),
    },
    stream: {
      floor: at(of.stream, 'floor', 'cpuUs'),
      headgate: at(of.stream, 'headgate', 'cpuUs'),
      ratio: pairs(of.stream),
    },
  }
  sayTable('cost per request, beside the floor', [
    ['', 'floor', 'headgate', 'between', 'target'],
    ['CPU µs, 64 at once', figures.cpu64.floor.toFixed(0), figures.cpu64.headgate.toFixed(0), `${figures.cpu64.ratio.toFixed(2)}x`, '<= 3x'],
    ['P50 ms, one at a time', figures.p50.floor.toFixed(2), figures.p50.headgate.toFixed(2), `+${figures.p50.added.toFixed(2)} ms`, '<= +0.5 ms'],
    ['CPU µs, streamed, 20 events', figures.stream.floor.toFixed(0), figures.stream.headgate.toFixed(0), `${figures.stream.ratio.toFixed(2)}x`, '<= 2.5x'],
  ]) // prettier-ignore
  return figures
}
