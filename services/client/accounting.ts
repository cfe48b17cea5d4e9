/** The accounting headers, read. */
import { HEADER } from '#contracts/messages'
import { OUTCOMES, SERVED_BY, type Outcome, type ServedBy } from '#contracts/outcome'
import type { TransportMessage } from './transport.ts'

export interface AnswerAccounting {
  id: string
  outcome: Outcome | null
  servedBy: ServedBy
  model: string | null
  attempts: number
  preemptions: number
  queueMs: number
  upstreamMs: number
  totalMs: number
  /** The upstream's. */
  requestId: string | null
  inputTokens: number | null
  outputTokens: number | null
  /** Upstream events of a stream. */
  events: number | null
}

export function readAccounting(message: Pick<TransportMessage, 'header'>): AnswerAccounting {
  const text = (name: string) => message.header(name) ?? null
  const number = (name: string) => {
    const value = text(name)
    return value === null || !/^\d{1,15}$/.test(value) ? null : Number(value)
  }
  const outcome = text(HEADER.outcome)
  const servedBy = text(HEADER.servedBy)
  return {
    id: text(HEADER.id) ?? '',
    outcome: OUTCOMES.find((known) => known === outcome) ?? null,
    servedBy: SERVED_BY.find((known) => known === servedBy) ?? 'none',
    model: text(HEADER.model),
    attempts: number(HEADER.attempts) ?? 0,
    preemptions: number(HEADER.preemptions) ?? 0,
    queueMs: number(HEADER.queueMs) ?? 0,
    upstreamMs: number(HEADER.upstreamMs) ?? 0,
    totalMs: number(HEADER.totalMs) ?? 0,
    requestId: text(HEADER.requestId),
    inputTokens: number(HEADER.inputTokens),
    outputTokens: number(HEADER.outputTokens),
    events: number(HEADER.events),
  }
}
