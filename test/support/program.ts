/** A program of ours in a process of its own, and everything it said. */
import { fork, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { inRoot } from './tree.ts'

/** What a program tells its parent first. */
export interface Told {
  type: 'ready' | 'failed'
  message?: string
  http?: string
  gateway?: string
}

export interface Program {
  readonly child: ChildProcess
  /** Everything it wrote, on both streams. */
  output(): string
  /** Resolves when `text` was written. */
  saw(text: string): Promise<void>
  /** Resolves when what it wrote is as wanted. */
  until(wanted: (output: string) => boolean, name: string): Promise<void>
  /** Its status, or the signal that ended it. */
  readonly exit: Promise<number | string>
  /** Ends it if it has not ended. */
  kill(): Promise<void>
}

/** `env` over none of ours, so that nothing of this machine's comes in but where Node keeps what it compiled. */
export const surroundings = (env: Record<string, string | undefined> = {}): NodeJS.ProcessEnv => ({
  PATH: process.env['PATH'],
  HOME: process.env['HOME'],
  NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'],
  ...env,
})

/** Over IPC, as `headgate up` and `serve` start it. */
export function launch(
  name: 'scheduler' | 'gateway',
  env: Record<string, string>,
): Program & { readonly told: Promise<Told> } {
  const child = fork(inRoot(`services/${name}/main.ts`), [], {
    env: surroundings(env),
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  })
  return { ...watch(child), told: once(child, 'message').then(([told]) => told as Told) }
}

/** `headgate …`, as a person types it. */
export const headgate = (args: readonly string[], env: Record<string, string>): Program =>
  watch(
    spawn(process.execPath, [inRoot('services/cli/headgate.ts'), ...args], {
      env: surroundings(env),
      stdio: ['ignore', 'pipe', 'pipe'],
    }),
  )

/** Any command, in its folder. */
export const command = (
  [file = '', ...args]: readonly string[],
  of: { cwd: string; env: Record<string, string> },
): Program =>
  watch(
    spawn(file, args, {
      cwd: of.cwd,
      env: surroundings(of.env),
      stdio: ['ignore', 'pipe', 'pipe'],
    }),
  )

function watch(child: ChildProcess): Program {
  let output = ''
  const waiting = new Set<() => void>()
  const exit = once(child, 'close').then(([code, signal]) => (code ?? signal) as number | string)
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk: Buffer) => {
      output += chunk.toString()
      for (const look of waiting) look()
    })
  const until: Program['until'] = (wanted, name) =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        if (!wanted(output)) return
        waiting.delete(look)
        resolve()
      }
      waiting.add(look)
      look()
      void exit.then((how) => reject(new Error(`it ended (${how}) before ${name}:\n${output}`)))
    })
  return {
    child,
    output: () => output,
    exit,
    until,
    saw: (text) => until((said) => said.includes(text), text),
    async kill() {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
      await exit
    },
  }
}
