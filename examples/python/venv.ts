/** A virtual environment with the packages of requirements.txt: made once under node_modules/.cache, which git
 *  ignores, and kept until they, or Python itself, change. For the runner of the examples and for the tests. */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The interpreter to run, or why there is none. */
export type Venv = { python: string } | { missing: string }

/** Which packages, and what may be spent on them. */
export interface VenvOf {
  requirements: string
  /** For the environment, and again for what goes into it. */
  installMs: number
  /** Whether pip compiles all of it: takes as long as the rest, and spares those who run without a cache. */
  compile: boolean
}

const CACHE = fileURLToPath(new URL('../../node_modules/.cache/headgate-python/', import.meta.url))
/** What the anthropic package asks for. */
const OLDEST: readonly [major: number, minor: number] = [3, 10]
const LOOK_MS = 10_000
const OURS: VenvOf = {
  requirements: fileURLToPath(new URL('requirements.txt', import.meta.url)),
  installMs: 90_000,
  compile: true,
}
/** One retry: where the index is out of reach, that should be said soon. */
const PATIENCE = ['--retries', '1', '--timeout', '15']

export async function pythonVenv(of = OURS): Promise<Venv> {
  const python = process.env['PYTHON'] ?? 'python3'
  const found = await run(python, ['-c', LOOK], LOOK_MS)
  if (found.failed !== null) return { missing: `${python} cannot be used: ${found.failed}` }
  const [major = 0, minor = 0] = found.output.split(/\W+/, 2).map(Number)
  if (major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1]))
    return { missing: `${python} is ${major}.${minor}, and the packages need ${OLDEST.join('.')}` }
  const key = createHash('sha256').update(found.output).update(readFileSync(of.requirements))
  const home = join(CACHE, key.digest('hex').slice(0, 16))
  return existsSync(pythonOf(home)) ? { python: pythonOf(home) } : make(python, home, of)
}

/** Under another name first, so that a half-made one is never taken for whole, nor two made into one. */
async function make(python: string, home: string, of: VenvOf): Promise<Venv> {
  const draft = `${home}.${process.pid}`
  try {
    mkdirSync(CACHE, { recursive: true })
    const made = await run(python, ['-m', 'venv', draft], of.installMs)
    if (made.failed !== null) return { missing: `no virtual environment: ${made.failed}` }
    const how = [...PATIENCE, of.compile ? '--compile' : '--no-compile']
    const install = ['-m', 'pip', 'install', '--quiet', ...how, '-r', of.requirements]
    const installed = await run(pythonOf(draft), install, of.installMs)
    if (installed.failed !== null) return { missing: `pip installed nothing: ${installed.failed}` }
    // Somebody else may have been faster.
    if (!existsSync(pythonOf(home))) {
      rmSync(home, { recursive: true, force: true })
      renameSync(draft, home)
    }
    return { python: pythonOf(home) }
  } catch (error) {
    if (existsSync(pythonOf(home))) return { python: pythonOf(home) }
    return { missing: `no place for a virtual environment: ${(error as Error).message}` }
  } finally {
    rmSync(draft, { recursive: true, force: true })
  }
}

/** Also that it can make environments: some systems pack that apart. */
const LOOK = 'import sys, venv, ensurepip; print(sys.version, sys.base_prefix)'

const pythonOf = (home: string): string => join(home, 'bin', 'python')

/** `failed` is the last line of what it complained about; null where it did not. */
function run(command: string, args: readonly string[], timeoutMs: number) {
  return new Promise<{ output: string; failed: string | null }>((resolve) => {
    const options = { timeout: timeoutMs, encoding: 'utf8' } as const
    execFile(command, args, options, (error, stdout, stderr) => {
      const complaint = stderr.trim().split('\n').at(-1) ?? ''
      const why = error === null ? null : error.killed ? `not within ${timeoutMs} ms` : complaint
      resolve({ output: stdout, failed: why === '' ? (error?.message ?? null) : why })
    })
  })
}
