/** Schedulers behind one nats-server, each a process of its own, that divide one set of limits. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as after } from 'node:timers/promises'
import { snapshot } from '#contracts/snapshot'
import { natsServer, type NatsServer } from '../support/nats-server.ts'
import { launch, type Program } from '../support/program.ts'

const SHARED_WITHIN_MS = 60_000
const ASK_EVERY_MS = 100

export interface BenchFleet {
  readonly nats: NatsServer
  readonly pids: readonly number[]
  close(): Promise<void>
}

/** Resolves when each has its share; alone, each has the whole of every limit. Ends what it started, also when we are
 *  told to end. */
export async function startBenchFleet(of: {
  members: number
  upstream: string
  yaml: string
  alone?: boolean
}): Promise<BenchFleet> {
  const dir = await mkdtemp(join(tmpdir(), 'headgate-bench-'))
  const config = join(dir, 'headgate.yaml')
  await writeFile(config, of.alone === true ? `${of.yaml}fleet: { enabled: false }\n` : of.yaml)
  const nats = await natsServer()
  const programs: Program[] = []
  const atExit = (): void => programs.forEach(({ child }) => child.kill('SIGKILL'))
  const close = async (): Promise<void> => {
    process.off('exit', atExit)
    process.off('SIGINT', atSignal).off('SIGTERM', atSignal)
    await Promise.all(programs.map((one) => one.kill()))
    await nats.stop('SIGKILL')
    await rm(dir, { recursive: true, force: true })
  }
  const atSignal = (): void => void close().finally(() => process.exit(130))
  process.once('exit', atExit).once('SIGINT', atSignal).once('SIGTERM', atSignal)
  const start = async (_: unknown, i: number): Promise<string> => {
    const program = launch('scheduler', {
      ...{ NATS_URL: nats.url, HEADGATE_CONFIG: config, LOG_LEVEL: 'error' },
      ...{ ANTHROPIC_BASE_URL: of.upstream, ANTHROPIC_API_KEY: 'sk-bench' },
      ...{ HEADGATE_HTTP_PORT: '0', HEADGATE_FLEET_MEMBER: `m${i}` },
    })
    programs.push(program)
    const told = await program.told
    if (told.type === 'failed') throw new Error(told.message)
    return told.http ?? ''
  }
  try {
    const https = await Promise.all(Array.from({ length: of.members }, start))
    if (of.alone !== true) await shared(https)
  } catch (error) {
    await close()
    throw error
  }
  return { nats, pids: programs.map(({ child }) => child.pid!), close }
}

async function shared(https: readonly string[]): Promise<void> {
  for (let asked = 0; asked < SHARED_WITHIN_MS / ASK_EVERY_MS; asked++) {
    const usable = await Promise.all(https.map(usableAt))
    if (usable.every((one) => one > 0)) return
    await after(ASK_EVERY_MS)
  }
  throw new Error('not every member has a share')
}

async function usableAt(http: string): Promise<number> {
  const seen = snapshot.parse(await (await fetch(`${http}/api/snapshot`)).json())
  return seen.fleet?.usable ?? 0
}
