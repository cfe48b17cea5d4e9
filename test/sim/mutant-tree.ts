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
  typeChecks(limitMs: number): Promise<boolean>
  remove(): void
}

const LEFT_OUT = ['.git', '.reports', 'dist', 'node_modules']
/** Other work on the machine goes first. */
const NICENESS = 10

export function mutantTree(): MutantTree {
  const at = mkdtempSync(join(tmpdir(), 'headgate-mutants-'))
  cpSync(root, at, {
    recursive: true,
    filter: (path) => !LEFT_OUT.includes(relative(root, path)),
  })
  symlinkSync(inRoot('node_modules'), join(at, 'node_modules'), 'junction')
  const run = (args: readonly string[], limitMs: number) => runNode(args, { cwd: at, limitMs })
  return {
    write: (path, source) => writeFileSync(join(at, path), source),
    test(files, limitMs) {
      const settings = ['--config', 'test/vitest.config.ts', '--bail', '1', '--reporter', 'dot']
      return run(['node_modules/vitest/vitest.mjs', 'run', ...settings, ...files], limitMs)
    },
    async typeChecks(limitMs) {
      const end = await run(['node_modules/typescript/bin/tsc', '--noEmit', '-p', '.'], limitMs)
      return end !== 'failed'
    },
    remove: () => rmSync(at, { recursive: true, force: true }),
  }
}

/** What never ends is ended with all that it has started. */
function runNode(
  args: readonly string[],
  { cwd, limitMs }: { cwd: string; limitMs: number },
): Promise<TestEnd> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, NODE_COMPILE_CACHE: join(cwd, '.compiled') }
    const child = spawn(process.execPath, args, { cwd, env, stdio: 'ignore', detached: true })
    const { pid } = child
    if (pid !== undefined) setPriority(pid, NICENESS)
    let late = false
    const limit = setTimeout(() => {
      late = true
      if (pid !== undefined) process.kill(-pid, 'SIGKILL')
    }, limitMs)
    child.once('error', reject)
    child.once('exit', (status) => {
      clearTimeout(limit)
      resolve(late ? 'late' : status === 0 ? 'passed' : 'failed')
    })
  })
}
