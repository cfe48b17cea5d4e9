/** The ways a request ends; it ends in exactly one. */
export const OUTCOMES = [
  'completed',
  'failed',
  'refused',
  'expired',
  'cancelled',
  'deferred',
] as const
export type Outcome = (typeof OUTCOMES)[number]

/** Who gave the answer: the model asked for, another one, an earlier answer to the same words, a batch of the
 *  provider's at half the price, or nobody. */
export const SERVED_BY = ['upstream', 'fallback', 'cache', 'batch', 'none'] as const
export type ServedBy = (typeof SERVED_BY)[number]

/** Where a live request stands: the states of `machines/request-lifecycle`. */
export const REQUEST_STATES = [
  'queued',
  'running',
  'forwarding',
  'backoff',
  'aborting',
  'settled',
] as const
export type RequestState = (typeof REQUEST_STATES)[number]
