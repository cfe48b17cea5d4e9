/** What the last message of an answer says beside its body. */
import { HEADER } from '#contracts/messages'
import { readReply, type ReplyFields } from '#contracts/reply-fields'
import type { TransportMessage } from './transport.ts'

export type AnswerAccounting = ReplyFields

type Said = Pick<TransportMessage, 'header' | 'last'>

export const readAccounting = (message: Said): AnswerAccounting =>
  message.last?.accounting ?? readReply((name) => message.header(name))

/** It ends the answer; what does not is part of a stream. */
export const isLast = (message: Said): boolean =>
  message.last !== undefined || message.header(HEADER.outcome) !== undefined
