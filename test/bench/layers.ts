/** `npm run bench -- layers`: where the CPU of one request goes, layer by layer, from a profile of the serving process
 *  under load. A layer's part is the time in its own code; what the kernel does for a layer stands by itself. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { once } from 'node:events'
import { connect } from '@nats-io/transport-node'
import { startNatsServer } from '../../services/cli/nats-server.ts'
import { load as loadDoor } from './door.ts'
import { sayTable } from './report.ts'
import { cpuSeconds, load as loadNats, prompt, start } from './wire-cost.ts'

const COUNT = 20_000
const WARM_UP = 4_000
const WIDTH = 64

/** The first that fits. */
const LAYERS: readonly [layer: string, where: RegExp][] = [
  ['garbage collector', /^\(garbage collector\)/],
  ['the SDK', /@anthropic-ai\//],
  ['HTTP to the upstream (undici)', /undici|^wasm|wasm:/],
  [
    'fastify and its router',
    /node_modules\/(fastify|find-my-way|@fastify|avvio|fast-|secure-json|light-my)/,
  ],
  ['NATS client', /@nats-io\//],
  ['metrics library', /prom-client/],
  ['other packages', /node_modules\//],
  ['HTTP door', /services\/(gateway|platform\/http)\//],
  ['asking (the client)', /services\/client\//],
  ['intake and outbox', /services\/scheduler\/(nats|memory)\//],
  ['loop', /services\/scheduler\/(loop|compose|degrade)\//],
  ['core', /services\/scheduler\/core\//],
  ['machines', /\/machines\//],
  ['provider', /services\/scheduler\/provider\//],
  ['events, metrics, traces', /services\/scheduler\/(observability|money)\//],
  ["dashboard's figures", /services\/dashboard\//],
  ['other of ours', /\/(services|contracts)\//],
  ["Node's HTTP server", /^node:_http/],
  ["Node's streams and sockets", /^node:(internal\/)?(stream|net|tls|internal\/stream)/],
  ['other of Node', /^node:/],
]
const KERNEL = 'kernel: sockets, timers'
/** Of a start: loading and compiling. */
const STARTING =
  /^(compileSourceTextModule|loadAndTranslate|executeUserEntryPoint|wrapSafe|evaluate|instantiate|link)$/

interface Profile {
  nodes: { id: number; callFrame: { functionName: string; url: string }; children?: number[] }[]
  samples: number[]
  timeDeltas: number[]
}

export async function benchLayers(): Promise<void> {
  const [door, streamed, nats] = [
    await measured('door', false),
    await measured('door', true),
    await measured('nats', false),
  ]
  const names = [...LAYERS.map(([name]) => name), KERNEL]
  const cell = (of: Measured, name: string): string =>
    ((of.parts.get(name) ?? 0) * of.cpuUs).toFixed(1)
  const rows = names
    .map((name) => [name, cell(door, name), cell(streamed, name), cell(nats, name)])
    .toSorted((a, b) => Number(b[1]) - Number(a[1]))
  sayTable(`CPU µs of one request, ${WIDTH} at once`, [
    ['', 'HTTP door', 'streamed, 20 events', 'NATS'],
    ...rows,
    ['all', ...[door, streamed, nats].map(({ cpuUs }) => cpuUs.toFixed(0))],
  ])
}

interface Measured {
  cpuUs: number
  /** Of 1. */
  parts: Map<string, number>
}

async function measured(way: 'door' | 'nats', stream: boolean): Promise<Measured> {
  const { server: nats, reason } = await startNatsServer()
  if (nats === null) throw new Error(reason)
  const folder = mkdtempSync(join(tmpdir(), 'headgate-layers-'))
  const upstream = await start('./upstream.ts', [], {})
  const { child, told } = await start('../../services/scheduler/main.ts', [], {
    ...{ NATS_URL: nats.url, ANTHROPIC_BASE_URL: String(upstream.told['url']) },
    ...{ ANTHROPIC_API_KEY: 'sk-bench', LOG_LEVEL: 'warn' },
    ...{ HEADGATE_HTTP_PORT: '0', HEADGATE_GATEWAY_PORT: '0' },
    ...(way === 'door' ? { HEADGATE_GATEWAY: 'on' } : {}),
    HEADGATE_CONFIG: new URL(way === 'door' ? './door.yaml' : './bench.yaml', import.meta.url)
      .pathname,
    NODE_OPTIONS: `--cpu-prof --cpu-prof-interval 250 --cpu-prof-dir=${folder}`,
  })
  try {
    const body = prompt(stream)
    const send = async (count: number): Promise<void> => {
      if (way === 'door') {
        const one = { name: way, url: String(told['gateway']), children: [child] }
        await loadDoor(one, { body, count, width: WIDTH })
        return
      }
      const nc = await connect({ servers: nats.url })
      const subject = (i: number): string => `llm.v1.request.t${i % 20}.interactive`
      await loadNats(nc, { name: way, child, subject }, { body, count, width: WIDTH })
      await nc.close()
    }
    await send(WARM_UP)
    const before = cpuSeconds(child.pid!)
    await send(COUNT)
    const cpuUs = ((cpuSeconds(child.pid!) - before) * 1e6) / COUNT
    const ended = once(child, 'exit')
    child.kill('SIGTERM')
    await ended
    return { cpuUs, parts: partsIn(folder) }
  } finally {
    upstream.child.kill('SIGTERM')
    child.kill('SIGKILL')
    await nats.stop()
    rmSync(folder, { recursive: true })
  }
}

function partsIn(folder: string): Map<string, number> {
  const [name] = readdirSync(folder)
  if (name === undefined) throw new Error('no profile was written')
  const profile = JSON.parse(readFileSync(join(folder, name), 'utf8')) as Profile
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]))
  const callers = new Map(
    profile.nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id] as const)),
  )
  const isStart = (id: number | undefined): boolean => {
    for (let at = id; at !== undefined; at = callers.get(at))
      if (STARTING.test(nodes.get(at)?.callFrame.functionName ?? '')) return true
    return false
  }
  const layers = new Map([...nodes].map(([id, node]) => [id, isStart(id) ? null : layerOf(node)]))
  const times = new Map<string, number>()
  let all = 0
  profile.samples.forEach((id, i) => {
    const layer = layers.get(id) ?? null
    if (layer === null) return
    const time = profile.timeDeltas[i] ?? 0
    times.set(layer, (times.get(layer) ?? 0) + time)
    all += time
  })
  return new Map([...times].map(([layer, time]) => [layer, time / all]))
}

/** Null: nobody's work. */
function layerOf({ callFrame: { functionName, url } }: Profile['nodes'][number]): string | null {
  if (/^\((idle|root|program)\)$/.test(functionName)) return null
  const place = url === '' ? functionName : url
  const found = LAYERS.find(([, where]) => where.test(place))
  return found === undefined ? KERNEL : found[0]
}
