/** Runs every example and checks how it ends: `npm run examples`. Uses the server of NATS_URL where one is
 *  named (and with it whatever upstream that Headgate has, and the door of HEADGATE_GATEWAY_URL), else starts
 *  `headgate up` on free ports with the simulated provider. */
import { execFile, spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import { pythonVenv } from './python/venv.ts'

const EACH_MS = 20_000
const UP_MS = 20_000
const GO_MODULES_MS = 20_000
const GO_COMPILE_MS = 60_000
const here = fileURLToPath(new URL('.', import.meta.url))
const root = fileURLToPath(new URL('..', import.meta.url))

/** Where a Headgate is asked; null: nowhere. */
interface Reach {
  nats: string | null
  door: string | null
}

interface Example {
  name: string
  command: string
  args: readonly string[]
  cwd?: string
  needs: keyof Reach | null
  /** Why it cannot run here; null when it can. */
  missing: string | null
}

process.exitCode = await main()

async function main(): Promise<number> {
  const named = process.env['NATS_URL'] ?? ''
  const door = process.env['HEADGATE_GATEWAY_URL'] ?? ''
  const own = named === '' ? await startHeadgate() : null
  const reach = own ?? { nats: named, door: door === '' ? null : door }
  const failed: string[] = []
  const runAll = async (examples: readonly Example[]): Promise<void> => {
    for (const example of examples) if (!(await runs(example, reach))) failed.push(example.name)
  }
  try {
    // Made ready while the first ones run.
    const others = [python(), go()]
    await runAll(numbered())
    for (const examples of others) await runAll(await examples)
    await runAll([shell()])
  } finally {
    await own?.stop()
  }
  return failed.length === 0 ? 0 : 1
}

function numbered(): Example[] {
  const names = readdirSync(here).filter((name) => /^\d\d-.*\.ts$/.test(name))
  return names.sort().map((name) => ({
    name,
    command: process.execPath,
    args: [here + name],
    needs: needsOf(here + name),
    missing: null,
  }))
}

async function python(): Promise<Example[]> {
  const names = [
    'first_request.py',
    'durable_job.py',
    'through_the_door.py',
    'claude_retry_test.py',
  ]
  const venv = await pythonVenv()
  return names
    .map((name) => `python/${name}`)
    .filter((name) => existsSync(here + name))
    .map((name) => ({
      name,
      command: 'python' in venv ? venv.python : '',
      args: [here + name],
      needs: needsOf(here + name),
      missing: 'missing' in venv ? venv.missing : null,
    }))
}

async function go(): Promise<Example[]> {
  const cwd = `${here}go`
  return [
    {
      name: 'go',
      command: 'sh',
      args: ['-c', 'go vet . && exec go run .'],
      cwd,
      needs: 'nats',
      missing: works('go', 'version') ? await goTrouble(cwd) : 'no go command on the PATH',
    },
  ]
}

/** Null: it will run, or say itself what is wrong with it; what it needs is compiled by then. */
async function goTrouble(cwd: string): Promise<string | null> {
  const modules = await tried('go', ['mod', 'download'], { cwd, timeout: GO_MODULES_MS })
  if (modules.failed) return `its modules cannot be had: ${modules.lastWords}`
  const compile = ['-c', 'go build -o /dev/null . && exec go vet .']
  const compiled = await tried('sh', compile, { cwd, timeout: GO_COMPILE_MS })
  return compiled.late ? `not compiled within ${GO_COMPILE_MS} ms` : null
}

function shell(): Example {
  return {
    name: 'nats-cli.sh',
    command: 'sh',
    args: [`${here}nats-cli.sh`],
    needs: 'nats',
    missing: works('nats', '--version') ? null : 'no nats command on the PATH',
  }
}

/** By the variable that it reads. */
function needsOf(path: string): Example['needs'] {
  const text = readFileSync(path, 'utf8')
  if (text.includes('HEADGATE_GATEWAY_URL')) return 'door'
  return text.includes('NATS_URL') ? 'nats' : null
}

function works(command: string, ...args: string[]): boolean {
  return spawnSync(command, args, { stdio: 'ignore', timeout: 10_000 }).status === 0
}

function tried(command: string, args: readonly string[], of: { cwd: string; timeout: number }) {
  return new Promise<{ failed: boolean; late: boolean; lastWords: string }>((resolve) => {
    execFile(command, args, { ...of, encoding: 'utf8' }, (error, _stdout, stderr) => {
      const lastWords = stderr.trim().split('\n').at(-1) ?? ''
      resolve({ failed: error !== null, late: error?.killed === true, lastWords })
    })
  })
}

/** True unless it ran and failed. */
async function runs(example: Example, reach: Reach): Promise<boolean> {
  const { name, command, args } = example
  const missing = example.missing ?? outOfReach(example, reach)
  if (missing !== null) {
    console.log(`skip  ${name}: ${missing}`)
    return true
  }
  const started = performance.now()
  const child = spawn(command, args, {
    cwd: example.cwd ?? root,
    env: {
      ...process.env,
      NATS_URL: reach.nats ?? '',
      HEADGATE_GATEWAY_URL: reach.door ?? '',
      // Not by a proxy, and nothing of theirs stays in the source tree.
      NO_PROXY: [process.env['NO_PROXY'] ?? '', '127.0.0.1'].join(),
      PYTHONDONTWRITEBYTECODE: '1',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: EACH_MS,
  })
  const output = textOf(child)
  const status = await ended(child)
  const seconds = ((performance.now() - started) / 1_000).toFixed(1)
  console.log(`${status === 0 ? 'pass' : 'FAIL'}  ${name} (${seconds} s)`)
  if (status !== 0) console.log(`${output()}\nended with ${status ?? 'no status in time'}`)
  return status === 0
}

/** Null: it is not. */
function outOfReach({ needs }: Example, reach: Reach): string | null {
  if (needs === 'nats' && reach.nats === null)
    return 'no nats-server to start, and NATS_URL names none'
  return needs === 'door' && reach.door === null ? 'HEADGATE_GATEWAY_URL names no door' : null
}

// ---- a Headgate of our own ----

/** Where `headgate up` finds no nats-server, only its door is in reach. */
async function startHeadgate(): Promise<Reach & { stop(): Promise<void> }> {
  const ports: string[] = []
  for (const port of ['--nats-port', '--http-port', '--gateway-port'])
    ports.push(port, `${await freePort()}`)
  const child = spawn(process.execPath, ['services/cli/headgate.ts', 'up', ...ports], {
    cwd: root,
    // Never a real upstream: examples should cost nothing here.
    env: { ...process.env, ANTHROPIC_API_KEY: '', ANTHROPIC_BASE_URL: '', HEADGATE_CONFIG: '' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const output = textOf(child)
  const exit = ended(child)
  const stop = async (): Promise<void> => {
    child.kill('SIGINT')
    await exit
  }
  const ready = Promise.withResolvers<'ready'>()
  child.stdout.on('data', () => {
    if (output().includes('Ctrl-C ends it')) ready.resolve('ready')
  })
  const late = setTimeout(() => child.kill('SIGINT'), UP_MS)
  const how = await Promise.race([ready.promise, exit])
  clearTimeout(late)
  if (how !== 'ready') throw new Error(`headgate up did not get ready:\n${output()}`)
  const word = (words: RegExp): string | null => words.exec(output())?.[1] ?? null
  return { nats: word(/^\s*NATS\s+(nats:\S+)/m), door: word(/^\s*HTTP door\s+(http:\S+)/m), stop }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0))
    })
  })
}

function textOf(child: ChildProcess): () => string {
  let text = ''
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk: Buffer) => (text += chunk.toString()))
  return () => text.trim()
}

function ended(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve) => {
    child.once('error', () => resolve(null))
    child.once('close', (status) => resolve(status))
  })
}
