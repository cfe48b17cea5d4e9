/** Runs every example and checks how it ends: `npm run examples`. Uses the server of NATS_URL where one is
 *  named (and with it whatever upstream that Headgate has), else starts `headgate up` on free ports with the
 *  simulated provider. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { createServer } from 'node:net'
import { fileURLToPath } from 'node:url'

const EACH_MS = 20_000
const UP_MS = 20_000
const here = fileURLToPath(new URL('.', import.meta.url))
const root = fileURLToPath(new URL('..', import.meta.url))

interface Example {
  name: string
  command: string
  args: readonly string[]
  /** Why it cannot run here; null when it can. */
  missing: string | null
}

process.exitCode = await main()

async function main(): Promise<number> {
  const named = process.env['NATS_URL'] ?? ''
  const own = named === '' ? await startHeadgate() : null
  const url = own === null ? named : own.url
  if (url === null) {
    console.log('skip  all examples: no nats-server to start, and NATS_URL names none')
    await own?.stop()
    return 0
  }
  const failed: string[] = []
  try {
    for (const example of examples()) if (!(await runs(example, url))) failed.push(example.name)
  } finally {
    await own?.stop()
  }
  return failed.length === 0 ? 0 : 1
}

function examples(): Example[] {
  const numbered = readdirSync(here).filter((name) => /^\d\d-.*\.ts$/.test(name))
  const python = process.env['PYTHON'] ?? 'python3'
  return [
    ...numbered.sort().map((name) => ({
      name,
      command: process.execPath,
      args: [here + name],
      missing: null,
    })),
    {
      name: 'python/first_request.py',
      command: python,
      args: [`${here}python/first_request.py`],
      missing: works(python, '-c', 'import nats.aio.client') ? null : `${python} has no nats-py`,
    },
    {
      name: 'nats-cli.sh',
      command: 'sh',
      args: [`${here}nats-cli.sh`],
      missing: works('nats', '--version') ? null : 'no nats command on the PATH',
    },
  ]
}

function works(command: string, ...args: string[]): boolean {
  return spawnSync(command, args, { stdio: 'ignore', timeout: 10_000 }).status === 0
}

/** True unless it ran and failed. */
async function runs({ name, command, args, missing }: Example, url: string): Promise<boolean> {
  if (missing !== null) {
    console.log(`skip  ${name}: ${missing}`)
    return true
  }
  const started = performance.now()
  const child = spawn(command, args, {
    cwd: root,
    env: { ...process.env, NATS_URL: url },
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

// ---- a Headgate of our own ----

/** `url` is null where `headgate up` found no nats-server. */
async function startHeadgate(): Promise<{ url: string | null; stop(): Promise<void> }> {
  const [nats, http] = [await freePort(), await freePort()]
  const child = spawn(
    process.execPath,
    ['services/cli/headgate.ts', 'up', '--nats-port', `${nats}`, '--http-port', `${http}`],
    {
      cwd: root,
      // Never a real upstream: examples should cost nothing here.
      env: { ...process.env, ANTHROPIC_API_KEY: '', ANTHROPIC_BASE_URL: '', HEADGATE_CONFIG: '' },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  )
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
  const url = /^\s*NATS\s+(nats:\S+)/m.exec(output())?.[1] ?? null
  return { url, stop }
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
