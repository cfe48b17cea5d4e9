/** `headgate up` as a person runs it: NATS, the simulated provider and the scheduler, in processes of their own. */
import { spawn } from 'node:child_process'
import { createServer, type AddressInfo } from 'node:net'
import type { Frame } from '#contracts/dashboard'
import { inRoot } from './tree.ts'

export interface Stack {
  readonly natsUrl: string
  /** The operator's. */
  readonly url: string
  readonly token: string
  readonly httpPort: number
  /** Ends it and everything it started. */
  stop(): Promise<void>
}

const READY = /Ctrl-C ends it/

export async function startStack(of: { httpPort?: number; args?: string[] } = {}): Promise<Stack> {
  const httpPort = of.httpPort ?? (await freePort())
  const natsPort = await freePort()
  const ports = [
    '--nats-port',
    String(natsPort),
    '--http-port',
    String(httpPort),
    '--gateway-port',
    '0',
  ]
  const child = spawn(
    process.execPath,
    [inRoot('services/cli/headgate.ts'), 'up', ...ports, ...(of.args ?? [])],
    { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...CLEAN } },
  )
  let output = ''
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
  await new Promise<void>((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (data: Buffer) => {
        output += data.toString()
        if (READY.test(output)) resolve()
      })
    void ended.then(() => reject(new Error(`headgate up ended:\n${output}`)))
  })
  const word = (words: RegExp): string => words.exec(output)?.[1] ?? ''
  return {
    natsUrl: word(/NATS +(nats:\/\/\S+)/),
    url: word(/(?:dashboard|operator) +(http:\/\/\S+)/),
    token: word(/token +(\S+)/),
    httpPort,
    async stop() {
      child.kill('SIGINT')
      // Signals that follow at once are taken for one.
      const hurry = setInterval(() => child.kill('SIGINT'), 700)
      await ended
      clearInterval(hurry)
    },
  }
}

/** None of the surroundings' own words, whatever machine this is. */
export const CLEAN = {
  NATS_URL: undefined,
  ANTHROPIC_API_KEY: undefined,
  ANTHROPIC_BASE_URL: undefined,
  HEADGATE_CONFIG: undefined,
  HEADGATE_ADMIN_TOKEN: undefined,
  HEADGATE_HTTP_PORT: undefined,
  HEADGATE_GATEWAY_PORT: undefined,
  LOG_LEVEL: undefined,
}

export const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer()
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })

/** Every frame of a feed by its number, from now on. */
export async function watchFeed(
  url: string,
): Promise<{ frames: Map<number, Frame>; close(): void }> {
  const leaving = new AbortController()
  const response = await fetch(`${url}/api/feed`, { signal: leaving.signal })
  const frames = new Map<number, Frame>()
  const read = async (): Promise<void> => {
    let rest = ''
    const decoder = new TextDecoder()
    for await (const part of response.body as unknown as AsyncIterable<Uint8Array>) {
      const blocks = (rest + decoder.decode(part, { stream: true })).split('\n\n')
      rest = blocks.pop() ?? ''
      for (const block of blocks) {
        const data = /^event: frame\ndata: (.*)$/m.exec(block)?.[1]
        if (data === undefined) continue
        const frame = JSON.parse(data) as Frame
        frames.set(frame.seq, frame)
      }
    }
  }
  read().catch(() => {})
  return { frames, close: () => leaving.abort() }
}
