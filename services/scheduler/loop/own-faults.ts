/** What is said of a request when something of ours failed. */
import { refusal } from '#contracts/messages'
import type { Verdict } from '#contracts/verdict'

/** A broken law ends the process; another instance may take the request. */
export const ABANDONED = refusal(
  'draining',
  'this instance ends by a fault of its own; the request may have been sent upstream',
)

/** Our own doing, so nobody's fault but ours: it moves no limit and no breaker, and is not tried again. */
export const NEVER_SENT: Verdict = {
  kind: 'rejected',
  status: 500,
  errorType: 'api_error',
  cause: 'not_sent',
  retryAfterMs: null,
  requestId: null,
  usage: null,
  ttftMs: null,
  mayHaveRun: false,
  rate: null,
  body: null,
}
