/** The API's own pairs of HTTP status and `error.type`. */

const PAIRS = [
  [400, 'invalid_request_error'],
  [401, 'authentication_error'],
  [402, 'billing_error'],
  [403, 'permission_error'],
  [404, 'not_found_error'],
  [409, 'conflict_error'],
  [413, 'request_too_large'],
  [429, 'rate_limit_error'],
  [504, 'timeout_error'],
  [529, 'overloaded_error'],
] as const

/** 408 has the type of 504, whose status is the one to tell. */
const types = new Map<number, string>([...PAIRS, [408, 'timeout_error']])
const statuses = new Map<string, number>(PAIRS.map(([status, type]) => [type, status]))

/** The type of an error that names none. */
export const typeOfStatus = (status: number): string =>
  types.get(status) ?? (status >= 400 && status < 500 ? 'invalid_request_error' : 'api_error')

/** The status of an error that came without one of its own; a type that is not the API's is the upstream's. */
export const statusOfType = (type: string): number => statuses.get(type) ?? 502
