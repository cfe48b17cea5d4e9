/** An answer before it is sent: status, headers and, over time, bytes. Pure data and generators; the
 *  delivery plays it. All times count from the request's arrival and are not yet divided by `speed`. */
import type { Millis, Tokens } from '#contracts/units'

/** How an answer ends: complete, closed cleanly before it was, torn down, or silent for ever. */
export type Ending = 'end' | 'early' | 'reset' | 'stall'

/** One event of a stream, or the whole of a body. */
export interface Cue {
  /** When it may be sent. */
  at: Millis
  text: string
  /** True for the events that carry content. */
  delta: boolean
}

/** The last word of a script is how it ends. */
export type Script = Generator<Cue, Ending, undefined>

export type Body =
  | { kind: 'whole'; text: string }
  /** `promised` is the content-length, null for a chunked answer. */
  | { kind: 'script'; script: Script; promised: number | null }
  /** Not even a status line. */
  | { kind: 'nothing'; ending: 'reset' | 'stall' }

/** What the model would have done by some time; null for an answer that never reaches it. */
export interface Work {
  input: Tokens
  outputBy(elapsed: Millis): Tokens
}

export interface Answer {
  status: number
  /** Name and value in turn. */
  headers: readonly string[]
  /** Earliest time of the status line; Infinity when it never comes. */
  headersAt: Millis
  body: Body
  accepted: boolean
  executed: boolean
  work: Work | null
  /** False for an answer of the edge, which knows no request id. */
  fromApi: boolean
  fault: string | null
  /** Cut the body where frames, lines and characters do not end. */
  ragged: boolean
  /** Close the connection so long after the answer, without having said so; null keeps it. */
  closeAfterMs: Millis | null
}

/** An answer that is sent at once and never reached a model; the base of all others. */
export const plainAnswer = (p: {
  status: number
  text: string
  headers?: readonly string[]
  contentType?: string
}): Answer => ({
  status: p.status,
  headers: ['content-type', p.contentType ?? 'application/json', ...(p.headers ?? [])],
  headersAt: 0,
  body: { kind: 'whole', text: p.text },
  accepted: p.status < 400,
  executed: false,
  work: null,
  fromApi: true,
  fault: null,
  ragged: false,
  closeAfterMs: null,
})
