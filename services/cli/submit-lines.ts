/** Many jobs handed over, so many at once, each until it is stored or can never be. */
import { HeadgateError, type Headgate, type JobReceipt, type SubmitOptions } from '#client'
import type { BadLine, JobLine } from './job-lines.ts'

/** What is tried again waits this long at most, and is given up when it has been tried for so long. */
const AGAIN_MS = 500
const AGAIN_MOST_MS = 5_000
const GIVE_UP_MS = 300_000

export interface Submitted {
  accepted: number
  duplicates: number
  failed: number
  /** Tried again just now. */
  waiting: number
}

export interface SubmitMany {
  lines: AsyncIterable<JobLine | BadLine>
  headgate: Pick<Headgate, 'submit'>
  options: Omit<SubmitOptions, 'id' | 'signal'>
  atOnce: number
  /** Waits; ends early when the signal is aborted. */
  sleep(ms: number): Promise<void>
  /** Ms, on a clock that only goes forward. */
  now(): number
  stored(receipt: JobReceipt, line: number): void
  failed(of: BadLine): void
  /** Why something is tried again. */
  again?(error: HeadgateError): void
  /** Aborted: no further line is begun; those under way get their receipts. */
  signal: AbortSignal
}

/** `counts` is kept while it goes on, for whoever shows it. */
export async function submitLines(of: SubmitMany, counts: Submitted): Promise<void> {
  const under = new Set<Promise<void>>()
  for await (const one of of.lines) {
    if (of.signal.aborted) break
    if ('problem' in one) {
      counts.failed += 1
      of.failed(one)
      continue
    }
    const done: Promise<void> = submitOne(one, of, counts).finally(() => under.delete(done))
    under.add(done)
    if (under.size >= of.atOnce) await Promise.race(under)
  }
  await Promise.all(under)
}

async function submitOne(job: JobLine, of: SubmitMany, counts: Submitted): Promise<void> {
  const startedAt = of.now()
  for (let wait = AGAIN_MS; ; wait = Math.min(2 * wait, AGAIN_MOST_MS)) {
    try {
      const receipt = await of.headgate.submit(job.body, { ...of.options, id: job.id })
      if (receipt.duplicate) counts.duplicates += 1
      else counts.accepted += 1
      return of.stored(receipt, job.line)
    } catch (error) {
      const problem = problemOf(error)
      const late = of.now() - startedAt >= GIVE_UP_MS
      if (!passes(error) || late || of.signal.aborted) {
        counts.failed += 1
        return of.failed({ line: job.line, problem })
      }
      of.again?.(error)
      counts.waiting += 1
      await of.sleep(Math.max(wait, error.retryAfterMs ?? 0))
      counts.waiting -= 1
    }
  }
}

/** The same id may be given again, whether the first was stored or not. */
const passes = (error: unknown): error is HeadgateError =>
  error instanceof HeadgateError && (error.retryable || error.code === 'no_answer')

function problemOf(error: unknown): string {
  if (error instanceof HeadgateError) return `${error.code}: ${error.message}`
  if (error instanceof TypeError) return error.message
  throw error
}
