/** One answer in both forms that the API has: a message as the events of a stream, and a stream's events as the
 *  message. For upstreams that answer in the form that was not asked for: their answer is complete, was
 *  billed, and says the same. What is not known well enough to say it in the other form is not guessed at. */
import { field, isObject } from './json-fields.ts'

type Json = Record<string, unknown>

/** The events of a message, as the API would have streamed them; null when it is no message. */
export function eventsOf(message: unknown): Json[] | null {
  const content = field(message, 'content')
  if (!isObject(message) || !Array.isArray(content) || !content.every(isObject)) return null
  const { stop_reason = null, stop_sequence = null, stop_details, usage, ...rest } = message
  const counted = isObject(usage) ? usage : {}
  const begun = { ...rest, content: [], stop_reason: null, stop_sequence: null }
  const delta = {
    stop_reason,
    stop_sequence,
    ...(stop_details === undefined ? {} : { stop_details }),
  }
  return [
    { type: 'message_start', message: { ...begun, usage: { ...counted, output_tokens: 0 } } },
    ...content.flatMap(eventsOfBlock),
    { type: 'message_delta', delta, usage: { output_tokens: 0, ...counted } },
    { type: 'message_stop' },
  ]
}

function eventsOfBlock(block: Json, index: number): Json[] {
  const { start, deltas } = told(block)
  return [
    { type: 'content_block_start', index, content_block: start },
    ...deltas.map((delta) => ({ type: 'content_block_delta', index, delta })),
    { type: 'content_block_stop', index },
  ]
}

/** What a block begins with, and what its deltas add. Most kinds come whole. */
function told(block: Json): { start: Json; deltas: Json[] } {
  const { text, citations, input, thinking, signature } = block
  if (block['type'] === 'text' && typeof text === 'string') {
    const cited = Array.isArray(citations) ? citations : null
    return {
      start: { ...block, text: '', ...(cited === null ? {} : { citations: [] }) },
      deltas: [
        ...(text === '' ? [] : [{ type: 'text_delta', text }]),
        ...(cited ?? []).map((citation: unknown) => ({ type: 'citations_delta', citation })),
      ],
    }
  }
  if (block['type'] === 'thinking' && typeof thinking === 'string') {
    return {
      start: { ...block, thinking: '', signature: '' },
      deltas: [
        { type: 'thinking_delta', thinking },
        ...(typeof signature === 'string' ? [{ type: 'signature_delta', signature }] : []),
      ],
    }
  }
  if (isObject(input)) {
    const partial_json = JSON.stringify(input)
    return { start: { ...block, input: {} }, deltas: [{ type: 'input_json_delta', partial_json }] }
  }
  return { start: block, deltas: [] }
}

/** The message that a stream's events make. */
export class MessageBuilder {
  #message: Json | null = null
  readonly #blocks: Json[] = []
  /** The input of each block of a tool, in pieces of JSON. */
  readonly #inputs = new Map<number, string>()

  /** False: an event that cannot be made a part of a message. */
  take(event: unknown): boolean {
    if (!isObject(event)) return false
    switch (event['type']) {
      case 'message_start':
        return this.#start(event['message'])
      case 'content_block_start':
        return this.#block(event['index'], event['content_block'])
      case 'content_block_delta':
        return this.#delta(event['index'], event['delta'])
      case 'content_block_stop':
        return this.#blockEnds(event['index'])
      case 'message_delta':
        return this.#messageDelta(event)
      default:
        // What is not known adds nothing that is.
        return true
    }
  }

  /** Null: it never began. */
  message(): Json | null {
    return this.#message === null ? null : { ...this.#message, content: this.#blocks }
  }

  #start(message: unknown): boolean {
    if (!isObject(message) || this.#message !== null) return false
    this.#message = message
    return true
  }

  #block(index: unknown, block: unknown): boolean {
    if (index !== this.#blocks.length || !isObject(block)) return false
    this.#blocks.push({ ...block })
    return true
  }

  #delta(index: unknown, delta: unknown): boolean {
    const block = this.#blockAt(index)
    if (block === null || !isObject(delta)) return false
    switch (delta['type']) {
      case 'text_delta':
        return append(block, 'text', delta['text'])
      case 'thinking_delta':
        return append(block, 'thinking', delta['thinking'])
      case 'signature_delta':
        block['signature'] = delta['signature']
        return true
      case 'citations_delta': {
        const before = block['citations']
        block['citations'] = [...(Array.isArray(before) ? before : []), delta['citation']]
        return true
      }
      case 'input_json_delta': {
        const piece = delta['partial_json']
        if (typeof piece !== 'string') return false
        const at = this.#blocks.indexOf(block)
        this.#inputs.set(at, (this.#inputs.get(at) ?? '') + piece)
        return true
      }
      default:
        return false
    }
  }

  #blockEnds(index: unknown): boolean {
    const block = this.#blockAt(index)
    if (block === null) return false
    const input = this.#inputs.get(this.#blocks.indexOf(block))
    if (input === undefined || input === '') return true
    try {
      block['input'] = JSON.parse(input)
      return true
    } catch {
      return false
    }
  }

  #messageDelta(event: Json): boolean {
    const { delta, usage, type: _type, ...rest } = event
    if (this.#message === null || !isObject(delta)) return false
    const before = this.#message['usage']
    const counted = { ...(isObject(before) ? before : {}), ...(isObject(usage) ? usage : {}) }
    this.#message = { ...this.#message, ...rest, ...delta, usage: counted }
    return true
  }

  #blockAt(index: unknown): Json | null {
    return typeof index === 'number' ? (this.#blocks[index] ?? null) : null
  }
}

function append(block: Json, name: string, more: unknown): boolean {
  const before = block[name] ?? ''
  if (typeof before !== 'string' || typeof more !== 'string') return false
  block[name] = before + more
  return true
}
