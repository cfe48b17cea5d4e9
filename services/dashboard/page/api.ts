/** What the page asks of its server, and how it acts. The token lives in this tab's sessionStorage only. */
export class ApiError extends Error {
  readonly status: number
  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

export async function get<T>(
  path: string,
  query: Readonly<Record<string, string | number | undefined>> = {},
): Promise<T> {
  const asked = new URLSearchParams()
  for (const [name, value] of Object.entries(query))
    if (value !== undefined && value !== '') asked.set(name, String(value))
  const tail = asked.size === 0 ? '' : `?${asked}`
  return answer<T>(await reached(`${path}${tail}`, { cache: 'no-store' }))
}

export async function act<T>(op: string, body: object, token: string): Promise<T> {
  return answer<T>(
    await reached(`/api/admin/${encodeURIComponent(op)}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    }),
  )
}

async function reached(path: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(path, init)
  } catch {
    throw new ApiError(0, 'the scheduler cannot be reached')
  }
}

async function answer<T>(response: Response): Promise<T> {
  const body: unknown = await response.json().catch(() => null)
  if (response.ok) return body as T
  const said = (body as { error?: { message?: unknown } } | null)?.error?.message
  throw new ApiError(response.status, typeof said === 'string' ? said : `HTTP ${response.status}`)
}

export const messageOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error)

const TOKEN = 'headgate.token'

export function storedToken(): string {
  try {
    return sessionStorage.getItem(TOKEN) ?? ''
  } catch {
    return ''
  }
}

/** An empty one forgets it. */
export function storeToken(token: string): void {
  try {
    if (token === '') sessionStorage.removeItem(TOKEN)
    else sessionStorage.setItem(TOKEN, token)
  } catch {
    // It is asked for again.
  }
}
