/** Hears that `headgate.yaml` changed. The directory is watched, not the file, since editors and Kubernetes
 *  put a new file in its place; a slow look at the file serves where nothing is told (network mounts).
 *  Bound: one read per `SETTLE_MS` however busy the directory is, and one per `LOOK_MS` when it is silent. */
import { readFileSync, statSync, watch, type FSWatcher } from 'node:fs'
import { basename, dirname } from 'node:path'
import { ConfigError, loadConfig, type Loaded } from './load.ts'

/** The part of the Clock port that is needed here. */
interface Timer {
  after(ms: number, call: () => void): () => void
}

export type ConfigChange = { ok: true; loaded: Loaded } | { ok: false; error: ConfigError }

/** An editor writes in several steps; the last one counts. */
export const SETTLE_MS = 200
export const LOOK_MS = 5_000

/** Calls `onChange` once per changed text. On an error the caller keeps what it has. */
export function watchConfig(of: {
  path: string
  /** What is in force already. */
  text: string
  emergency: () => boolean
  onChange: (change: ConfigChange) => void
  /** Hears what a look ran into that is no mistake of the file; the next look is taken all the same. */
  onFault?: (error: unknown) => void
  /** Runs each look; absent: as it is. */
  run?: (check: () => void) => void
  clock: Timer
}): { close(): void } {
  let told: string | null = of.text
  let stamp = stampOf(of.path)
  let closed = false
  let settling: (() => void) | null = null
  let looking: () => void = () => {}

  const read = (): void => {
    const found = textOf(of.path)
    // What could not be read may be readable at the next look, though the file is as it was.
    stamp = found.text === null && !found.gone ? UNREAD : stampOf(of.path)
    if (found.text === told) return
    told = found.text
    of.onChange(change(of.path, found.text, of.emergency()))
  }
  const check = (): void => {
    settling = null
    if (closed) return
    try {
      if (of.run === undefined) read()
      else of.run(read)
    } catch (error) {
      of.onFault?.(error)
    }
  }
  const soon = (): void => {
    if (!closed) settling ??= of.clock.after(SETTLE_MS, check)
  }
  const look = (): void => {
    if (closed) return
    looking = of.clock.after(LOOK_MS, look)
    if (stamp === UNREAD || stampOf(of.path) !== stamp) check()
  }

  const watcher = watchDirectory(of.path, soon)
  looking = of.clock.after(LOOK_MS, look)
  return {
    close() {
      closed = true
      watcher?.close()
      settling?.()
      looking()
    },
  }
}

const EMPTIED = {
  ...{ line: 0, column: 0, path: '' },
  message: 'the file is empty now; where all defaults are meant, write {}',
}

function change(path: string, text: string | null, emergency: boolean): ConfigChange {
  try {
    // Who writes a file anew has emptied it first, and what took limits and keys away was no one's will.
    if (text !== null && text.trim() === '') throw new ConfigError(path, [EMPTIED])
    const given = text === null ? {} : { text }
    return { ok: true, loaded: loadConfig({ path, ...given, emergency }) }
  } catch (error) {
    if (error instanceof ConfigError) return { ok: false, error }
    throw error
  }
}

/** Null where watching is not to be had; the slow look remains. Events of other files are let through, as
 *  a swapped symbolic link two directories up tells its own name. */
function watchDirectory(path: string, on: () => void): FSWatcher | null {
  try {
    const watcher = watch(dirname(path), { persistent: false }, (_event, file) => {
      if (file === null || file === basename(path) || file.startsWith('..')) on()
    })
    watcher.on('error', () => watcher.close())
    return watcher
  } catch {
    return null
  }
}

/** Of a file that was there and could not be read: no descriptor was free, a disk did not answer. */
const UNREAD = 'unread'

function stampOf(path: string): string {
  try {
    const stat = statSync(path, { throwIfNoEntry: false })
    return stat === undefined ? 'absent' : `${stat.ino} ${stat.size} ${stat.mtimeMs}`
  } catch {
    return UNREAD
  }
}

/** Without a text: nothing there that could be read. Reading a pipe or a device would wait for ever. */
function textOf(path: string): { text: string | null; gone: boolean } {
  try {
    if (!statSync(path).isFile()) return { text: null, gone: true }
    return { text: readFileSync(path, 'utf8'), gone: false }
  } catch (error) {
    return { text: null, gone: (error as NodeJS.ErrnoException).code === 'ENOENT' }
  }
}
