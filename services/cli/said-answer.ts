/** What came of a call, said to a person: the answer on stdout, what it took or why there is none on stderr. */
import type { Answer, AnswerAccounting, HeadgateError } from '#client'
import { json, say, tell } from './terminal.ts'

interface AnswerFlags {
  json?: true
}

export function sayAnswer(answer: Answer, flags: AnswerFlags): void {
  if (flags.json === true) say(new TextDecoder().decode(answer.bytes))
  else say(answer.body.content.map((block) => (block.type === 'text' ? block.text : '')).join(''))
}

export function tellError(error: HeadgateError, flags: AnswerFlags): void {
  if (flags.json === true) jsonError(error)
  const waitMs = error.retryAfterMs ?? 0
  const again = !error.retryable
    ? ''
    : `; the same may work ${waitMs === 0 ? 'now' : `in ${waitMs} ms`}`
  tell(`headgate: ${error.code}: ${error.message}${again}`)
  if (error.accounting !== null) tellAccounting(error.accounting)
}

/** An error on stdout: as it came, else in the same form. */
export function jsonError(error: HeadgateError | { message: string }): void {
  if ('body' in error && error.body !== null) return json(error.body)
  const said = { type: 'error', error: { type: 'api_error', message: error.message } }
  if (!('code' in error)) return json(said)
  const { code, retryable, retryAfterMs } = error
  json({ ...said, headgate: { code, retryable, retry_after_ms: retryAfterMs } })
}

export function tellAccounting(of: AnswerAccounting): void {
  const tokens =
    of.inputTokens === null ? '' : `, ${of.inputTokens} + ${of.outputTokens ?? 0} tokens`
  const times = `${of.queueMs} ms queued, ${of.upstreamMs} ms upstream, ${of.totalMs} ms in all`
  const attempts = `${of.attempts} attempt${of.attempts === 1 ? '' : 's'}`
  const yielded = of.preemptions === 0 ? '' : `, yielded ${of.preemptions} times`
  tell(`[${of.id} ${of.outcome ?? ''}: ${times}, ${attempts}${yielded}${tokens}]`)
}
