/** Files that change whole or not at all: each text is written beside its place, and takes it when all are
 *  written. Somebody who reads them meanwhile sees the old ones or the new ones, never half of one. */
import {
  chmodSync,
  chownSync,
  closeSync,
  fstatSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { Failure } from './terminal.ts'

export interface WholeFile {
  path: string
  text: string
  /** Of a file that is made; one that is there keeps its own, and its owner. */
  mode: number
  /** Nobody but its owner may ever read it. */
  secret?: true
}

const BYTES_MAX = 32_000_000

/** Null when it is not there. */
export function readWhole(path: string): string | null {
  try {
    const size = statSync(path).size
    if (size > BYTES_MAX) throw new Failure(`${path}: ${size} bytes; at most ${BYTES_MAX}`)
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return null
    throw said(error, path, 'read')
  }
}

/** In this order, so that the last one counts on the others. */
export function writeWhole(files: readonly WholeFile[]): void {
  const written: { beside: string; place: string }[] = []
  try {
    for (const file of files) written.push(writeBeside(file))
    for (const { beside, place } of written) renameSync(beside, place)
  } catch (error) {
    for (const { beside } of written) rmSync(beside, { force: true })
    throw error instanceof Failure ? error : said(error, files[0]?.path ?? '', 'written')
  }
}

/** Works while nobody else does, in any process, that asks with the same path. */
export function alone<T>(path: string, work: () => T): T {
  const lock = `${path}.lock`
  try {
    closeSync(openSync(lock, 'wx', 0o600))
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw said(error, lock, 'written')
    throw new Failure(
      `${lock} is there: another headgate is at it, or one was killed; if so, remove it`,
    )
  }
  try {
    return work()
  } finally {
    rmSync(lock, { force: true })
  }
}

function writeBeside({ path, text, mode, secret }: WholeFile): { beside: string; place: string } {
  const place = realPath(path)
  const beside = `${place}.new`
  rmSync(beside, { force: true })
  let fd: number | null = null
  try {
    fd = openSync(beside, 'wx', mode)
    writeFileSync(fd, text, { flush: true })
    const made = fstatSync(fd)
    const there = statSync(place, { throwIfNoEntry: false })
    if (there !== undefined) {
      if (there.uid !== made.uid || there.gid !== made.gid) chownSync(beside, there.uid, there.gid)
      chmodSync(beside, there.mode & (secret === true ? 0o600 : 0o777))
    }
    return { beside, place }
  } catch (error) {
    rmSync(beside, { force: true })
    throw said(error, path, 'written')
  } finally {
    if (fd !== null) closeSync(fd)
  }
}

/** A link stays one: what it points at is replaced. */
function realPath(path: string): string {
  try {
    return realpathSync(path)
  } catch {
    return path
  }
}

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code

function said(error: unknown, path: string, what: 'read' | 'written'): unknown {
  const code = codeOf(error)
  if (error instanceof Failure || code === undefined) return error
  return new Failure(`${path}: cannot be ${what} (${code})`)
}
