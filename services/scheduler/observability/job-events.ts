/** What becomes of a durable job, as events. */
import type { HeadgateEvent, JobNews, JobWork } from '#ports'

/** Null: it is counted, and nothing that happened to a job. */
export function jobEvent(
  news: JobNews,
  { instance, at }: { instance: string; at: number },
): HeadgateEvent | null {
  switch (news.kind) {
    case 'accepted': {
      const { bytes, deadlineMs: deadline_ms, notBeforeMs: not_before_ms } = news
      const data = { ...nameOf(news), bytes, deadline_ms, not_before_ms }
      return { name: 'job.accepted', at, data }
    }
    case 'claimed':
      return { name: 'job.claimed', at, data: claimOf(news, instance) }
    case 'taken_over':
      return { name: 'job.taken_over', at, data: { ...claimOf(news, instance), from: news.from } }
    case 'returned': {
      const { attempts } = news
      return { name: 'job.returned', at, data: { ...nameOf(news), instance, attempts } }
    }
    case 'settled': {
      const { outcome, claims, attempts, ageMs } = news
      const data = { ...nameOf(news), outcome, claims, attempts, total_ms: Math.round(ageMs) }
      return { name: 'job.ended', at, data }
    }
    case 'dead': {
      const { reason, claims, attempts } = news
      return { name: 'job.dead', at, data: { ...nameOf(news), reason, claims, attempts } }
    }
    default:
      return null
  }
}

/** Field by field: a job as it is handed over holds its prompt. */
const nameOf = ({ job: { tenant, lane, id } }: Pick<JobWork, 'job'>) => ({ tenant, lane, id })

const claimOf = (news: Extract<JobNews, { kind: 'claimed' | 'taken_over' }>, instance: string) => ({
  ...nameOf(news),
  instance,
  claims: news.claims,
  attempts: news.attempts,
  age_ms: Math.round(news.ageMs),
  ambiguous: news.ambiguous,
})
