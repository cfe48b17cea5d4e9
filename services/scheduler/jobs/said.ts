/** What Headgate itself says of a job, and what is told of it. */
import { refusal, type Accounting, type Refusal } from '#contracts/messages'
import type { JobHead, JobWork, Millis } from '#ports'
import type { LiveJob } from './live-job.ts'

export const workOf = ({ job, claim }: Pick<LiveJob, 'job' | 'claim'>): JobWork => ({
  job,
  claims: claim.claims,
  attempts: claim.attempts,
})

/** Of an error, by the wire contract. */
export const outcomeOf = ({ code }: Refusal, attempts: number): Accounting['outcome'] => {
  if (code === 'deadline_exceeded') return 'expired'
  if (code === 'cancelled') return 'cancelled'
  return attempts > 0 ? 'failed' : 'refused'
}

export const EXPIRED = refusal(
  'deadline_exceeded',
  'the deadline passed before the job could start',
)
export const POISON = refusal(
  'upstream_error',
  'instance after instance died while it made this call (jobs.claims_max); an operator may look into it',
  { status: 500, type: 'api_error' },
)
export const UNREADABLE = refusal('invalid_request', 'the stored job is no request any more')
export const TOO_LARGE = refusal(
  'upstream_error',
  "the answer is larger than the NATS server's max_payload",
  { status: 502, type: 'api_error' },
)
export const BROKEN_STREAM = refusal('stream_broken', "the answer's events do not make a message")
/** The words of `llm_gateway.retry.acting`, for a call whose owner died under it. */
export const MAY_HAVE_ACTED = refusal(
  'retries_exhausted',
  'an instance died while it made this call, which may have run tools at the provider; a second try could run them again (llm_gateway.retry.acting)',
  { status: 500, type: 'api_error', inVain: true },
)

/** A clock that was set back makes no job younger than new. */
export const ageOf = (job: JobHead, wall: Millis): Millis => Math.max(0, wall - job.acceptedAt)
