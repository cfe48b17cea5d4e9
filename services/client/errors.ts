/** Every way a call can fail, as one error with a code. */
import { HEADER } from '#contracts/messages'
import { refusals, type RefusalCode } from '#contracts/refusals'
import { readAccounting, type AnswerAccounting } from './accounting.ts'
import type { TransportMessage } from './transport.ts'

/** What the client itself finds out. A call that has left may have run, and been paid for: what is told of one is
 *  not retryable, since the same again would run it twice. */
export const clientRefusals = {
  unreachable: { means: 'nobody took the request', retryable: true },
  no_answer: { means: 'no answer in time; it may have run all the same', retryable: false },
  gap: { means: 'events of the stream were lost on the way', retryable: false },
  bad_answer: { means: 'the answer does not fit the contract', retryable: false },
  reader_too_slow: { means: 'events were not read as fast as they came', retryable: false },
  client_full: { means: 'this client waits for all the answers it may', retryable: true },
  closed: { means: 'this client was closed', retryable: false },
} as const

export type ClientCode = keyof typeof clientRefusals

/** Every code of a HeadgateError. What Headgate says is a row of `refusals` in contracts/refusals, with its
 *  meaning, its HTTP status, whether the same may succeed later and who must act; the wire contract
 *  (docs/wire-contract.md, section An error) has them as a table. What the client finds out by itself is a
 *  row of `clientRefusals`. */
export type HeadgateErrorCode = RefusalCode | ClientCode

export class HeadgateError extends Error {
  override readonly name = 'HeadgateError'
  /** `isHeadgateError` narrows by it. */
  readonly code: HeadgateErrorCode
  /** HTTP status; null when no Headgate said so. */
  readonly status: number | null
  /** The API's `error.type`. */
  readonly type: string | null
  /** The same again, later, may succeed, and does not run a second time what may have run unheard. */
  readonly retryable: boolean
  readonly retryAfterMs: number | null
  /** The error's JSON as it came. */
  readonly body: unknown
  readonly bytes: Uint8Array | null
  readonly accounting: AnswerAccounting | null

  constructor(of: {
    code: HeadgateErrorCode
    message: string
    status?: number | null
    type?: string | null
    retryable?: boolean
    retryAfterMs?: number | null
    body?: unknown
    bytes?: Uint8Array | null
    accounting?: AnswerAccounting | null
    cause?: unknown
  }) {
    super(of.message, of.cause === undefined ? undefined : { cause: of.cause })
    this.code = of.code
    this.status = of.status ?? null
    this.type = of.type ?? null
    this.retryable = of.retryable ?? false
    this.retryAfterMs = of.retryAfterMs ?? null
    this.body = of.body ?? null
    this.bytes = of.bytes ?? null
    this.accounting = of.accounting ?? null
  }
}

/** Whether a call ended by one of these codes; with none named, whether it ended by any:
 *  `if (isHeadgateError(error, 'queue_full', 'breaker_open')) await later(error.retryAfterMs)`. */
export function isHeadgateError<Code extends HeadgateErrorCode = HeadgateErrorCode>(
  error: unknown,
  ...codes: readonly Code[]
): error is HeadgateError & { readonly code: Code } {
  if (!(error instanceof HeadgateError)) return false
  return codes.length === 0 || codes.some((code) => code === error.code)
}

export function clientError(code: ClientCode, detail: string, cause?: unknown): HeadgateError {
  const { means, retryable } = clientRefusals[code]
  return new HeadgateError({ code, message: `${means}: ${detail}`, retryable, cause })
}

/** What Headgate would say too, found out before or beside it: a row of `refusals`. */
export function refusedHere(code: RefusalCode, message: string, cause?: unknown): HeadgateError {
  const { http, type, retryable } = refusals[code]
  return new HeadgateError({ code, message, status: http, type, retryable, cause })
}

/** The NATS server has no permission for it in this user's list. */
export const notPermitted = (detail: string): HeadgateError =>
  refusedHere('forbidden', `NATS does not carry it for this user: ${detail}`)

/** What kept us from a server, as it is said. */
export function unreachable(error: unknown): HeadgateError {
  if (error instanceof HeadgateError) return error
  const message = messageOf(error)
  return new HeadgateError({ code: 'unreachable', message, retryable: true, cause: error })
}

/** The error that a message carries; null when it carries none. */
export function errorIn(message: TransportMessage): HeadgateError | null {
  const status = errorStatus(message)
  if (status === null) return null
  const body = parseLoosely(message.data)
  const { error, headgate } = (body ?? {}) as {
    error?: { type?: unknown; message?: unknown }
    headgate?: { code?: unknown; retryable?: unknown; retry_after_ms?: unknown }
  }
  const code = headgate?.code
  const retryAfterMs = headgate?.retry_after_ms
  return new HeadgateError({
    code: isRefusalCode(code) ? code : 'upstream_error',
    message:
      typeof error?.message === 'string'
        ? error.message
        : (message.header(HEADER.error) ?? 'no message'),
    status,
    type: typeof error?.type === 'string' ? error.type : null,
    retryable: headgate?.retryable === true,
    retryAfterMs: typeof retryAfterMs === 'number' ? retryAfterMs : null,
    body,
    bytes: message.data,
    accounting: readAccounting(message),
  })
}

/** Null: it carries no error. */
function errorStatus(message: TransportMessage): number | null {
  if (message.last !== undefined) return message.last.errorStatus
  const status = message.header(HEADER.errorCode)
  return status === undefined ? null : Number(status)
}

export const messageOf = (error: unknown): string =>
  error instanceof Error ? error.message : 'no reason given'

const isRefusalCode = (code: unknown): code is RefusalCode =>
  typeof code === 'string' && Object.hasOwn(refusals, code)

function parseLoosely(data: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(data)) as unknown
  } catch {
    return null
  }
}
