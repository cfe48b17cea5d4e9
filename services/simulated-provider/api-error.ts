/** Errors as the API words them. */

/** One error answer. */
export interface ApiError {
  status: number
  type: ErrorType
  message: string
  /** `error.details.error_code`, where the API gives one. */
  code?: string
  /** Extra headers, name and value in turn. */
  headers?: readonly string[]
}

export const ERROR_TYPES = [
  'invalid_request_error',
  'authentication_error',
  'billing_error',
  'permission_error',
  'not_found_error',
  'conflict_error',
  'request_too_large',
  'rate_limit_error',
  'api_error',
  'timeout_error',
  'overloaded_error',
] as const
export type ErrorType = (typeof ERROR_TYPES)[number]

const typeByStatus: Readonly<Record<number, ErrorType>> = {
  401: 'authentication_error',
  402: 'billing_error',
  403: 'permission_error',
  404: 'not_found_error',
  408: 'timeout_error',
  409: 'conflict_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  499: 'api_error',
  503: 'overloaded_error',
  504: 'timeout_error',
  529: 'overloaded_error',
}

/** The type that the API gives with a status. */
export const errorTypeOf = (status: number): ErrorType =>
  typeByStatus[status] ?? (status >= 500 ? 'api_error' : 'invalid_request_error')

export const invalid = (message: string, status = 400): ApiError => ({
  status,
  type: errorTypeOf(status),
  message,
})

/** The JSON body of an error, which is also the data of an `error` event. */
export function errorBody(error: Omit<ApiError, 'status'>, requestId: string): string {
  const { type, message, code } = error
  const details = code === undefined ? {} : { details: { error_code: code } }
  return JSON.stringify({
    type: 'error',
    error: { type, message, ...details },
    request_id: requestId,
  })
}

/** What an edge or a proxy says in the API's place: no JSON, no request id. */
export const edgePage = (status: number, title: string): string =>
  `<html>\r\n<head><title>${status} ${title}</title></head>\r\n<body>\r\n` +
  `<center><h1>${status} ${title}</h1></center>\r\n<hr><center>cloudflare</center>\r\n</body>\r\n</html>\r\n`
