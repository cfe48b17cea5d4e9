/** A reader of our pages: a checkout, a folder of a program of their own with the packages in it, two terminals. */
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { surroundings } from './program.ts'
import { inRoot, read, root } from './tree.ts'

export interface Reader {
  /** What commands write there stays out of ours. */
  readonly checkout: string
  readonly home: string
  /** One command, in a terminal of its own. */
  type(command: readonly string[], of: { cwd: string }): Terminal
  /** With the addresses that `npm start` has printed, where it got other ports than the pages name. */
  here(text: string): string
  /** What `npm start` said. */
  readonly started: string
  close(): Promise<void>
}

export interface Terminal {
  /** Resolves with what it has said by then. */
  said(words: RegExp): Promise<string>
  /** Ctrl-C: a signal to everything that runs there. */
  interrupt(): void
  kill(): void
  /** Resolves with what it said when it has ended well, or as it was told to, and has left nothing running; else
   *  rejects. */
  readonly ended: Promise<string>
}

const HAS_STARTED = /Ctrl-C ends it/

export async function openReader(): Promise<Reader> {
  const dir = mkdtempSync(join(tmpdir(), 'headgate-reader-'))
  const [checkout, home] = [join(dir, 'checkout'), join(dir, 'home')]
  mkdirSync(checkout)
  for (const name of readdirSync(root)) symlinkSync(join(root, name), join(checkout, name))
  installPackages(home)
  const tools = join(dir, 'tools')
  installTools(tools)

  const env: Record<string, string> = { PATH: [process.env['PATH'], tools].join(delimiter) }
  const terminals = new Set<Terminal>()
  const type: Reader['type'] = (command, { cwd }) => {
    const one = terminal(command, { cwd, env })
    terminals.add(one)
    one.ended.then(
      () => terminals.delete(one),
      () => terminals.delete(one),
    )
    return one
  }
  const house = type(['npm', 'start'], { cwd: checkout })
  const started = await house.said(HAS_STARTED)
  const word = (words: RegExp): string => words.exec(started)?.[1] ?? ''
  const nats = word(/^ *NATS +(nats:\S+)/m)
  // As the pages tell a reader who has no key.
  const upstream = word(/^ *upstream +(http:\S+)/m)
  Object.assign(env, { NATS_URL: nats, ANTHROPIC_BASE_URL: upstream, ANTHROPIC_API_KEY: 'any' })
  const moved: Record<string, string> = {
    'nats://127.0.0.1:4222': nats,
    'http://127.0.0.1:8781': word(/^ *HTTP door +(http:\S+)/m),
  }
  return {
    checkout,
    home,
    type,
    started,
    here: (text) =>
      Object.entries(moved).reduce((all, [from, to]) => all.replaceAll(from, to), text),
    async close() {
      house.interrupt()
      const said = await house.ended
      const left = [...terminals]
      for (const one of left) one.kill()
      await Promise.allSettled(left.map((one) => one.ended))
      rmSync(dir, { recursive: true, force: true })
      if (!said.includes('stopped')) throw new Error(`npm start did not stop:\n${said}`)
    },
  }
}

/** As `npm install` would, but from the source: test/pack.test.ts installs what is packed. */
function installPackages(home: string): void {
  const { exports } = JSON.parse(read('package.json')) as { exports: Record<string, unknown> }
  const ours = join(home, 'node_modules', 'headgate')
  mkdirSync(ours, { recursive: true })
  symlinkSync(root, join(ours, 'checkout'))
  const sources = JSON.stringify(exports)
    .replaceAll(/\.\/dist\/([^"]*?)(?:\.d\.ts|\.js)"/g, './checkout/$1.ts"')
    .replaceAll('./docs/', './checkout/docs/')
  writeFileSync(
    join(ours, 'package.json'),
    JSON.stringify({ name: 'headgate', type: 'module', exports: JSON.parse(sources) }),
  )
  // The SDK, and what a page tells its reader to install beside it.
  for (const name of ['@anthropic-ai', 'undici'])
    symlinkSync(inRoot(`node_modules/${name}`), join(home, 'node_modules', name))
}

/** Found after whatever the machine has. */
function installTools(folder: string): void {
  mkdirSync(folder)
  const nats = `exec '${process.execPath}' '${inRoot('test/support/nats-stand-in.ts')}' "$@"`
  writeFileSync(join(folder, 'nats'), `#!/bin/sh\n${nats}\n`, { mode: 0o755 })
}

function terminal(
  [file = '', ...args]: readonly string[],
  of: { cwd: string; env: Record<string, string> },
): Terminal {
  const child = spawn(file, args, {
    cwd: of.cwd,
    env: surroundings(of.env),
    stdio: ['ignore', 'pipe', 'pipe'],
    // A group of its own, as a shell gives it.
    detached: true,
  })
  let output = ''
  const looks = new Set<() => void>()
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString()
      for (const look of looks) look()
    })
  const group = -(child.pid ?? 0)
  let isInterrupted = false
  const ended = new Promise<string>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (status, signal) => {
      // npm passes on how its child ended, or by which signal it was ended itself.
      const isWell = status === 0 || (isInterrupted && signal === 'SIGINT')
      const wrong = isWell ? (isAlive(group) ? 'left something running' : null) : 'failed'
      if (wrong === null) return resolve(output)
      reject(new Error(`${file} ${args.join(' ')}\n${wrong} (${status ?? signal}):\n${output}`))
    })
  })
  ended.catch(() => {})
  return {
    ended,
    interrupt() {
      isInterrupted = true
      process.kill(group, 'SIGINT')
    },
    kill: () => void process.kill(group, 'SIGKILL'),
    said: (words) =>
      new Promise((resolve, reject) => {
        const look = (): void => (words.test(output) ? resolve(output) : undefined)
        looks.add(look)
        look()
        ended.then(() => reject(new Error(`ended without ${words}:\n${output}`)), reject)
      }),
  }
}

function isAlive(group: number): boolean {
  try {
    return process.kill(group, 0)
  } catch {
    return false
  }
}
