/** What came back, read: as an answer, or as one of the contract's own shapes. */
import { firstIssue } from '#contracts/messages'
import { plainWords } from '#contracts/plain-words'
import { readAccounting } from './accounting.ts'
import type { Answer } from './contract.ts'
import { clientError } from './errors.ts'
import type { TransportMessage } from './transport.ts'

export function answerOf<Body>(message: TransportMessage): Answer<Body> {
  let parsed: { body: Body } | null = null
  return {
    get body() {
      parsed ??= { body: json(message) as Body }
      return parsed.body
    },
    bytes: message.data,
    accounting: readAccounting(message),
  }
}

export function json(message: TransportMessage): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(message.data)) as unknown
  } catch (error) {
    throw clientError('bad_answer', 'it is not JSON', error)
  }
}

/** A schema of the contract. */
interface Schema<Value> {
  safeParse(
    value: unknown,
    params: { error: typeof plainWords },
  ): { success: true; data: Value } | { success: false; error: Parameters<typeof firstIssue>[0] }
}

/** Fails with `bad_answer` when the message is not of that shape. */
export function shaped<Value>(schema: Schema<Value>, message: TransportMessage): Value {
  const read = schema.safeParse(json(message), { error: plainWords })
  if (read.success) return read.data
  throw clientError('bad_answer', firstIssue(read.error), read.error)
}
