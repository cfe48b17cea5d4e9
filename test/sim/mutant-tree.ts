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
    remove: () => rmSync(at, { recursive: true, force: true }),
  }
}

/** What never ends is ended with all that it has started. */
function runNode(
  args: readonly string[],
  { cwd, limitMs }: { cwd: string; limitMs: number },
): Promise<{ end: TestEnd; said: string }> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, NODE_COMPILE_CACHE: join(cwd, '.compiled') }
    const stdio = ['ignore', 'pipe', 'ignore'] as const
    const child = spawn(process.execPath, args, { cwd, env, stdio: [...stdio], detached: true })
    const { pid } = child
    if (pid !== undefined) setPriority(pid, NICENESS)
    let said = ''
    child.stdout.on('data', (piece: Buffer) => (said += piece.toString()))
    let late = false
    const limit = setTimeout(() => {
      late = true
      if (pid !== undefined) process.kill(-pid, 'SIGKILL')
    }, limitMs)
    child.once('error', reject)
    child.once('close', (status) => {
      clearTimeout(limit)
      resolve({ end: late ? 'late' : status === 0 ? 'passed' : 'failed', said })
    })
  })
}
