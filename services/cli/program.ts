/** Another program of ours, started and never imported: in a process group of its own, so that a Ctrl-C at
 *  the terminal is ours to pass on, and with an IPC channel whose end tells it that we are gone. */
import { spawn, type ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { compileCache } from './compile-cache.ts'
import { Misuse } from './terminal.ts'
import { v8Flags } from './v8-flags.ts'

/** From the source tree and from `dist/`. */
const EXTENSION = import.meta.url.endsWith('.ts') ? '.ts' : '.js'

export const PROGRAMS = {
  scheduler: new URL(`../scheduler/main${EXTENSION}`, import.meta.url),
  gateway: new URL(`../gateway/main${EXTENSION}`, import.meta.url),
  'simulated provider': new URL(`../simulated-provider/main${EXTENSION}`, import.meta.url),
  'upstream check': new URL(`../scheduler/compose/upstream-check${EXTENSION}`, import.meta.url),
  simulator: new URL(`../simulator/main${EXTENSION}`, import.meta.url),
} as const

export interface Program<Ready> {
  readonly name: string
  readonly pid: number | undefined
  /** Rejects with the program's own words, or with how it ended, when it never gets there. */
  readonly ready: Promise<Ready>
  readonly ended: Promise<ProgramEnd>
  readonly channel: ChildProcess
  signal(signal: NodeJS.Signals): void
}

export type ProgramEnd =
  | { how: 'exit'; code: number }
  | { how: 'signal'; signal: string }
  | { how: 'never started'; why: string }

/** What every program of ours tells its parent first; `misuse`: it was asked for what there is not. */
type FirstWord<Ready> =
  ({ type: 'ready' } & Ready) | { type: 'failed'; message: string; misuse?: boolean }

export function startProgram<Ready extends object>(of: {
  name: keyof typeof PROGRAMS
  args?: readonly string[]
  /** Over our own environment; undefined takes a variable away. */
  env?: Record<string, string | undefined>
  /** Where its standard output goes: ours, or our standard error. */
  output?: 'stdout' | 'stderr'
  /** It takes less of it under load, for more CPU. */
  lessMemory?: boolean
}): Program<Ready> {
  const { name } = of
  const flags = v8Flags({ simulator: name === 'simulator', lessMemory: of.lessMemory === true })
  const path = fileURLToPath(PROGRAMS[name])
  const child = spawn(process.execPath, [...flags, path, ...(of.args ?? [])], {
    stdio: ['ignore', of.output === 'stdout' ? 1 : 2, 2, 'ipc'],
    env: {
      ...process.env,
      ...(compileCache === null ? {} : { NODE_COMPILE_CACHE: compileCache }),
      ...of.env,
    },
    serialization: 'advanced',
    detached: true,
  })
  const ended = new Promise<ProgramEnd>((resolve) => {
    child.once('exit', (code, signal) =>
      resolve(signal === null ? { how: 'exit', code: code ?? 0 } : { how: 'signal', signal }),
    )
    child.once('error', (error) => resolve({ how: 'never started', why: error.message }))
  })
  const ready = new Promise<Ready>((resolve, reject) => {
    const onMessage = (message: unknown): void => {
      const word = message as FirstWord<Ready>
      if (word.type === 'ready') resolve(word)
      else if (word.type === 'failed')
        reject(word.misuse === true ? new Misuse(word.message) : new Error(word.message))
      else return
      child.off('message', onMessage)
    }
    child.on('message', onMessage)
    void ended.then((end) => reject(new Error(`the ${name} ${sayEnd(end)} before it was ready`)))
  })
  // Whoever stops a program that is not ready yet is not told so a second time.
  ready.catch(() => {})
  return {
    name,
    pid: child.pid,
    ready,
    ended,
    channel: child,
    signal: (signal) => void child.kill(signal),
  }
}

export function sayEnd(end: ProgramEnd): string {
  if (end.how === 'exit') return `ended with status ${end.code}`
  return end.how === 'signal' ? `was ended by ${end.signal}` : `did not start: ${end.why}`
}
