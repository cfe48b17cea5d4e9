/** The file of a recording: lines are gathered and written in one piece. Written synchronously, so that no
 *  more than one piece is ever in memory and what is flushed is in the file. */
import { closeSync, openSync, writeFileSync } from 'node:fs'
import { Failure } from './terminal.ts'

export interface RecordFile {
  line(value: object): void
  flush(): void
  close(): void
}

const PIECE_CHARS = 65_536

export function recordFile(of: { path: string; force: boolean }): RecordFile {
  const attempt = <T>(work: () => T): T => {
    try {
      return work()
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      throw code === undefined ? error : new Failure(`${of.path}: cannot be written (${code})`)
    }
  }
  const file = attempt(() => openSync(of.path, of.force ? 'w' : 'wx'))
  let waiting = ''
  const flush = (): void => {
    if (waiting === '') return
    const piece = waiting
    waiting = ''
    attempt(() => writeFileSync(file, piece))
  }
  return {
    line(value) {
      waiting += `${JSON.stringify(value)}\n`
      if (waiting.length >= PIECE_CHARS) flush()
    },
    flush,
    close: () => closeSync(file),
  }
}
