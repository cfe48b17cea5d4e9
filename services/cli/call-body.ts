/** The body of a call, as a person gives it: JSON, `@FILE`, `-` for standard input, or only what to say. */
import { existsSync, readFileSync } from 'node:fs'
import { messageOf, Misuse, MODEL } from './terminal.ts'

export interface BodyFlags {
  model?: string
  maxTokens?: number
  message?: string
  stream?: true
}

export type CallBody = Record<string, unknown>

const MAX_TOKENS = 1_024

/** The body as given, with what the flags say instead. `verb`: who asks, as it is called. */
export function readCall(verb: string, body: string | undefined, flags: BodyFlags): CallBody {
  if ((body === undefined) === (flags.message === undefined))
    throw new Misuse(`${verb}: say either a body (JSON, @FILE or -) or --message TEXT`)
  const given =
    body === undefined ? { messages: [{ role: 'user', content: flags.message }] } : parse(body)
  return {
    ...given,
    model: flags.model ?? given['model'] ?? MODEL,
    max_tokens: flags.maxTokens ?? given['max_tokens'] ?? MAX_TOKENS,
    ...(flags.stream === true ? { stream: true } : {}),
  }
}

function parse(body: string): CallBody {
  let read: unknown
  try {
    read = JSON.parse(textOf(body))
  } catch (error) {
    const file = existsSync(body) ? `; of a file: @${body}` : ''
    throw new Misuse(`body: expected the JSON of a Messages call: ${messageOf(error)}${file}`)
  }
  if (typeof read === 'object' && read !== null && !Array.isArray(read)) return { ...read }
  throw new Misuse('body: expected a JSON object, the body of a Messages call')
}

function textOf(body: string): string {
  if (body === '-') return readFileSync(0, 'utf8')
  return body.startsWith('@') ? readFileSync(body.slice(1), 'utf8') : body
}
