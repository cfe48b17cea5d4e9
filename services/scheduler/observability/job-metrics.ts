/** Durable jobs and batches, in figures: what became of jobs, message batches that callers send over HTTP, and jobs that go to the provider's own at half
 *  the price. */
import { Counter, Gauge, type Registry } from 'prom-client'
import type { BatchesNow, JobNews } from '#ports'
import { OTHER } from './busiest.ts'

export interface JobMetrics {
  note(news: JobNews): void
  /** Null: there are none here. */
  read(now: BatchesNow | null): void
}

export function jobMetrics(registry: Registry, laneOf: (lane: string) => string): JobMetrics {
  const jobs = new Counter({
    name: 'headgate_jobs_total',
    help: 'What became of durable jobs: accepted, duplicate, claimed, taken_over (from an instance that died), returned (to the store, not ended), ambiguous (a call may run twice), late_result, dead, store_error; or their outcome.',
    labelNames: ['event', 'lane'],
    registers: [registry],
  })
  const own = <L extends string>(name: string, help: string, ...labelNames: L[]) => ({
    ...{ name: `headgate_${name}`, help, labelNames, registers: [registry] },
  })
  const events = new Counter(
    own(
      'batches_total',
      'What this instance did of message batches: opened (it is being received), received (complete), cancelled, ended, deleted, dropped (not received to the end).',
      'event',
    ),
  )
  const entries = new Counter(
    own('batch_entries_total', 'Entries of them: received, and how each ended.', 'event'),
  )
  const bytes = new Counter(own('batch_bytes_total', 'Bytes of entries that were received.'))
  const open = new Gauge(
    own('batches', 'Message batches that have not ended, of all instances.', 'state'),
  )
  const gatherings = new Gauge(
    own('gatherings', "Batches of the provider's that this instance looks after."),
  )
  const gathered = new Gauge(own('gathered_jobs', 'Durable jobs in them.'))
  const gatheredTotal = new Counter(
    own(
      'gathered_jobs_total',
      "Durable jobs in batches of the provider's, by what became of the batch, as in headgate_jobs_total without batch_; again: jobs that are sent once more.",
      'event',
    ),
  )
  return {
    note(news) {
      if (news.kind !== 'message_batch')
        jobs.inc({ event: jobEvent(news), lane: news.job === null ? OTHER : laneOf(news.job.lane) })
      if (news.kind === 'batch') gatheredTotal.inc({ event: news.what }, news.entries)
      if (news.kind !== 'message_batch') return
      if (news.what === 'page') {
        entries.inc({ event: 'received' }, news.entries)
        bytes.inc(news.bytes)
        return
      }
      events.inc({ event: news.what })
      if (news.what === 'ended')
        for (const [event, count] of Object.entries(news.tally)) entries.inc({ event }, count)
    },
    read(now) {
      if (now === null) return
      for (const [state, count] of Object.entries(now.open)) open.set({ state }, count)
      gatherings.set(now.gatherings)
      gathered.set(now.gathered)
    },
  }
}

function jobEvent(news: JobNews): string {
  if (news.kind === 'batch') return `batch_${news.what}`
  return news.kind === 'settled' ? news.outcome : news.kind
}
