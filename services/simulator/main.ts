/** Runs what one JSON argument asks for, a `Job` or a `ListJob`, and tells the parent over IPC what came of
 *  it: `node main.ts '{"list":true}'`. The only file of the simulator that writes. */
import { createHash } from 'node:crypto'
import {
  closeSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { resolve } from 'node:path'
import { ConfigError } from '#platform/config/load'
import { TraceError } from '#contracts/trace-file'
import { JobError } from './job-error.ts'
import type { Job, RunJob, RunResult } from './job.ts'
import { reportPage, type PageAssets } from './report-page.ts'
import { scenarioList } from './scenarios.ts'
import { simulate } from './simulate.ts'

/** Asks which scenarios there are. */
interface ListJob {
  list: true
}

/** What a parent over IPC is told; `misuse`: it asked for something that does not exist. */
type ToParent =
  | { type: 'ready'; results: RunResult[] }
  | { type: 'ready'; scenarios: ReturnType<typeof scenarioList> }
  | { type: 'failed'; message: string; misuse: boolean }

/** A file that cannot be written. */
class FileError extends Error {
  override readonly name = 'FileError'
}

const RECORD_CHUNK_CHARS = 65_536
const PARAMETERS = ['load', 'reserved', 'noise'] as const

// A parent that is gone needs no result.
process.once('disconnect', () => process.exit(1))

try {
  await finish(await answer(readJob(process.argv[2] ?? '')))
} catch (error) {
  if (!isMendable(error)) throw error
  await finish({ type: 'failed', message: error.message, misuse: error instanceof JobError })
}

async function answer(job: Job | ListJob): Promise<ToParent> {
  if ('list' in job) return { type: 'ready', scenarios: scenarioList() }
  for (const run of job.runs) checkScenario(run)
  checkOutputs(job)
  const report = job.report === null ? null : reportFile(job.report)
  const recording = job.record === null ? null : recordingFile(job.record)
  const results: RunResult[] = []
  for (const run of job.runs) {
    const first = results.length === 0 ? recording : null
    results.push(await simulate(run, { record: first?.write ?? null, series: job.report !== null }))
    first?.close()
  }
  report?.write(results)
  return { type: 'ready', results }
}

/** Ends this process once the parent has everything. */
async function finish(word: ToParent): Promise<void> {
  const { promise: sent, resolve } = Promise.withResolvers<void>()
  if (process.send === undefined) process.stdout.write(`${JSON.stringify(word)}\n`, () => resolve())
  else process.send(word, undefined, undefined, () => resolve())
  await sent
  process.exitCode = word.type === 'failed' ? 1 : 0
  process.removeAllListeners('disconnect')
  if (process.connected) process.disconnect()
}

function readJob(text: string): Job | ListJob {
  try {
    return JSON.parse(text) as Job | ListJob
  } catch {
    throw new JobError('expected the JSON of a job as the first argument')
  }
}

function checkScenario({ what }: RunJob): void {
  if (what.kind !== 'scenario') return
  const known = scenarioList()
  const found = known.find((one) => one.name === what.name)
  if (found === undefined)
    throw new JobError(
      `--scenario: no scenario ${what.name}; there are ${known.map((one) => one.name).join(', ')}`,
    )
  for (const parameter of PARAMETERS) {
    if (what[parameter] === null || found.parameters.includes(parameter)) continue
    const takes = found.parameters.map((one) => `--${one}`).join(', ')
    const others = known.filter((one) => one.parameters.includes(parameter))
    throw new JobError(
      `--${parameter}: not for ${found.name}, which takes ${takes === '' ? 'none of these' : takes}; ` +
        `for ${others.map((one) => one.name).join(', ')}`,
    )
  }
}

/** What a person can mend: a name, a file, a configuration, a trace. Anything else is a bug. */
function isMendable(error: unknown): error is Error {
  return [JobError, FileError, TraceError, ConfigError].some((kind) => error instanceof kind)
}

// ---- files, opened before the first run: that a path cannot be written is no news after an hour. What
// stood there stays until the new one is whole ----

/** What is read must not be written over. */
function checkOutputs(job: Job): void {
  const inputs = new Map<string, string>()
  for (const { what, config } of job.runs) {
    if (what.kind === 'trace') inputs.set(sameFile(what.path), what.path)
    if (config !== null) inputs.set(sameFile(config), config)
  }
  for (const [option, path] of [
    ['--report', job.report],
    ['--record', job.record],
  ] as const) {
    if (path === null || !inputs.has(sameFile(path))) continue
    throw new JobError(`${option}: ${path} is what is read; give another file`)
  }
}

/** One name per file, whatever the links to it are called. */
function sameFile(path: string): string {
  try {
    return realpathSync(path)
  } catch {
    return resolve(path)
  }
}

interface Output {
  write(text: string): void
  /** It is whole: it takes its place. */
  close(): void
}

/** Written beside its place; what is left of an interrupted run is taken away. */
function outputFile(path: string): Output {
  const beside = `${path}.${process.pid}.part`
  const file = writing(path, () => {
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory() === true)
      throw Object.assign(new Error('a directory'), { code: 'EISDIR' })
    return openSync(beside, 'wx')
  })
  const away = (): void => rmSync(beside, { force: true })
  process.once('exit', away)
  return {
    write: (text) => writing(path, () => writeFileSync(file, text)),
    close() {
      closeSync(file)
      writing(path, () => renameSync(beside, path))
      process.off('exit', away)
    },
  }
}

function reportFile(path: string): { write(results: RunResult[]): void } {
  const assets = readAssets()
  const file = outputFile(path)
  return {
    write(results) {
      file.write(reportPage(results, assets))
      file.close()
    },
  }
}

/** One JSON object per line. */
function recordingFile(path: string): { write(line: object): void; close(): void } {
  const file = outputFile(path)
  let waiting = ''
  const flush = (): void => {
    file.write(waiting)
    waiting = ''
  }
  return {
    write(line) {
      waiting += `${JSON.stringify(line)}\n`
      if (waiting.length >= RECORD_CHUNK_CHARS) flush()
    },
    close() {
      flush()
      file.close()
    },
  }
}

function writing<T>(path: string, work: () => T): T {
  try {
    return work()
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw code === undefined ? error : new FileError(`${path}: cannot be written (${code})`)
  }
}

/** uPlot from its package, our own script and style from beside this file. */
function readAssets(): PageAssets {
  const asset = (url: string | URL) => {
    const text = readFileSync(new URL(url), 'utf8')
    return { text, sha256: createHash('sha256').update(text).digest('base64') }
  }
  const uplot = (name: string) => asset(import.meta.resolve(`uplot/dist/${name}`))
  const ours = (name: string) => asset(new URL(name, import.meta.url))
  return {
    scripts: [uplot('uPlot.iife.min.js'), ours('report-charts.js')],
    styles: [uplot('uPlot.min.css'), ours('report-page.css')],
  }
}
