/** What open dashboards cost: the scheduler's CPU at 300 requests a second without a page, with 20 and with
 *  200, in turns within one run. A page here reads its feed as fast as it comes. */
import { request as open, type ClientRequest } from 'node:http'
import { connect, type NatsConnection } from '@nats-io/transport-node'
import { startNatsServer } from '../../services/cli/nats-server.ts'
import { median, sayTable } from './report.ts'
import { cpuSeconds, prompt, start } from './wire-cost.ts'

const PER_SECOND = 300
const LASTING_MS = 8_000
const ROUNDS = 5
const PAGES = [0, 20, 200]

export async function benchPages(): Promise<void> {
  const { server: nats, reason } = await startNatsServer()
  if (nats === null) throw new Error(reason)
  const { child: upstream, told } = await start('./upstream.ts', [], {})
  const headgate = await start('../../services/scheduler/main.ts', [], {
    NATS_URL: nats.url,
    ANTHROPIC_BASE_URL: String(told['url']),
    ANTHROPIC_API_KEY: 'sk-bench',
    HEADGATE_HTTP_PORT: '0',
    LOG_LEVEL: 'warn',
    HEADGATE_CONFIG: new URL('./bench.yaml', import.meta.url).pathname,
  })
  const nc = await connect({ servers: nats.url })
  const feed = `${String(headgate.told['http'])}/api/feed`
  const milliCores = new Map(PAGES.map((pages): [number, number[]] => [pages, []]))
  let bytes = 0
  try {
    await load(nc, LASTING_MS)
    for (let round = 0; round < ROUNDS; round++)
      for (const pages of PAGES) {
        const opened = await Promise.all(
          Array.from({ length: pages }, () => page(feed, (got) => (bytes += got))),
        )
        // Hello is not what a page costs in a second.
        await load(nc, 1_000)
        const before = cpuSeconds(headgate.child.pid!)
        await load(nc, LASTING_MS)
        const spent = cpuSeconds(headgate.child.pid!) - before
        milliCores.get(pages)!.push((spent * 1e6) / LASTING_MS)
        for (const one of opened) one.destroy()
      }
  } finally {
    await nc.close()
    for (const child of [headgate.child, upstream]) child.kill('SIGTERM')
    await nats.stop()
  }
  report(milliCores)
  console.log(`  ${Math.round(bytes / 1e6)} MB were read by pages`)
}

/** Ratios are of one round each: the machine's other work changes from round to round. */
function report(milliCores: ReadonlyMap<number, readonly number[]>): void {
  const none = milliCores.get(0) ?? []
  sayTable(
    `CPU of the scheduler at ${PER_SECOND} requests/s, in thousandths of a core`,
    [...milliCores].map(([pages, mine]) => [
      `${pages} pages`,
      median(mine).toFixed(0),
      `x ${median(mine.map((one, round) => one / none[round]!)).toFixed(3)}`,
      `(${mine.map((one) => one.toFixed(0)).join(' ')})`,
    ]),
  )
}

/** Open loop: a slow answer does not slow what is asked. */
function load(nc: NatsConnection, lastingMs: number): Promise<void> {
  const body = prompt(false)
  const count = (lastingMs / 1_000) * PER_SECOND
  return new Promise((resolve) => {
    const inbox = `_INBOX.pages${Math.random().toString(36).slice(2)}`
    let answers = 0
    const subscription = nc.subscribe(`${inbox}.*`, {
      callback: () => {
        if (++answers < count) return
        subscription.unsubscribe()
        resolve()
      },
    })
    const began = performance.now()
    let sent = 0
    const timer = setInterval(() => {
      const due = Math.min(count, ((performance.now() - began) / 1_000) * PER_SECOND)
      for (; sent < due; sent++)
        nc.publish(`llm.v1.request.t${sent % 20}.interactive`, body, { reply: `${inbox}.${sent}` })
      if (sent >= count) clearInterval(timer)
    }, 10)
  })
}

function page(url: string, onBytes: (got: number) => void): Promise<ClientRequest> {
  return new Promise((resolve, reject) => {
    const asked = open(url, { agent: false }, (answer) => {
      answer.on('data', (chunk: Buffer) => onBytes(chunk.length))
      answer.on('error', () => {})
      resolve(asked)
    })
    asked.on('error', reject)
    asked.end()
  })
}
