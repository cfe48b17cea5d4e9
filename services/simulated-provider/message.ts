/** What the model answers, as one JSON body or as a stream of events. Written by hand rather than with
 *  JSON.stringify: every value in it is known to need no escaping but a tool's name. */
import type { Tokens } from '#contracts/units'
import type { Cue, Script } from './answer.ts'
import type { Order } from './order.ts'
import { prose } from './prose.ts'
import type { Service } from './service.ts'

interface Telling {
  order: Order
  service: Service
  messageId: string
}

/** A stream has at most so many deltas, however long the answer. */
const DELTAS_MAX = 200
const TOKENS_PER_DELTA = 4

/** The body of an answer that is not streamed. */
export function messageBody({ order, service, messageId }: Telling): string {
  const { tokens } = service
  const thinking = order.thinking
    ? `{"type":"thinking","thinking":"","signature":"${SIGNATURE}"},`
    : ''
  const content =
    order.tool === null ? textBlock(prose(0, tokens)) : toolBlock(order.tool, messageId)
  return message({
    order,
    messageId,
    tokens,
    content: thinking + content,
    stop: stopReason(order, service),
  })
}

/** The events of a streamed answer, each at its time. */
export function* messageStream(telling: Telling & { pingEveryMs: number }): Script {
  const { order, service, messageId, pingEveryMs } = telling
  const { ttftMs, thinkingMs, tokens } = service
  const start = message({ order, messageId, tokens: 1, content: '', stop: 'null' })
  yield cue(ttftMs, 'message_start', `"message":${start}`)
  let index = 0
  if (order.thinking) {
    yield cue(
      ttftMs,
      'content_block_start',
      `"index":0,"content_block":{"type":"thinking","thinking":"","signature":""}`,
    )
  }
  yield cue(ttftMs, 'ping')
  for (let silent = pingEveryMs; silent < thinkingMs; silent += pingEveryMs) {
    yield cue(ttftMs + silent, 'ping')
  }
  const writingAt = ttftMs + thinkingMs
  if (order.thinking) {
    yield cue(
      writingAt,
      'content_block_delta',
      `"index":0,"delta":{"type":"signature_delta","signature":"${SIGNATURE}"}`,
    )
    yield cue(writingAt, 'content_block_stop', '"index":0')
    index = 1
  }
  yield cue(
    writingAt,
    'content_block_start',
    `"index":${index},"content_block":${order.tool === null ? textBlock('') : toolBlock(order.tool, messageId)}`,
  )
  const step = Math.max(TOKENS_PER_DELTA, Math.ceil(tokens / DELTAS_MAX))
  for (let from = 0; from < tokens; from += step) {
    const to = Math.min(tokens, from + step)
    const delta =
      order.tool === null
        ? `{"type":"text_delta","text":"${prose(from, to)}"}`
        : `{"type":"input_json_delta","partial_json":"${from === 0 ? '{\\"text\\": \\"' : ''}${prose(from, to)}${to === tokens ? '\\"}' : ''}"}`
    yield {
      ...cue(
        writingAt + to * service.perTokenMs,
        'content_block_delta',
        `"index":${index},"delta":${delta}`,
      ),
      delta: true,
    }
  }
  const endAt = service.totalMs
  yield cue(endAt, 'content_block_stop', `"index":${index}`)
  yield cue(
    endAt,
    'message_delta',
    `"delta":{"stop_reason":${stopReason(order, service)},"stop_sequence":null},"usage":${usage(order, tokens)}`,
  )
  yield cue(endAt, 'message_stop')
  return 'end'
}

/** One frame of a stream, as the API writes it. */
export const frame = (type: string, data: string): string => `event: ${type}\ndata: ${data}\n\n`

const SIGNATURE = 'c2ltdWxhdGVk'

function cue(at: number, type: string, rest = ''): Cue {
  const data = rest === '' ? `{"type":"${type}"}` : `{"type":"${type}",${rest}}`
  return { at, text: frame(type, data), delta: false }
}

const textBlock = (text: string): string => `{"type":"text","text":"${text}"}`
const toolBlock = (name: string, messageId: string): string =>
  `{"type":"tool_use","id":"${messageId.replace('msg_', 'toolu_')}","name":${JSON.stringify(name)},"input":{}}`

const stopReason = (order: Order, service: Service): string =>
  service.cut ? '"max_tokens"' : order.tool === null ? '"end_turn"' : '"tool_use"'

function message(p: {
  order: Order
  messageId: string
  tokens: Tokens
  content: string
  stop: string
}): string {
  const { order } = p
  return (
    `{"id":"${p.messageId}","type":"message","role":"assistant","model":"${order.model}",` +
    `"content":[${p.content}],"stop_reason":${p.stop},"stop_sequence":null,` +
    `"usage":${usage(order, p.tokens)}}`
  )
}

const usage = (order: Order, output: Tokens): string =>
  `{"input_tokens":${order.input},"cache_creation_input_tokens":${order.cacheWrite},` +
  `"cache_creation":{"ephemeral_5m_input_tokens":${order.cacheWrite - order.cacheWrite1h},` +
  `"ephemeral_1h_input_tokens":${order.cacheWrite1h}},` +
  `"cache_read_input_tokens":${order.cacheRead},"output_tokens":${output},"service_tier":"standard"}`
