/** What goes out with a call, checked before it becomes a subject or a header. */
import { isToken, makeId, TOKEN_SHAPE } from '#contracts/ids'
import { meant } from '#contracts/known-names'
import {
  ATTEMPTS_MAX,
  DEADLINE_MAX_MS,
  HEADER,
  NEVER_AGAIN,
  SCHEDULING_HEADERS,
} from '#contracts/messages'
import type { CallOptions, RawBody, SubmitOptions } from './contract.ts'
import { checkNames } from './options.ts'
import type { ClientSystem } from './system.ts'
import { traceHeaders } from './trace-headers.ts'
import type { TransportHeaders } from './transport.ts'

export interface PreparedCall {
  lane: string
  id: string
  headers: TransportHeaders
  /** It may be asked a second time where it may have run. */
  again: boolean
}

/** Lane, id and headers. `where`: the function that was called. */
export function prepareCall(
  where: 'request' | 'stream' | 'relay' | 'submit',
  options: SubmitOptions & Pick<CallOptions, 'again'>,
  by: { lane?: string; system: ClientSystem },
): PreparedCall {
  checkNames(where === 'relay' || where === 'submit' ? where : 'call', where, options)
  checkOptions(options)
  const lane = options.lane ?? by.lane ?? 'interactive'
  const id = options.id ?? makeId(() => by.system.random())
  checkToken('lane', lane)
  checkToken('id', id)
  if (options.prefix !== undefined) checkToken('prefix', options.prefix)
  const headers: [string, string][] = [[HEADER.id, id]]
  if (options.deadlineMs !== undefined) {
    headers.push([HEADER.deadline, String(Math.ceil(options.deadlineMs))])
  }
  if (options.degrade !== undefined && options.degrade.length > 0) {
    headers.push([HEADER.degrade, options.degrade.join(',')])
  }
  if (options.maxAttempts !== undefined)
    headers.push([HEADER.maxAttempts, String(options.maxAttempts)])
  if (options.prefix !== undefined) headers.push([HEADER.prefix, options.prefix])
  if (options.notBeforeMs !== undefined)
    headers.push([HEADER.notBefore, String(Math.ceil(options.notBeforeMs))])
  const own = ownHeaders(options.headers)
  const said = own.find(([name]) => isAgain(name))
  if (said !== undefined && (where === 'submit' || said[1] !== NEVER_AGAIN))
    throw new TypeError(
      `headers.${said[0]}: expected ${where === 'submit' ? 'none, of a job' : NEVER_AGAIN}`,
    )
  // Whoever asks is meant, and that is this client.
  const rest = own.filter(([name]) => !isAgain(name))
  const again = options.again !== false && said === undefined
  return { lane, id, headers: [...headers, ...rest], again }
}

const isAgain = (name: string): boolean => name.toLowerCase() === HEADER.again.toLowerCase()

/** What cannot be a call is told to who made it, before anything of it is anywhere. */
export function checkOptions(
  of: Pick<SubmitOptions, 'deadlineMs' | 'degrade' | 'maxAttempts' | 'notBeforeMs' | 'signal'> &
    Pick<CallOptions, 'again'>,
): void {
  const { deadlineMs, degrade, maxAttempts, again, notBeforeMs, signal } = of
  if (again !== undefined && typeof again !== 'boolean')
    throw new TypeError('again: expected true or false')
  if (deadlineMs !== undefined && !(deadlineMs >= 1 && deadlineMs <= DEADLINE_MAX_MS))
    throw new TypeError(`deadlineMs: expected a number from 1 to ${DEADLINE_MAX_MS}`)
  if (degrade !== undefined && !Array.isArray(degrade))
    throw new TypeError("degrade: expected a list such as ['fallback', 'cache']")
  if (
    maxAttempts !== undefined &&
    !(Number.isInteger(maxAttempts) && maxAttempts >= 1 && maxAttempts <= ATTEMPTS_MAX)
  )
    throw new TypeError(`maxAttempts: expected an integer from 1 to ${ATTEMPTS_MAX}`)
  if (notBeforeMs !== undefined && !(notBeforeMs >= 0 && notBeforeMs <= DEADLINE_MAX_MS))
    throw new TypeError(`notBeforeMs: expected a number from 0 to ${DEADLINE_MAX_MS}`)
  checkSignal(signal)
}

export function checkSignal(signal: AbortSignal | undefined): void {
  if (signal !== undefined && typeof signal?.addEventListener !== 'function')
    throw new TypeError('signal: expected an AbortSignal')
}

/** The caller's, and the trace it is in. */
export function ownHeaders(given: Readonly<Record<string, string>> = {}): TransportHeaders {
  for (const [name, value] of Object.entries(given)) {
    if (typeof value !== 'string') throw new TypeError(`headers.${name}: expected text`)
    if (
      /^headgate-/i.test(name) &&
      !SCHEDULING_HEADERS.some((one) => one.toLowerCase() === name.toLowerCase())
    )
      throw new TypeError(`headers: no header ${name}; ${meant(name, SCHEDULING_HEADERS)}`)
  }
  return [...Object.entries(given), ...traceHeaders(given)]
}

export function checkToken(what: string, text: string): void {
  if (!isToken(text)) throw new TypeError(`${what}: expected ${TOKEN_SHAPE}`)
}

export const isRaw = (body: object | RawBody): body is RawBody =>
  typeof body === 'string' || body instanceof Uint8Array

/** Whether a body asks for a stream is settled before it is sent, since it is billed then. Throws a TypeError.
 *  What is no JSON is Headgate's to refuse. */
export function checkStream(where: 'request' | 'stream' | 'submit', body: object | RawBody): void {
  const streamed = asksForStream(body)
  if (where === 'stream') {
    if (isRaw(body) && streamed === false)
      throw new TypeError('stream: body: a raw body must say "stream": true itself')
    if ((body as { stream?: unknown } | null)?.stream === false)
      throw new TypeError('stream: body: it says "stream": false; expected none, or use request()')
  } else if (streamed === true)
    throw new TypeError(`${where}: body: it says "stream": true; expected none, or use stream()`)
}

/** Null: it is no JSON. */
function asksForStream(body: object | RawBody): boolean | null {
  if (!isRaw(body)) return (body as { stream?: unknown } | null)?.stream === true
  const text = typeof body === 'string' ? body : new TextDecoder().decode(body)
  try {
    // Most raw bodies do not hold the word, and need not be parsed for that.
    if (!text.includes('stream') && !text.includes('\\u')) return false
    return (JSON.parse(text) as { stream?: unknown } | null)?.stream === true
  } catch {
    return null
  }
}

export function encode(body: object | RawBody): RawBody {
  if (isRaw(body)) return body
  if (typeof body !== 'object' || body === null)
    throw new TypeError('body: expected an object, or JSON as text or bytes')
  try {
    return JSON.stringify(body)
  } catch (error) {
    throw new TypeError(`body: it cannot be written as JSON: ${(error as Error).message}`)
  }
}
