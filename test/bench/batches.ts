/** `npm run bench -- batches [10000] [--less-memory]`: so many entries in and their results out through the HTTP door beside the
 *  scheduler, and by how much its process grows meanwhile. */
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import Anthropic from '@anthropic-ai/sdk'
import { startNatsServer } from '../../services/cli/nats-server.ts'
import { sayTable } from './report.ts'
import { start } from './wire-cost.ts'

const KB_PER_MB = 1_024
const SAMPLE_MS = 50
const POLL_MS = 500
const TEXT_CHARS = 1_000

export interface BatchFigures {
  inSeconds: number
  endSeconds: number
  outSeconds: number
  idleMb: number
  peakMb: number
}

export async function benchBatches(options: readonly string[]): Promise<BatchFigures> {
  const { values, positionals } = parseArgs({
    args: [...options],
    options: { 'less-memory': { type: 'boolean', default: false } },
    allowPositionals: true,
  })
  const entries = Number(positionals[0] ?? 10_000)
  const { server: nats, reason } = await startNatsServer()
  if (nats === null) throw new Error(reason)
  const upstream = await start('./upstream.ts', [], {})
  const env = {
    NATS_URL: nats.url,
    ANTHROPIC_BASE_URL: String(upstream.told['url']),
    ANTHROPIC_API_KEY: 'sk-bench',
    HEADGATE_HTTP_PORT: '0',
    HEADGATE_GATEWAY_PORT: '0',
    HEADGATE_GATEWAY: 'on',
    LOG_LEVEL: 'warn',
    HEADGATE_CONFIG: new URL('./door.yaml', import.meta.url).pathname,
  }
  const house = await start('../../services/scheduler/main.ts', [], env, values['less-memory'])
  const client = new Anthropic({
    ...{ baseURL: String(house.told['gateway']), apiKey: 'any', maxRetries: 0, logLevel: 'off' },
  })
  const residentMb = () => residentKb(house.child.pid ?? 0) / KB_PER_MB
  try {
    // What is loaded at the first call is no matter of the entries.
    await through(client, 50)
    const idleMb = residentMb()
    let peakMb = idleMb
    const sampling = setInterval(() => (peakMb = Math.max(peakMb, residentMb())), SAMPLE_MS)
    const took = await through(client, entries)
    clearInterval(sampling)
    const figures = { ...took, idleMb, peakMb }
    sayTable(`batches: ${entries} entries of ${TEXT_CHARS} characters`, [
      ['', '', 'target'],
      ['received, s', took.inSeconds.toFixed(1), ''],
      ['until all had ended, s', took.endSeconds.toFixed(1), ''],
      ['results read, s', took.outSeconds.toFixed(1), ''],
      ['memory of the process, idle, MB', idleMb.toFixed(0), ''],
      ['at most above it, MB', (peakMb - idleMb).toFixed(0), '<= 150'],
    ])
    return figures
  } finally {
    house.child.kill('SIGTERM')
    upstream.child.kill('SIGTERM')
    await nats.stop()
  }
}

async function through(
  client: Anthropic,
  entries: number,
): Promise<Pick<BatchFigures, 'inSeconds' | 'endSeconds' | 'outSeconds'>> {
  const content = 'x'.repeat(TEXT_CHARS)
  const requests = Array.from({ length: entries }, (_, i) => ({
    custom_id: `entry-${i}`,
    params: {
      model: 'claude-haiku-4-5',
      max_tokens: 64,
      messages: [{ role: 'user' as const, content }],
    },
  }))
  const began = performance.now()
  const since = (from: number) => (performance.now() - from) / 1_000
  const { id } = await client.messages.batches.create({ requests })
  const inSeconds = since(began)
  for (;;) {
    const batch = await client.messages.batches.retrieve(id)
    if (batch.processing_status === 'ended') break
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
  const endSeconds = since(began)
  const reading = performance.now()
  let lines = 0
  for await (const { result } of await client.messages.batches.results(id)) {
    if (result.type !== 'succeeded') throw new Error(`an entry ended as ${result.type}`)
    lines += 1
  }
  if (lines !== entries) throw new Error(`${lines} results of ${entries} entries`)
  const outSeconds = since(reading)
  await client.messages.batches.delete(id)
  return { inSeconds, endSeconds, outSeconds }
}

/** As the kernel counts it. */
function residentKb(pid: number): number {
  const [, kb] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kb)
}
