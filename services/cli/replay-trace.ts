/** Opens a trace of three columns (see `#contracts/trace-file`) for a replay. */
import { createReadStream } from 'node:fs'
import { linesOf, readColumns, TraceError, type Trace } from '#contracts/trace-file'

export async function readTrace(of: { path: string; untilS: number }): Promise<Trace> {
  const file: AsyncIterable<string> = createReadStream(of.path, 'utf8')
  const trace = await readColumns(linesOf(file, of.path), of).catch((error: unknown) => {
    const { code } = error as NodeJS.ErrnoException
    throw code === undefined ? error : new TraceError(`${of.path}: cannot be read (${code})`)
  })
  if (trace.rows.length < 2) throw new TraceError(`${of.path}: expected at least 2 rows of data`)
  if (trace.lastS === 0) throw new TraceError(`${of.path}: every row has the same TIMESTAMP`)
  return trace
}
