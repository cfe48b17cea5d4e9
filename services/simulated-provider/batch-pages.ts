/** A batch, and a list of batches, as the API shows them. */
import type { Millis } from '#contracts/units'
import type { Batch, Entry } from './batches.ts'

const DAY: Millis = 86_400_000

export interface PageAsk {
  limit: number
  /** Only older ones than this, or only newer ones. */
  after: string | null
  before: string | null
}

export const isEnded = (batch: Batch, now: Millis): boolean => now >= batch.endsAt

export function batchPage(batch: Batch, now: Millis) {
  const ended = isEnded(batch, now)
  const { canceledAt } = batch
  return {
    id: batch.id,
    type: 'message_batch',
    processing_status: ended ? 'ended' : canceledAt === null ? 'in_progress' : 'canceling',
    request_counts: countsOf(batch, ended),
    created_at: rfc3339(batch.createdAt),
    expires_at: rfc3339(batch.createdAt + DAY),
    ended_at: ended ? rfc3339(batch.endsAt) : null,
    cancel_initiated_at: canceledAt === null ? null : rfc3339(canceledAt),
    archived_at: null,
    results_url: ended ? `/v1/messages/batches/${batch.id}/results` : null,
  }
}

/** `newestFirst`, as the API lists them. */
export function listPage(newestFirst: readonly Batch[], ask: PageAsk, now: Millis) {
  const place = (id: string | null, otherwise: number): number => {
    const at = id === null ? -1 : newestFirst.findIndex((batch) => batch.id === id)
    return at < 0 ? otherwise : at
  }
  const until = place(ask.before, newestFirst.length)
  const from = ask.before === null ? place(ask.after, -1) + 1 : Math.max(0, until - ask.limit)
  const shown = newestFirst.slice(from, Math.min(until, from + ask.limit))
  const more = ask.before === null ? from + shown.length < newestFirst.length : from > 0
  return {
    data: shown.map((batch) => batchPage(batch, now)),
    has_more: more,
    first_id: shown[0]?.id ?? null,
    last_id: shown.at(-1)?.id ?? null,
  }
}

/** All are being processed until the whole batch has ended. */
function countsOf(batch: Batch, ended: boolean) {
  const counts = { processing: 0, succeeded: 0, errored: 0, canceled: 0, expired: 0 }
  if (!ended) return { ...counts, processing: batch.entries.length }
  for (const entry of batch.entries) counts[endOf(entry, batch)]++
  return counts
}

/** How an entry of an ended batch ended. */
export function endOf(entry: Entry, batch: Batch): Entry['fate'] | 'canceled' {
  if (entry.fate === 'expired') return batch.canceledAt === null ? 'expired' : 'canceled'
  return entry.doneAt > batch.endsAt ? 'canceled' : entry.fate
}

const rfc3339 = (at: Millis): string => new Date(at).toISOString()
