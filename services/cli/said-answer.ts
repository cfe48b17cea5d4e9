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
  if (flags.json === true && error.body !== null) json(error.body)
  const again = error.retryable ? `; the same may work in ${error.retryAfterMs ?? 0} ms` : ''
  tell(`headgate: ${error.code}: ${error.message}${again}`)
  if (error.accounting !== null) tellAccounting(error.accounting)
}

export function tellAccounting(of: AnswerAccounting): void {
  const tokens =
    of.inputTokens === null ? '' : `, ${of.inputTokens} + ${of.outputTokens ?? 0} tokens`
  const times = `${of.queueMs} ms queued, ${of.upstreamMs} ms upstream, ${of.totalMs} ms in all`
  const attempts = `${of.attempts} attempt${of.attempts === 1 ? '' : 's'}`
  const yielded = of.preemptions === 0 ? '' : `, yielded ${of.preemptions} times`
  tell(`[${of.id} ${of.outcome ?? ''}: ${times}, ${attempts}${yielded}${tokens}]`)
}
