/** A file of jobs, one JSON object a line: the body of a Messages call, or `{"custom_id", "params"}` as the
 *  Message Batches API has it. Read as it is needed, never whole. */
import { createReadStream } from 'node:fs'
import { basename } from 'node:path'
import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'
import { isToken, TOKEN_SHAPE } from '#contracts/ids'
import { Failure, Misuse } from './terminal.ts'

export interface JobLine {
  /** Counted from 1. */
  line: number
  id: string
  body: string
}

export interface BadLine {
  line: number
  problem: string
}

/** Ids follow from the place of a line, so that the same file read again gives the same jobs. `name`: what they
 *  begin with. `path`: `-` for standard input. */
export async function* jobLines(path: string, name: string): AsyncGenerator<JobLine | BadLine> {
  const input = path === '-' ? process.stdin : createReadStream(path)
  const lines = createInterface({ input: Readable.from(textIn(input)), crlfDelay: Infinity })
  let line = 0
  try {
    for await (const text of lines) {
      line += 1
      if (text.trim() !== '') yield jobOf({ line, text, name })
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === undefined) throw error
    if (code === NO_UTF8) throw new Failure(`${path}: after line ${line} its bytes are no UTF-8`)
    throw new Failure(`${path}: cannot be read (${code})`)
  } finally {
    lines.close()
    input.destroy()
  }
}

/** Without a byte order mark. Throws where its bytes are no UTF-8. */
async function* textIn(input: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  for await (const chunk of input) yield decoder.decode(chunk, { stream: true })
  yield decoder.decode()
}
const NO_UTF8 = 'ERR_ENCODING_INVALID_ENCODED_DATA'

/** What the ids of a file's lines begin with: its name, as far as an id may hold it. */
export function idsName(path: string, given: string | undefined): string {
  if (given !== undefined) return given
  if (path === '-') throw new Misuse('--file -: needs --id, which the ids of its lines begin with')
  const name = basename(path).replace(/\.[^.]*$/, '')
  return name.replaceAll(/[^A-Za-z0-9_-]/g, '_').slice(0, NAME_CHARS_MAX) || 'job'
}

/** An id has room for a line number behind it. */
export const NAME_CHARS_MAX = 48

export function jobOf(of: { line: number; text: string; name: string }): JobLine | BadLine {
  const { line, text, name } = of
  const read = objectIn(text)
  if (read === null) return { line, problem: 'expected one JSON object a line' }
  const { custom_id: id, params } = read
  if (id === undefined && params === undefined) return { line, id: `${name}-${line}`, body: text }
  if (!isToken(id)) return { line, problem: `custom_id: expected ${TOKEN_SHAPE}` }
  if (typeof params !== 'object' || params === null)
    return { line, problem: 'params: expected the body of a Messages call' }
  return { line, id, body: JSON.stringify(params) }
}

function objectIn(text: string): Record<string, unknown> | null {
  try {
    const read: unknown = JSON.parse(text)
    return typeof read === 'object' && read !== null && !Array.isArray(read) ? { ...read } : null
  } catch {
    return null
  }
}
