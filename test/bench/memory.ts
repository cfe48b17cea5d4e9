/** What waiting requests weigh, and whether anything stays: 10,000 queued, then 200,000 through it. */
import { fork } from 'node:child_process'
import { connect, type NatsConnection } from '@nats-io/transport-node'
import { startNatsServer } from '../../services/cli/nats-server.ts'
import { sayTable } from './report.ts'

const MB = 1_048_576

interface Weight {
  heapUsed: number
  external: number
  arrayBuffers: number
}

export interface MemoryFigures {
  queuedMb: number
  bodiesMb: number
  soakHeapMb: number[]
}

export async function benchMemory(options: { soak: number }): Promise<MemoryFigures> {
  const { server: nats, reason } = await startNatsServer()
  if (nats === null) throw new Error(reason)
  const upstream = fork(new URL('./upstream.ts', import.meta.url), [], ipc([]))
  const { url } = await next<{ url: string }>(upstream)
  const scheduler = fork(new URL('./weighed.ts', import.meta.url), [], {
    ...ipc(['--expose-gc']),
    env: {
      ...process.env,
      NATS_URL: nats.url,
      ANTHROPIC_BASE_URL: url,
      ANTHROPIC_API_KEY: 'sk-bench',
      HEADGATE_HTTP_PORT: '0',
      LOG_LEVEL: 'warn',
      HEADGATE_CONFIG: new URL('./bench.yaml', import.meta.url).pathname,
    },
  })
  await next(scheduler)
  const weigh = async (): Promise<Weight> => {
    scheduler.send('weigh')
    return next<Weight>(scheduler)
  }
  const nc = await connect({ servers: nats.url })
  try {
    await through(nc, 20_000, 200)
    const queued = await weighQueued(nc, weigh)
    const samples: number[] = [(await weigh()).heapUsed / MB]
    for (let part = 0; part < 2; part++) {
      await through(nc, options.soak / 2, 200)
      samples.push((await weigh()).heapUsed / MB)
    }
    const figures = { ...queued, soakHeapMb: samples }
    sayTable('memory', [
      ['', 'MB', 'target'],
      ['10,000 queued, beyond their bodies', queued.queuedMb.toFixed(1), '<= 40'],
      ['their bodies', queued.bodiesMb.toFixed(1), ''],
      [
        `heap before, halfway and after ${options.soak} requests`,
        samples.map((mb) => mb.toFixed(1)).join(' / '),
        'level',
      ],
    ])
    return figures
  } finally {
    await nc.close()
    scheduler.kill('SIGTERM')
    upstream.kill('SIGTERM')
    await nats.stop()
  }
}

/** Fills a paused lane, and empties it again. */
async function weighQueued(
  nc: NatsConnection,
  weigh: () => Promise<Weight>,
): Promise<{ queuedMb: number; bodiesMb: number }> {
  const pause = (paused: boolean) =>
    nc.request('llm.v1.admin.lane', JSON.stringify({ lane: 'batch', paused }), { timeout: 5_000 })
  await pause(true)
  const before = await weigh()
  const body = prompt()
  const many = 10_000
  const done = answers(nc, many)
  for (let i = 0; i < many; i++)
    nc.publish(`llm.v1.request.t${i % 20}.batch`, body, { reply: `${done.inbox}.${i}` })
  await nc.flush()
  await queuedUp(nc, many)
  const after = await weigh()
  await pause(false)
  await done.all
  const grown = (w: Weight): number => w.heapUsed + w.external
  const bodies = many * body.length
  return { queuedMb: (grown(after) - grown(before) - bodies) / MB, bodiesMb: bodies / MB }
}

async function queuedUp(nc: NatsConnection, many: number): Promise<void> {
  for (;;) {
    const answer = await nc.request('llm.v1.admin.snapshot', '', { timeout: 5_000 })
    const { global } = answer.json<{ global: { queued: number } }>()
    if (global.queued >= many) return
  }
}

function answers(nc: NatsConnection, many: number): { inbox: string; all: Promise<void> } {
  const inbox = `_INBOX.memory${process.hrtime.bigint()}`
  let got = 0
  const all = new Promise<void>((resolve) => {
    const subscription = nc.subscribe(`${inbox}.*`, {
      callback: () => {
        if (++got < many) return
        subscription.unsubscribe()
        resolve()
      },
    })
  })
  return { inbox, all }
}

/** `many` requests, `width` at a time. */
function through(nc: NatsConnection, many: number, width: number): Promise<void> {
  const body = prompt()
  const inbox = `_INBOX.soak${process.hrtime.bigint()}`
  let sent = 0
  let got = 0
  const send = (): void =>
    nc.publish(`llm.v1.request.t${sent % 500}.interactive`, body, { reply: `${inbox}.${sent++}` })
  return new Promise((resolve) => {
    const subscription = nc.subscribe(`${inbox}.*`, {
      callback: () => {
        if (++got === many) {
          subscription.unsubscribe()
          resolve()
        } else if (sent < many) send()
      },
    })
    for (let i = 0; i < Math.min(width, many); i++) send()
  })
}

const prompt = (): Buffer =>
  Buffer.from(
    JSON.stringify({
      model: 'claude-bench',
      max_tokens: 256,
      messages: [{ role: 'user', content: 'p'.repeat(700) }],
    }),
  )

const ipc = (execArgv: string[]) => ({
  execArgv,
  stdio: ['ignore', 'ignore', 'inherit', 'ipc'] as ['ignore', 'ignore', 'inherit', 'ipc'],
})

const next = <T>(child: ReturnType<typeof fork>): Promise<T> =>
  new Promise((resolve, reject) => {
    child.once('message', (message) => resolve(message as T))
    child.once('exit', (code) => reject(new Error(`ended with ${code}`)))
  })
