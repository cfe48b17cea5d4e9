/** What the clients need, made once under node_modules/.cache, which git ignores, and kept until the manifest
 *  changes. Whatever cannot be had is said in one line. */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { pythonVenv } from '../../examples/python/venv.ts'
import { inRoot } from '../support/tree.ts'

/** How the programs of one source are started. */
export interface Ready {
  /** The folder to run in. */
  dir: string
  /** Empty: the program is one itself, in `dir`. */
  command: string
  /** Before the program's name. */
  args: readonly string[]
  /** After all others. */
  more?: readonly string[]
}

/** Or why they cannot. */
export type Install = Ready | { missing: string }

/** From where a client comes, and how it is made ready within so many milliseconds. */
export const sources = {
  own: async (): Promise<Install> => ({ dir: HERE.node, command: process.execPath, args: [] }),
  node: (ms: number) => npmPackages({ name: 'node', manifest: HERE.node, ms }),
  'claude-code': (ms: number) =>
    npmPackages({ name: 'claude-code', manifest: inRoot('test/clients/claude-code'), ms }),
  python: (ms: number) => pythonPackages('python/requirements.txt', ms),
  litellm: (ms: number) => pythonPackages('python/litellm/requirements.txt', ms),
  llm: (ms: number) => pythonPackages('python/llm/requirements.txt', ms),
  go: goPrograms,
  'nats-cli': natsCommand,
  java: javaProgram,
}
export type SourceId = keyof typeof sources

export const CACHE = inRoot('node_modules/.cache/headgate-clients')
const HERE = {
  node: inRoot('test/clients/node'),
  python: inRoot('test/clients/python'),
  go: inRoot('test/clients/go'),
  java: inRoot('test/clients/java'),
}
/** The module of the `nats` command, built outside of our own modules. */
export const NATS_CLI = 'github.com/nats-io/natscli/nats@v0.5.1'
/** One retry: where the registry is out of reach, that should be said soon. */
const NPM_CI = `ci --ignore-scripts --no-audit --no-fund --loglevel=error --prefer-offline
  --fetch-retries=1 --fetch-timeout=30000`.split(/\s+/)

async function npmPackages(of: { name: string; manifest: string; ms: number }): Promise<Install> {
  const manifests = ['package.json', 'package-lock.json']
  const made = await once({
    name: of.name,
    key: filesOf(of.manifest, (file) => manifests.includes(file)),
    async make(dir) {
      for (const file of manifests) cpSync(join(of.manifest, file), join(dir, file))
      return tried('npm', NPM_CI, { cwd: dir, timeout: of.ms })
    },
  })
  if ('missing' in made) return made
  // Beside what they import.
  for (const file of readdirSync(HERE.node).filter((one) => one.endsWith('.mjs')))
    cpSync(join(HERE.node, file), join(made.dir, file))
  return { dir: made.dir, command: process.execPath, args: [] }
}

async function pythonPackages(file: string, ms: number): Promise<Install> {
  const requirements = inRoot(`test/clients/${file}`)
  const venv = await pythonVenv({ requirements, installMs: ms, compile: false })
  return 'missing' in venv ? venv : { dir: HERE.python, command: venv.python, args: [] }
}

async function goPrograms(ms: number): Promise<Install> {
  const files = readdirSync(HERE.go, { recursive: true, encoding: 'utf8' })
  const made = await once({
    name: 'go',
    key: files.filter((file) => /\.(go|mod|sum)$/.test(file)).map((file) => textOf(HERE.go, file)),
    make: (dir) => tried('go', ['build', '-o', `${dir}/`, './...'], { cwd: HERE.go, timeout: ms }),
  })
  return 'missing' in made ? made : { dir: made.dir, command: '', args: [] }
}

async function natsCommand(ms: number): Promise<Install> {
  const made = await once({
    name: 'nats-cli',
    key: [NATS_CLI],
    make: (dir) =>
      tried('go', ['install', NATS_CLI], { cwd: dir, timeout: ms, env: { GOBIN: dir } }),
  })
  if ('missing' in made) return made
  const more = [join(made.dir, 'nats')]
  return { dir: HERE.node, command: process.execPath, args: [], more }
}

async function javaProgram(ms: number): Promise<Install> {
  const copy = ['-q', '-B', 'dependency:copy-dependencies', '-DoutputDirectory=jars']
  const made = await once({
    name: 'java',
    key: filesOf(HERE.java, () => true),
    async make(dir) {
      cpSync(join(HERE.java, 'pom.xml'), join(dir, 'pom.xml'))
      const jars = await tried('mvn', copy, { cwd: dir, timeout: ms })
      if (jars !== null) return jars
      const compile = ['-encoding', 'UTF-8', '-cp', 'jars/*', '-d', 'classes']
      const sources = readdirSync(HERE.java).filter((file) => file.endsWith('.java'))
      const paths = sources.map((file) => join(HERE.java, file))
      return tried('javac', [...compile, ...paths], { cwd: dir, timeout: ms })
    },
  })
  if ('missing' in made) return made
  // It runs for a moment: compiling more costs more than it gives.
  const brief = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC']
  return { dir: made.dir, command: 'java', args: [...brief, '-cp', 'classes:jars/*'] }
}

const textOf = (dir: string, file: string): string => readFileSync(join(dir, file), 'utf8')

const filesOf = (dir: string, which: (file: string) => boolean): string[] =>
  readdirSync(dir)
    .filter(which)
    .map((file) => textOf(dir, file))

/** Under another name first, so that a half-made one is never taken for whole. What was made before of the same
 *  name goes. */
async function once(of: {
  name: string
  key: readonly string[]
  make(dir: string): Promise<string | null>
}): Promise<{ dir: string } | { missing: string }> {
  const hash = createHash('sha256').update(process.platform + process.arch)
  for (const text of of.key) hash.update(text)
  const dir = join(CACHE, `${of.name}-${hash.digest('hex').slice(0, 16)}`)
  if (existsSync(dir)) return { dir }
  const draft = `${dir}.${process.pid}`
  try {
    mkdirSync(draft, { recursive: true })
    const failed = await of.make(draft)
    if (failed !== null) return { missing: failed }
    if (!existsSync(dir)) renameSync(draft, dir)
    for (const other of readdirSync(CACHE).filter((one) => /-\w{16}(\.\d+)?$/.test(one)))
      if (other.startsWith(`${of.name}-`) && !dir.endsWith(other))
        await rm(join(CACHE, other), { recursive: true, force: true })
    return { dir }
  } finally {
    await rm(draft, { recursive: true, force: true })
  }
}

/** Null, or the last line of what it complained about. */
function tried(
  command: string,
  args: readonly string[],
  { cwd, timeout, env }: { cwd: string; timeout: number; env?: Record<string, string> },
): Promise<string | null> {
  return new Promise((resolve) => {
    const options = { cwd, timeout, env: { ...process.env, ...env }, maxBuffer: 64_000_000 }
    execFile(command, args, options, (error, stdout, stderr) => {
      if (error === null) return resolve(null)
      if (error.code === 'ENOENT') return resolve(`no ${command} on the PATH`)
      if (error.killed) return resolve(`${command} was not ready within ${timeout / 1_000} s`)
      const lines = `${stdout}\n${stderr}`.trim().split('\n')
      resolve(`${command}: ${lines.at(-1) ?? error.message}`)
    })
  })
}
