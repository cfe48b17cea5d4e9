/** What the API demands of a request before it reads the body. */
import type { IncomingMessage } from 'node:http'
import { invalid, type ApiError } from './api-error.ts'
import { versionProblem } from './order.ts'

export type EndpointName = 'messages' | 'count_tokens' | 'models' | 'batches'

/** Which endpoint a path names; null for none. */
export function endpointOf(path: string): EndpointName | null {
  if (path === '/v1/messages') return 'messages'
  if (path === '/v1/messages/count_tokens') return 'count_tokens'
  if (isUnder(path, '/v1/models')) return 'models'
  return isUnder(path, '/v1/messages/batches') ? 'batches' : null
}

/** The first rule that a request breaks; null when it breaks none. */
export function ruleBroken(
  req: IncomingMessage,
  endpoint: EndpointName,
  known: ReadonlySet<string> | null,
): ApiError | null {
  const methods = METHODS[endpoint]
  if (!methods.includes(req.method ?? '')) {
    return invalid(`Method ${req.method} not allowed; allowed: ${methods.join(', ')}`, 405)
  }
  const key = keyOf(req)
  if (key === '') return invalid('x-api-key header is required', 401)
  if (known !== null && !known.has(key)) return invalid('invalid x-api-key', 401)
  const problem = versionProblem(headerOf(req, 'anthropic-version'))
  if (problem !== null || req.method !== 'POST' || isCancel(req.url)) return problem
  return /^application\/json\b/i.test(headerOf(req, 'content-type') ?? '')
    ? null
    : invalid('content-type: expected application/json', 415)
}

/** The caller's key, from either header; empty without one. */
export function keyOf(req: IncomingMessage): string {
  const key = headerOf(req, 'x-api-key')
  if (key !== undefined) return key
  const { authorization = '' } = req.headers
  return /^bearer /i.test(authorization) ? authorization.slice(7).trim() : ''
}

export function headerOf(req: IncomingMessage, name: string): string | undefined {
  const value = req.headers[name]
  return typeof value === 'string' ? value : value?.[0]
}

const METHODS: Readonly<Record<EndpointName, readonly string[]>> = {
  messages: ['POST'],
  count_tokens: ['POST'],
  models: ['GET'],
  batches: ['GET', 'POST', 'DELETE'],
}

const isUnder = (path: string, root: string): boolean =>
  path === root || path.startsWith(`${root}/`)

/** Cancelling a batch takes no body. */
const isCancel = (url = ''): boolean => url.endsWith('/cancel')
