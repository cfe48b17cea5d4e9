/** Reads a Messages body the way the API does: an order to serve, or the error it would answer. */
import type { Millis, Tokens } from '#contracts/units'
import { invalid, type ApiError } from './api-error.ts'
import { isServed, modelClass, refusesPrefill } from './models.ts'

/** What of a Messages call decides its answer. */
export interface Order {
  model: string
  /** The quota that the call draws from. */
  quotaClass: string
  stream: boolean
  maxTokens: Tokens
  /** Input tokens as estimated at admission, before the prompt is really counted. */
  estimatedInput: Tokens
  /** Input tokens as counted, caches excluded. */
  input: Tokens
  cacheRead: Tokens
  /** Written into a cache, altogether; of them, those that live for an hour. */
  cacheWrite: Tokens
  cacheWrite1h: Tokens
  /** The body's `metadata.user_id`. */
  user: string | null
  thinking: boolean
  fast: boolean
  /** The tool that the caller forces; null when it forces none. */
  tool: string | null
  /** What `metadata.simulated_*` asks of the answer; NaN where it asks nothing. */
  steer: { outputTokens: Tokens; serviceMs: Millis; thinkingMs: Millis }
}

type Json = Readonly<Record<string, unknown>>

/** Versions known to the API, oldest first; the last one refuses sampling parameters. */
const VERSIONS = ['2023-01-01', '2023-06-01', '2026-10-21']
const NO_SAMPLING = '2026-10-21'

export const isOrder = (read: Order | ApiError): read is Order => 'maxTokens' in read

/** Checks a header of the API itself; null when it is fine. */
export function versionProblem(version: string | undefined): ApiError | null {
  if (version === undefined || version === '') {
    return invalid('anthropic-version: header is required')
  }
  return VERSIONS.includes(version)
    ? null
    : invalid(`anthropic-version: "${version.slice(0, 40)}" is not a valid version`)
}

/** Reads the body of `POST /v1/messages`. */
export function readOrder(bytes: Buffer, version: string): Order | ApiError {
  const body = parseBody(bytes)
  return body === null ? NOT_AN_OBJECT : readParams(body, version, bytes.length)
}

/** Reads the params of one call, as a body or as an item of a batch. */
export function readParams(body: Json, version: string, bytes: number): Order | ApiError {
  const { model, max_tokens: maxTokens, messages } = body
  const named = modelProblem(model) ?? messagesProblem(messages)
  if (named !== null) return named
  if (maxTokens === undefined) return invalid('max_tokens: Field required')
  if (!Number.isInteger(maxTokens) || (maxTokens as number) < 1) {
    return invalid('max_tokens: Input should be a valid integer greater than or equal to 1')
  }
  if (body.stream !== undefined && typeof body.stream !== 'boolean') {
    return invalid('stream: Input should be a valid boolean')
  }
  const refused = refusal(body, String(model), messages as Json[], version)
  if (refused !== null) return refused
  const metadata = isJson(body.metadata) ? body.metadata : {}
  const quotaClass = modelClass(String(model))
  const fast = body.speed === 'fast'
  const counted = numberOr(metadata.simulated_input_tokens, countInput(body))
  const cacheRead = Math.min(counted, numberOr(metadata.simulated_cache_read_tokens, 0))
  const asked = numberOr(metadata.simulated_cache_write_tokens, 0)
  const cacheWrite = Math.min(counted - cacheRead, asked)
  const hour = numberOr(metadata.simulated_cache_write_1h_tokens, 0)
  return {
    model: String(model),
    quotaClass: fast ? `fast:${quotaClass}` : quotaClass,
    stream: body.stream === true,
    maxTokens: maxTokens as number,
    estimatedInput: Math.max(1, Math.ceil(numberOr(metadata.simulated_input_tokens, bytes / 4))),
    input: counted - cacheRead - cacheWrite,
    ...{ cacheRead, cacheWrite, cacheWrite1h: Math.min(cacheWrite, hour) },
    user: typeof metadata.user_id === 'string' ? metadata.user_id : null,
    thinking: isJson(body.thinking) && body.thinking.type !== 'disabled',
    fast,
    tool: forcedTool(body),
    steer: {
      outputTokens: numberOr(metadata.simulated_output_tokens, NaN),
      serviceMs: numberOr(metadata.simulated_service_ms, NaN),
      thinkingMs: numberOr(metadata.simulated_thinking_ms, NaN),
    },
  }
}

/** Reads the body of `POST /v1/messages/count_tokens`. */
export function readCount(
  bytes: Buffer,
): { model: string; quotaClass: string; input: Tokens } | ApiError {
  const body = parseBody(bytes)
  if (body === null) return NOT_AN_OBJECT
  const { model, messages } = body
  const problem = modelProblem(model) ?? messagesProblem(messages)
  if (problem !== null) return problem
  const quotaClass = `count_tokens:${modelClass(String(model))}`
  return { model: String(model), quotaClass, input: countInput(body) }
}

/** The body as an object; null when it is none. */
export function parseBody(bytes: Buffer): Json | null {
  try {
    const body: unknown = JSON.parse(bytes.toString('utf8'))
    return isJson(body) ? body : null
  } catch {
    return null
  }
}

const NOT_AN_OBJECT = invalid('The request body is not a valid JSON object')

function modelProblem(model: unknown): ApiError | null {
  if (model === undefined) return invalid('model: Field required')
  if (typeof model !== 'string') return invalid('model: Input should be a valid string')
  return isServed(model) ? null : invalid(`model: ${model.slice(0, 128)}`, 404)
}

function messagesProblem(messages: unknown): ApiError | null {
  if (messages === undefined) return invalid('messages: Field required')
  if (!Array.isArray(messages)) return invalid('messages: Input should be a valid array')
  if (messages.length === 0) return invalid('messages: at least one message is required')
  const wrong = messages.findIndex((message: unknown) => !isMessage(message))
  return wrong < 0
    ? null
    : invalid(`messages.${wrong}: expected a role of user or assistant, and a content`)
}

const isMessage = (message: unknown): boolean =>
  isJson(message) &&
  (message.role === 'user' || message.role === 'assistant' || message.role === 'system') &&
  (typeof message.content === 'string' || Array.isArray(message.content))

/** What a valid body is still refused for. */
function refusal(body: Json, model: string, messages: Json[], version: string): ApiError | null {
  if (version >= NO_SAMPLING) {
    const named = ['temperature', 'top_p', 'top_k'].find((name) => body[name] !== undefined)
    if (named !== undefined) {
      return invalid(`${named}: not supported with anthropic-version ${NO_SAMPLING} and later`)
    }
    if (messages.some(holdsDocument)) {
      return invalid('messages: document blocks are not allowed in assistant messages')
    }
  }
  if (messages.at(-1)?.role === 'assistant' && refusesPrefill(model)) {
    return invalid('messages: this model does not support assistant message prefill')
  }
  return null
}

const holdsDocument = (message: Json): boolean =>
  message.role === 'assistant' &&
  Array.isArray(message.content) &&
  message.content.some((block: unknown) => isJson(block) && block.type === 'document')

function forcedTool(body: Json): string | null {
  const choice = body.tool_choice
  if (!isJson(choice) || !Array.isArray(body.tools)) return null
  if (choice.type === 'tool' && typeof choice.name === 'string') return choice.name
  const first: unknown = body.tools[0]
  return choice.type === 'any' && isJson(first) && typeof first.name === 'string'
    ? first.name
    : null
}

/** About 3.5 characters per token; an image or a document costs what a page does. */
function countInput(body: Json): Tokens {
  const characters = textLength(body.system) + textLength(body.messages) + textLength(body.tools)
  return Math.ceil(characters / CHARACTERS_PER_TOKEN) + 8
}

const CHARACTERS_PER_TOKEN = 3.5
const PAGE_CHARACTERS = 5_250

/** Deeper than any real prompt; below it a hostile nesting would exhaust the stack. */
const DEPTH_MAX = 64

function textLength(part: unknown, depth = 0): number {
  if (typeof part === 'string') return part.length
  if (typeof part !== 'object' || part === null || depth > DEPTH_MAX) return 0
  let sum = 0
  if (Array.isArray(part)) {
    for (const item of part) sum += textLength(item, depth + 1)
    return sum
  }
  const block = part as Json
  if (block.type === 'image' || block.type === 'document') return PAGE_CHARACTERS
  for (const name in block) {
    if (name !== 'type' && name !== 'role') sum += textLength(block[name], depth + 1)
  }
  return sum
}

export const isJson = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const numberOr = (value: unknown, otherwise: number): number =>
  typeof value === 'number' && value >= 0 ? value : otherwise
