/** What goes out with a call, checked before it becomes a subject or a header. */
import { isToken, makeId, TOKEN_SHAPE } from '#contracts/ids'
import { HEADER } from '#contracts/messages'
import type { CallOptions, RawBody } from './contract.ts'
import type { ClientSystem } from './system.ts'
import { traceHeaders } from './trace-headers.ts'
import type { TransportHeaders } from './transport.ts'

/** Lane, id and headers. */
export function prepareCall(
  options: CallOptions,
  by: { lane?: string; system: ClientSystem },
): { lane: string; id: string; headers: TransportHeaders } {
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

/** The caller's, and the trace it is in. */
export const ownHeaders = (given: Readonly<Record<string, string>> = {}): TransportHeaders => [
  ...Object.entries(given),
  ...traceHeaders(given),
]

export function checkToken(what: string, text: string): void {
  if (!isToken(text)) throw new TypeError(`${what}: expected ${TOKEN_SHAPE}`)
}

export const isRaw = (body: object | RawBody): body is RawBody =>
  typeof body === 'string' || body instanceof Uint8Array

export const encode = (body: object | RawBody): RawBody =>
  isRaw(body) ? body : JSON.stringify(body)
