/** A copy of the repository that may be broken: one file of it is another program while its tests run. */
import { spawn } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { setPriority, tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { inRoot, root } from '../support/tree.ts'

export type TestEnd = 'passed' | 'failed' | 'late'

export interface MutantTree {
  write(path: string, source: string): void
  /** Runs these test files until the first fails. */
  test(files: readonly string[], limitMs: number): Promise<TestEnd>
  /** The files of which the compiler says that they are wrong. */
  typeErrors(limitMs: number): Promise<Set<string>>
  /** Ends what runs in it, too. */
  remove(): void
}

const LEFT_OUT = ['.env', '.git', '.reports', 'dist', 'node_modules']
/** Other work on the machine goes first. */
const NICENESS = 10

export function mutantTree(): MutantTree {
  const at = mkdtempSync(join(tmpdir(), 'headgate-mutants-'))
  cpSync(root, at, {
    recursive: true,
    filter: (path) => !LEFT_OUT.includes(relative(root, path)),
  })
  symlinkSync(inRoot('node_modules'), join(at, 'node_modules'), 'junction')
  const running = new Set<number>()
  const run = (args: readonly string[], limitMs: number) =>
    runNode(args, { cwd: at, limitMs, running })
  return {
    write: (path, source) => writeFileSync(join(at, path), source),
    async test(files, limitMs) {
      const settings = ['--config', 'test/vitest.config.ts', '--bail', '1', '--reporter', 'dot']
      const args = ['node_modules/vitest/vitest.mjs', 'run', ...settings, ...files]
      return (await run(args, limitMs)).end
    },
    async typeErrors(limitMs) {
      const { said } = await run(
        ['node_modules/typescript/bin/tsc', '--noEmit', '-p', '.'],
        limitMs,
      )
      return new Set([...said.matchAll(/^(\S+?)\(\d+,\d+\): error/gm)].map(([, file]) => file!))
    },
    remove() {
      for (const pid of running) endAll(pid)
      rmSync(at, { recursive: true, force: true, maxRetries: 3 })
    },
  }
}

/** What does not end in time is ended with all that it has started: it leads a group of its own. */
function runNode(
  args: readonly string[],
  of: { cwd: string; limitMs: number; running: Set<number> },
): Promise<{ end: TestEnd; said: string }> {
  const { cwd, limitMs, running } = of
  const env = { ...process.env, NODE_COMPILE_CACHE: join(cwd, '.compiled') }
  const child = spawn(process.execPath, args, { cwd, env, detached: true })
  const { pid } = child
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    if (pid === undefined) return
    setPriority(pid, NICENESS)
    running.add(pid)
    let said = ''
    child.stdout.on('data', (piece: Buffer) => (said += piece.toString()))
    child.stderr.resume()
    let late = false
    const limit = setTimeout(() => {
      late = true
      endAll(pid)
    }, limitMs)
    child.once('close', (status) => {
      clearTimeout(limit)
      running.delete(pid)
      resolve({ end: late ? 'late' : status === 0 ? 'passed' : 'failed', said })
    })
  })
}

const endAll = (leader: number): void => void process.kill(-leader, 'SIGKILL')
