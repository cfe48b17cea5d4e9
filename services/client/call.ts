/** What goes out with a call, checked before it becomes a subject or a header. */
import { isToken, makeId, TOKEN_SHAPE } from '#contracts/ids'
import { DEADLINE_MAX_MS, HEADER } from '#contracts/messages'
import type { CallOptions, RawBody } from './contract.ts'
import type { ClientSystem } from './system.ts'
import { traceHeaders } from './trace-headers.ts'
import type { TransportHeaders } from './transport.ts'

/** Lane, id and headers. */
export function prepareCall(
  options: CallOptions,
  by: { lane?: string; system: ClientSystem },
): { lane: string; id: string; headers: TransportHeaders } {
  checkOptions(options)
  const lane = options.lane ?? by.lane ?? 'interactive'
  const id = options.id ?? makeId(() => by.system.random())
  checkToken('lane', lane)
  checkToken('id', id)
  const headers: [string, string][] = [[HEADER.id, id]]
  if (options.deadlineMs !== undefined) {
    headers.push([HEADER.deadline, String(Math.ceil(options.deadlineMs))])
  }
  if (options.degrade !== undefined && options.degrade.length > 0) {
    headers.push([HEADER.degrade, options.degrade.join(',')])
  }
  return { lane, id, headers: [...headers, ...ownHeaders(options.headers)] }
}

/** What cannot be a call is told to who made it, before anything of it is anywhere. */
export function checkOptions(of: Pick<CallOptions, 'deadlineMs' | 'degrade' | 'signal'>): void {
  const { deadlineMs, degrade, signal } = of
  if (deadlineMs !== undefined && !(deadlineMs >= 1 && deadlineMs <= DEADLINE_MAX_MS))
    throw new TypeError(`deadlineMs: expected a number from 1 to ${DEADLINE_MAX_MS}`)
  if (degrade !== undefined && !Array.isArray(degrade))
    throw new TypeError("degrade: expected a list such as ['fallback', 'cache']")
  if (signal !== undefined && typeof signal?.addEventListener !== 'function')
    throw new TypeError('signal: expected an AbortSignal')
}

/** The caller's, and the trace it is in. */
export function ownHeaders(given: Readonly<Record<string, string>> = {}): TransportHeaders {
  for (const [name, value] of Object.entries(given))
    if (typeof value !== 'string') throw new TypeError(`headers.${name}: expected text`)
  return [...Object.entries(given), ...traceHeaders(given)]
}

export function checkToken(what: string, text: string): void {
  if (!isToken(text)) throw new TypeError(`${what}: expected ${TOKEN_SHAPE}`)
}

export const isRaw = (body: object | RawBody): body is RawBody =>
  typeof body === 'string' || body instanceof Uint8Array

export function encode(body: object | RawBody): RawBody {
  if (isRaw(body)) return body
  if (typeof body !== 'object' || body === null)
    throw new TypeError('body: expected an object, or JSON as text or bytes')
  return JSON.stringify(body)
}
