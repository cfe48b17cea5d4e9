/** Refusals that were final, for the few seconds in which clients ask again by themselves. Many do so of any 5xx or
 *  429, whatever `x-should-retry` says, so their tries and Headgate's multiply. The same call coming back is the
 *  same call: it is not tried again, and is told so with a status that clients take for final. Where its caller's
 *  own deadline has time left it goes on, with what is left of it.
 *  Nothing is remembered that a later try would cure, and all of a model is forgotten once the upstream answers a
 *  call of it: whoever asks again then is served. */
import type { Refusal } from '#contracts/messages'
import type { HeadgateError } from '#client'
import { inWords } from './answer.ts'
import { CallMemory, type SameCall } from './same-call.ts'

/** `leftMs`: of its own deadline. */
export type Known = { refused: Refusal; attempts: number } | { leftMs: number }

export interface FinalRefusals {
  /** `final`: its caller was told not to ask again. `deadlineMs`: in all; `own`: said by the caller. */
  remember(
    call: SameCall,
    of: { error: HeadgateError; final: boolean; deadlineMs: number; own: boolean },
  ): void
  recall(call: SameCall): Known | null
  /** The upstream has answered a call of this model; null: not known which. */
  served(model: string | null): void
  close(): void
}

/** What asking again at once does not cure. */
const FINAL: readonly string[] = [
  'retries_exhausted',
  'deadline_exceeded',
  'deadline_unreachable',
  'no_answer',
]
/** Of these no time is left, or nobody knows how much was used. */
const OVER: readonly string[] = ['deadline_exceeded', 'no_answer']
/** Official SDKs, the AI SDK, LangChain, LiteLLM and Claude Code give up on it. */
const STATUS = 400

interface Refused {
  model: string | null
  /** When its caller's own deadline ends; null: it was told not to come back. */
  goesOnUntil: number | null
  refused: Refusal
  attempts: number
}

export function finalRefusals(of: {
  /** How long each is remembered, and how many. */
  limits: () => { keepMs: number; most: number }
  system: { now(): number; after(ms: number, call: () => void): () => void }
}): FinalRefusals {
  const { system } = of
  const memory = new CallMemory<Refused>((ms, call) => system.after(ms, call))
  return {
    remember(call, { error, final, deadlineMs, own }) {
      const { keepMs, most } = of.limits()
      const { code, accounting } = error
      if (keepMs === 0 || memory.size >= most || !FINAL.includes(code)) return
      if (!final && !(own && code === 'retries_exhausted')) return
      const leftMs = deadlineMs - (accounting?.totalMs ?? 0)
      const refused: Refused = {
        model: accounting?.model ?? null,
        goesOnUntil: final ? null : system.now() + leftMs,
        refused: finalWords(error),
        attempts: accounting?.attempts ?? 0,
      }
      const before = memory.find(call)
      if (before !== null) memory.forget(before)
      const waitMs = final ? 0 : (error.retryAfterMs ?? 0)
      const over = OVER.includes(code) || leftMs <= 0
      memory.add(call, refused, over ? keepMs : Math.min(keepMs + waitMs, leftMs))
    },
    recall(call) {
      const known = memory.find(call)
      if (known === null) return null
      const { refused, attempts, goesOnUntil } = known
      if (goesOnUntil === null) return { refused, attempts }
      return { leftMs: Math.max(1, Math.ceil(goesOnUntil - system.now())) }
    },
    served(model) {
      if (memory.size === 0) return
      for (const one of memory.all())
        if (model === null || one.model === null || one.model === model) memory.forget(one)
    },
    close() {
      for (const one of memory.all()) memory.forget(one)
    },
  }
}

/** Without the JSON of the upstream's type: some programs look for it in the text. */
function finalWords(error: HeadgateError): Refusal {
  const { code, accounting } = error
  const attempts = accounting?.attempts ?? 0
  const tried = attempts === 0 ? 'refused this call' : `tried this call ${times(attempts)}`
  const { status, type, message } = inWords(error)
  const before = `${status} ${type}: ${message}`
  return {
    code: code as Refusal['code'],
    message: `Headgate has ${tried} a moment ago and does not try the same again so soon; ${before}`,
    status: STATUS,
    type: 'invalid_request_error',
    retryable: false,
    retryAfterMs: null,
  }
}

const times = (n: number): string => (n === 1 ? 'once' : `${n} times`)
