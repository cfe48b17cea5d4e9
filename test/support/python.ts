/** The Python SDK, unmodified, in a process of its own that calls what a test tells it to. */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { pythonVenv } from '../../examples/python/venv.ts'
import { inRoot } from './tree.ts'

export interface PythonCall {
  client: 'sync' | 'async'
  /** Of the client: `base_url`, `max_retries`, … */
  options: Record<string, unknown>
  /** The path of a method, `messages.create`. */
  do: string
  args?: unknown[]
  params: object
  /** Events of a stream after which it is closed. */
  leave_after?: number
}

/** What a program sees of an exception. */
export interface PythonError {
  class: string
  /** Its own, up to AnthropicError. */
  parents: string[]
  status: number | null
  type: string | null
  code: string | null
  request_id: string | null
  body: unknown
  headers: Record<string, string>
  /** How often the SDK had asked again. */
  retries: number | null
}

export type PythonEnd = { ok: PythonAnswer } | { error: PythonError }

/** As far as the call has it. */
export interface PythonAnswer {
  headers: Record<string, string>
  retries: number
  body: Record<string, unknown>
  /** Of a helper's stream the names, of a raw one the events. */
  events: unknown[]
  request_id: string
  final: Record<string, unknown>
  turns: Record<string, unknown>[]
}

export interface PythonSdk {
  call(call: PythonCall): Promise<PythonEnd>
  /** Cancels when told to: async calls only. */
  start(call: PythonCall): { ended: Promise<PythonEnd>; cancel(): void }
  close(): Promise<void>
}

/** Null where there is no Python or no SDK to be had; one line says why. */
export async function openPythonSdk(): Promise<PythonSdk | null> {
  const venv = await pythonVenv()
  if ('python' in venv) return startProbe(venv.python)
  process.stderr.write(`tests of the Python SDK are skipped: ${venv.missing}\n`)
  return null
}

async function startProbe(python: string): Promise<PythonSdk> {
  const child = spawn(python, [inRoot('test/support/python/door_probe.py')], {
    stdio: ['pipe', 'pipe', 'inherit'],
    // Nothing of the surroundings: neither a key nor a proxy.
    env: { PATH: process.env['PATH'], PYTHONDONTWRITEBYTECODE: '1' },
  })
  const ends = new Map<number, PromiseWithResolvers<PythonEnd>>()
  const ready = Promise.withResolvers<void>()
  const closed = new Promise<void>((resolve) =>
    child.once('close', (status) => {
      const error = new Error(`the Python process ended with ${status}`)
      ready.reject(error)
      for (const end of ends.values()) end.reject(error)
      resolve()
    }),
  )
  createInterface({ input: child.stdout }).on('line', (line) => {
    const { id, ...end } = JSON.parse(line) as { id?: number } & PythonEnd
    if (id === undefined) return ready.resolve()
    ends.get(id)?.resolve(end)
    ends.delete(id)
  })
  await ready.promise
  let calls = 0
  const tell = (line: object): void => void child.stdin.write(`${JSON.stringify(line)}\n`)
  const start: PythonSdk['start'] = (call) => {
    const id = ++calls
    const end = Promise.withResolvers<PythonEnd>()
    ends.set(id, end)
    tell({ id, ...call })
    return { ended: end.promise, cancel: () => tell({ cancel: id }) }
  }
  return {
    start,
    call: (call) => start(call).ended,
    close() {
      child.stdin.end()
      return closed
    },
  }
}
