/** What the HTTP door costs: beside a call straight to the same upstream, and beside a bare reverse proxy, in
 *  one run and in turns. In one process with the scheduler (`serve --gateway`), and apart over NATS. CPU is the
 *  serving processes' own, from the kernel's account of it. */
import type { ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { Pool } from 'undici'
import { startNatsServer } from '../../services/cli/nats-server.ts'
import { median, quantile, sayTable } from './report.ts'
import { cpuSeconds, prompt, start } from './wire-cost.ts'

const ROUNDS = 5
const WIDTHS = [1, 64, 512]

export interface Served {
  name: string
  url: string
  /** Whose CPU it is. */
  children: readonly ChildProcess[]
}

interface Sample {
  p50Ms: number
  p99Ms: number
  cpuUs: number
}

type Samples = Record<string, Sample[]>

export interface DoorFigures {
  whole: Record<number, Record<string, Sample>>
  stream: Record<string, Sample>
  /** CPU per request over the bare proxy's, by width; streamed ones at 64. */
  ratio: Record<string, Record<string, number>>
  /** Resident at most, of all processes that serve. */
  memoryMb: Record<string, number>
}

export async function benchDoor(): Promise<DoorFigures> {
  const { server: nats, reason } = await startNatsServer()
  if (nats === null) throw new Error(reason)
  const config = new URL('./door.yaml', import.meta.url).pathname
  const upstream = await start('./upstream.ts', [], {})
  const url = String(upstream.told['url'])
  const proxy = await start('./reverse-proxy.ts', [url], {})
  const env = {
    NATS_URL: nats.url,
    ANTHROPIC_BASE_URL: url,
    ANTHROPIC_API_KEY: 'sk-bench',
    HEADGATE_HTTP_PORT: '0',
    HEADGATE_GATEWAY_PORT: '0',
    LOG_LEVEL: 'warn',
    HEADGATE_CONFIG: config,
  }
  const main = '../../services/scheduler/main.ts'
  const together = await start(main, [], { ...env, HEADGATE_GATEWAY: 'on' })
  const scheduler = await start(main, [], {
    ...env,
    HEADGATE_CONFIG: config.replace('door.yaml', 'door-apart.yaml'),
  })
  const door = await start('../../services/gateway/main.ts', [], {
    ...env,
    HEADGATE_CONFIG: config.replace('door.yaml', 'door-apart.yaml'),
  })
  const served: Served[] = [
    { name: 'direct', url, children: [] },
    { name: 'proxy', url: String(proxy.told['url']), children: [proxy.child] },
    { name: 'door', url: String(together.told['gateway']), children: [together.child] },
    { name: 'apart', url: String(door.told['gateway']), children: [door.child, scheduler.child] },
  ]
  try {
    const whole: DoorFigures['whole'] = {}
    const ratio: DoorFigures['ratio'] = {}
    for (const one of served) await load(one, { body: prompt(false), count: 3_000, width: 64 })
    for (const width of WIDTHS) {
      const count = width === 1 ? 1_500 : 8_000
      const samples = await rounds(served, { body: prompt(false), count, width })
      whole[width] = middle(samples)
      ratio[String(width)] = ratios(samples)
    }
    for (const one of served) await load(one, { body: prompt(true), count: 1_500, width: 64 })
    const streamed = await rounds(served, { body: prompt(true), count: 5_000, width: 64 })
    ratio['streamed'] = ratios(streamed)
    const memoryMb = Object.fromEntries(
      served.slice(1).map(({ name, children }) => [name, mostMb(children)]),
    )
    const figures = { whole, stream: middle(streamed), ratio, memoryMb }
    report(figures)
    return figures
  } finally {
    const children = [door.child, scheduler.child, together.child, proxy.child, upstream.child]
    for (const child of children) child.kill('SIGTERM')
    await nats.stop()
  }
}

async function rounds(
  served: readonly Served[],
  of: { body: Buffer; count: number; width: number },
): Promise<Samples> {
  const samples: Samples = {}
  for (let round = 0; round < ROUNDS; round++)
    for (const one of served) (samples[one.name] ??= []).push(await load(one, of))
  return samples
}

/** Sends `count` requests over `width` connections, one at a time on each. */
export async function load(
  one: Served,
  of: { body: Buffer; count: number; width: number },
): Promise<Sample> {
  const pool = new Pool(one.url, { connections: of.width, headersTimeout: 0, bodyTimeout: 0 })
  const headers = {
    'content-type': 'application/json',
    'anthropic-version': '2023-06-01',
    'x-api-key': 'sk-bench',
  }
  const took: number[] = []
  let sent = 0
  const before = cpuOf(one)
  const line = async (): Promise<void> => {
    while (sent < of.count) {
      sent++
      const began = performance.now()
      const answer = await pool.request({
        path: '/v1/messages',
        method: 'POST',
        headers,
        body: of.body,
      })
      const text = await answer.body.text()
      if (answer.statusCode !== 200) throw new Error(`${one.name}: ${answer.statusCode} ${text}`)
      took.push(performance.now() - began)
    }
  }
  await Promise.all(Array.from({ length: of.width }, line))
  const cpuUs = ((cpuOf(one) - before) * 1e6) / of.count
  await pool.destroy()
  return { p50Ms: quantile(took, 0.5), p99Ms: quantile(took, 0.99), cpuUs }
}

const cpuOf = ({ children }: Served): number =>
  children.reduce((sum, child) => sum + cpuSeconds(child.pid!), 0)

/** As the kernel counts it, since each began. */
const mostMb = (children: readonly ChildProcess[]): number =>
  children.reduce((sum, { pid }) => {
    const [, kb] = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
    return sum + Number(kb) / 1_024
  }, 0)

const middle = (samples: Samples): Record<string, Sample> =>
  Object.fromEntries(
    Object.entries(samples).map(([name, all]) => [
      name,
      {
        p50Ms: median(all.map((one) => one.p50Ms)),
        p99Ms: median(all.map((one) => one.p99Ms)),
        cpuUs: median(all.map((one) => one.cpuUs)),
      },
    ]),
  )

/** Round by round, so that what disturbs one round disturbs both sides. */
const ratios = (samples: Samples): Record<string, number> =>
  Object.fromEntries(
    ['door', 'apart'].map((name) => [
      name,
      median(samples[name]!.map((one, i) => one.cpuUs / samples['proxy']![i]!.cpuUs)),
    ]),
  )

function report({ whole, stream, ratio, memoryMb }: DoorFigures): void {
  const added = (of: Record<string, Sample>, name: string, what: 'p50Ms' | 'p99Ms'): string => {
    const ms = of[name]![what]
    const more = (beside: string): string => `${(ms - of[beside]![what]).toFixed(2)}`
    return `${ms.toFixed(2)} (+${more('direct')}, +${more('proxy')})`
  }
  const rows = [...Object.entries(whole), ['64, streamed', stream] as const].map(([width, of]) => {
    const by = ratio[width === '64, streamed' ? 'streamed' : width]!
    return ['direct', 'proxy', 'door', 'apart'].map((name) => [
      `${width}`,
      name,
      added(of, name, 'p50Ms'),
      added(of, name, 'p99Ms'),
      name === 'direct' ? '' : of[name]!.cpuUs.toFixed(0),
      name in by ? `${by[name]!.toFixed(2)}x` : '',
    ])
  })
  sayTable('the HTTP door: ms (added to direct, to the proxy), CPU µs per request', [
    ['connections', '', 'P50', 'P99', 'CPU', 'of the proxy (door: <= 3x)'],
    ...rows.flat(),
  ])
  sayTable('memory of what serves, resident at most', [
    ['', 'MB'],
    ...Object.entries(memoryMb).map(([name, mb]) => [name, mb.toFixed(0)]),
  ])
}
