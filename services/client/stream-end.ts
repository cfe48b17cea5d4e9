/** The end of an answer is told by its accounting, never by emptiness: a message without content and without
 *  accounting is a gap, and so is a count of events that does not fit. */
import type { AnswerAccounting } from './accounting.ts'
import { clientError, type HeadgateError } from './errors.ts'

export const endless = (): HeadgateError => clientError('gap', 'an end without its accounting came')

/** Null: what came is what left. `streamed`: a part of a stream, a ping included, came before. */
export function wrongEnd(of: {
  data: Uint8Array
  accounting: AnswerAccounting
  /** Events that came. */
  events: number
  streamed: boolean
}): HeadgateError | null {
  const { events: left } = of.accounting
  if (left === null)
    return of.streamed
      ? clientError('gap', `${of.events} events came, and their count did not`)
      : null
  if (of.data.length > 0) return clientError('bad_answer', 'the end of a stream has a body')
  return left === of.events ? null : clientError('gap', `${of.events} of ${left} events came`)
}
