/** A drop-in for `client.messages.create` in one program: tries again what may pass (429, 529, a call that
 *  hangs) and nothing else. Needs no Headgate, no NATS. Source: docs/requirements.md R2-R7, R9, R10.
 *
 *  Bound: `retries` + 1 calls of at most `timeoutMs` + `BODY_GRACE_MS` each, and between them waits of at most
 *  `capMs`, or `RETRY_AFTER_MAX_MS` + `bufferMs` where the API asked for one. */
import type Anthropic from '@anthropic-ai/sdk'
import { checkOptionNames, type OptionNames } from '#contracts/known-names'
import type { Millis } from '#contracts/units'
import { systemClock, systemDice } from '#platform/system'

/** A longer retry-after is cut to this, and the warning line says so: values of days exist. */
export const RETRY_AFTER_MAX_MS: Millis = 300_000
/** The SDK's own timer ends when the head of the answer is there; ours covers the body too and lets the SDK's
 *  go first, so that its own error comes back. */
export const BODY_GRACE_MS: Millis = 250
export const RETRIES_MAX = 100
/** A Node timer fires at once past this. */
const TIMEOUT_MAX: Millis = 2_147_483_647

export interface SafeMessageOptions {
  /** Tries after the first, 0 to `RETRIES_MAX`. Default 5. */
  retries?: number
  /** The wait before retry n (from 0) is uniform in [0, min(`capMs`, `baseMs` x 2^n)). Default 1,000. */
  baseMs?: Millis
  /** Default 32,000. */
  capMs?: Millis
  /** Comes on top where the API said when to come back. Default 500. */
  bufferMs?: Millis
  /** Each call's own, 1 to 2,147,483,647, whole. A call that takes longer is aborted and tried again.
   *  Default 60,000. */
  timeoutMs?: Millis
  /** Ends a call, or a wait, at once. */
  signal?: AbortSignal
  /** A warning per retry, an error when tries run out; never a prompt, a key or the API's own text.
   *  Default: the console. */
  log?: { warn(line: string): void; error(line: string): void }
  /** `after` calls once, `ms` from now, and answers with its cancel; `random` is uniform in [0, 1). */
  system?: { after(ms: Millis, call: () => void): () => void; random(): number }
}

/** What is asked of the SDK's client; any version of it, and its kin for other clouds. */
export interface MessagesClient {
  messages: {
    create(
      params: Anthropic.MessageCreateParamsNonStreaming,
      options?: { maxRetries?: number; timeout?: number; signal?: AbortSignal },
    ): PromiseLike<Anthropic.Message>
  }
}

/** Makes one Messages call, not streamed, and resolves with its Message.
 *
 *  Rejects with the very error that the SDK threw: at once for whatever is neither 429, 529 nor a timeout
 *  (400, 401, 403, 500, a spend limit, a refused connection), else that of the last try. Two are made here, of
 *  the client's own classes, because the SDK throws none that fits: APIConnectionTimeoutError for an answer
 *  that stalls after its head, and APIUserAbortError for a `signal` that ends a wait.
 *
 *  A call that hung may have run, and may be billed again. Callers that were told the same retry-after come
 *  back together, as the API asked. */
export async function safeMessageCreate(
  client: MessagesClient,
  params: Anthropic.MessageCreateParamsNonStreaming,
  options: SafeMessageOptions = {},
): Promise<Anthropic.Message> {
  const settings = settle(options)
  const { retries, signal, log } = settings
  if (typeof client?.messages?.create !== 'function')
    throw new TypeError('safeMessageCreate: expected a client of @anthropic-ai/sdk first')
  if ((params as { stream?: unknown }).stream === true)
    throw new TypeError(
      'safeMessageCreate: `stream` must not be true: half a stream cannot be retried',
    )
  for (let attempt = 0; ; attempt++) {
    try {
      return await call(client, params, settings)
    } catch (error) {
      const kind = retryable(client, error)
      if (kind === null || signal?.aborted === true) throw error
      const failed = `Claude call failed with ${kind}, attempt ${attempt + 1} of ${retries + 1}`
      if (attempt >= retries) {
        log.error(`${failed}; no tries left`)
        throw error
      }
      const { waitMs, cut } = waitAfter(error, attempt, settings)
      log.warn(`${failed}; next in ${waitMs} ms${cut ? ' (retry-after was longer, and cut)' : ''}`)
      await wait(client, waitMs, settings)
    }
  }
}

type Settings = Required<Omit<SafeMessageOptions, 'signal'>> & { signal: AbortSignal | undefined }

const OPTIONS: OptionNames<SafeMessageOptions> = {
  retries: true,
  baseMs: true,
  capMs: true,
  bufferMs: true,
  timeoutMs: true,
  signal: true,
  log: true,
  system: true,
}

function settle(options: SafeMessageOptions): Settings {
  checkOptionNames({ where: 'safeMessageCreate', given: options, known: OPTIONS })
  const {
    retries = 5,
    baseMs = 1_000,
    capMs = 32_000,
    bufferMs = 500,
    timeoutMs = 60_000,
  } = options
  whole({ name: 'retries', value: retries, least: 0, most: RETRIES_MAX })
  whole({ name: 'timeoutMs', value: timeoutMs, least: 1, most: TIMEOUT_MAX })
  for (const [name, value] of Object.entries({ baseMs, capMs, bufferMs }))
    if (!(Number.isFinite(value) && value >= 0))
      throw new RangeError(`${name}: expected a number of at least 0, got ${value}`)
  const { signal, log = console } = options
  const { system = { after: systemClock.after, random: systemDice.next } } = options
  return { retries, baseMs, capMs, bufferMs, timeoutMs, signal, log, system }
}

function whole(of: { name: string; value: number; least: number; most: number }): void {
  const { name, value, least, most } = of
  if (!Number.isInteger(value) || value < least || value > most)
    throw new RangeError(`${name}: expected a whole number from ${least} to ${most}, got ${value}`)
}

/** One call, which ends: a `fetch` that ignores its signal cannot hold it up either. */
async function call(
  client: MessagesClient,
  params: Anthropic.MessageCreateParamsNonStreaming,
  { timeoutMs, signal, system }: Settings,
): Promise<Anthropic.Message> {
  const own = new AbortController()
  const hung = Promise.withResolvers<never>()
  const abort = (): void => own.abort(signal?.reason)
  if (signal?.aborted === true) abort()
  signal?.addEventListener('abort', abort)
  const disarm = system.after(timeoutMs + BODY_GRACE_MS, () => {
    hung.reject(errorOf(client, 'APIConnectionTimeoutError', 'Request timed out.'))
    own.abort()
  })
  try {
    const given = { maxRetries: 0, timeout: timeoutMs, signal: own.signal }
    return await Promise.race([client.messages.create(params, given), hung.promise])
  } finally {
    disarm()
    signal?.removeEventListener('abort', abort)
  }
}

function wait(client: MessagesClient, ms: Millis, { signal, system }: Settings): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      cancel()
      reject(errorOf(client, 'APIUserAbortError', 'Request was aborted.'))
    }
    const cancel = system.after(ms, () => {
      signal?.removeEventListener('abort', abort)
      resolve()
    })
    if (signal?.aborted === true) abort()
    signal?.addEventListener('abort', abort, { once: true })
  })
}

/** Full jitter, or what the API asked for if that is more. */
function waitAfter(
  error: unknown,
  attempt: number,
  { baseMs, capMs, bufferMs, system }: Settings,
): { waitMs: Millis; cut: boolean } {
  const own = system.random() * Math.min(capMs, baseMs * 2 ** Math.min(30, attempt))
  const asked = retryAfterMs(error)
  if (asked === null) return { waitMs: Math.round(own), cut: false }
  const waitMs = Math.round(Math.max(Math.min(asked, RETRY_AFTER_MAX_MS), own) + bufferMs)
  return { waitMs, cut: asked > RETRY_AFTER_MAX_MS }
}

/** Null: absent, or no number of seconds above 0. A date is none; an API under load is known to say 0. */
function retryAfterMs(error: unknown): Millis | null {
  const text = header(error, 'retry-after')?.trim() ?? ''
  const ms = /^\d+(\.\d+)?$/.test(text) ? Number(text) * 1_000 : 0
  return ms > 0 ? ms : null
}

// ---- what an error says, whichever copy of the SDK made it ----

const SPEND_LIMITS = ['enforced_spend_limit_reached', 'contract_spend_limit_reached']
/** The SDK's and the platform's names, for a client that does not carry its classes. An abort that is not the
 *  caller's own is a call cut off for its length. */
const TIMEOUT_NAMES = [
  'APIConnectionTimeoutError',
  'APIUserAbortError',
  'AbortError',
  'TimeoutError',
]
/** Where a timeout comes wrapped: the codes of Node and its fetch. */
const TIMEOUT_CODES = [
  'ETIMEDOUT',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
]
const CAUSES_MAX = 4

/** What failed, as a log line may say it; null: it cannot succeed, or is not for us to judge. */
function retryable(client: MessagesClient, error: unknown): '429' | '529' | 'timeout' | null {
  const status = field(error, 'status')
  if (typeof status === 'number') {
    if (status !== 429 && status !== 529) return null
    // Headgate's own door and the API say so where a further layer of retries would be wrong.
    if (header(error, 'x-should-retry') === 'false') return null
    if (SPEND_LIMITS.includes(String(errorCode(error)))) return null
    return `${status}`
  }
  return isTimeout(client, error) ? 'timeout' : null
}

/** `error.details.error_code` of the body, which older SDKs do not lift out of it. */
const errorCode = (error: unknown): unknown =>
  field(error, 'errorCode') ??
  field(field(field(field(error, 'error'), 'error'), 'details'), 'error_code')

function isTimeout(client: MessagesClient, error: unknown): boolean {
  for (const name of ['APIConnectionTimeoutError', 'APIUserAbortError'] as const) {
    const known = classOf(client, name)
    if (known !== null && error instanceof known) return true
  }
  if (TIMEOUT_NAMES.includes(String(field(error, 'name')))) return true
  let cause: unknown = error
  for (let depth = 0; depth < CAUSES_MAX; depth++, cause = field(cause, 'cause'))
    if (TIMEOUT_CODES.includes(String(field(cause, 'code')))) return true
  return false
}

/** Headers come as an object of the platform, from old SDKs as a plain record. */
function header(error: unknown, name: string): string | null {
  const headers = field(error, 'headers')
  const get = field(headers, 'get')
  const value = typeof get === 'function' ? get.call(headers, name) : field(headers, name)
  return typeof value === 'string' ? value : null
}

type ErrorClass = new (of: { message?: string }) => Error

/** The SDK hangs its error classes on the client's class. */
function classOf(
  client: MessagesClient,
  name: 'APIConnectionTimeoutError' | 'APIUserAbortError',
): ErrorClass | null {
  const found = field(client.constructor, name)
  return typeof found === 'function' ? (found as ErrorClass) : null
}

function errorOf(
  client: MessagesClient,
  name: 'APIConnectionTimeoutError' | 'APIUserAbortError',
  message: string,
): Error {
  const Known = classOf(client, name)
  return Known === null ? Object.assign(new Error(message), { name }) : new Known({ message })
}

const field = (of: unknown, name: string): unknown =>
  (typeof of === 'object' && of !== null) || typeof of === 'function'
    ? (of as unknown as Record<string, unknown>)[name]
    : undefined
