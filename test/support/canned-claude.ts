/** What a Claude may answer, without a Claude: thinking with its signature, a tool to be used and then the
 *  answer, whole or as events, and the small endpoints. It writes down everything it was asked. */
import { scriptedUpstream, type ScriptedUpstream, type Turn } from './scripted-upstream.ts'

export interface CannedClaude {
  readonly url: string
  /** Every turn since the last look, oldest first. */
  heard(): Turn[]
  close: ScriptedUpstream['close']
}

/** As the API hands it out: a caller must give it back as it was. */
export const SIGNATURE = 'EqQBCkYIBRgCKkAxMjM0NTY3ODkwYWJjZGVmZ2hpamtsbW5vcA+/=='

/** What every answer says. */
export const TEXT = 'The gate opens by degrees ☂ "so", \\ and no further.'

/** `inputs`: what it gives a tool of that name to do. */
export async function cannedClaude(inputs: Record<string, object> = {}): Promise<CannedClaude> {
  const upstream = await scriptedUpstream()
  let turns: Turn[] = []
  upstream.always((turn) => {
    turns.push(turn)
    answer(turn, inputs)
  })
  return {
    url: upstream.url,
    heard() {
      const heard = turns
      turns = []
      return heard
    },
    close: () => upstream.close(),
  }
}

interface Asked {
  stream?: boolean
  thinking?: object
  tools?: { name: string }[]
  messages: { content: string | { type: string }[] }[]
}

type Block = Record<string, unknown> & { type: string }

function answer(turn: Turn, inputs: Record<string, object>): void {
  if (turn.method === 'GET') return json(turn, models(turn.path))
  if (turn.path.startsWith('/v1/messages/count_tokens')) return json(turn, { input_tokens: 2_095 })
  const asked = JSON.parse(turn.body.toString()) as Asked
  const content = contentFor(asked, inputs)
  const message = {
    id: 'msg_01canned',
    type: 'message',
    role: 'assistant',
    model: 'claude-haiku-4-5',
    content,
    stop_reason: content.some(({ type }) => type === 'tool_use') ? 'tool_use' : 'end_turn',
    stop_sequence: null,
    usage: { input_tokens: 25, output_tokens: 40 },
  }
  if (asked.stream !== true) return json(turn, message)
  turn.head({
    status: 200,
    headers: { 'content-type': 'text/event-stream', 'request-id': 'req_canned' },
  })
  for (const event of eventsOf(message))
    turn.chunk(`event: ${event['type']}\ndata: ${JSON.stringify(event)}\n\n`)
  turn.finish()
}

const json = (turn: Turn, body: object): void =>
  turn.reply({
    status: 200,
    headers: { 'content-type': 'application/json', 'request-id': 'req_canned' },
    body: JSON.stringify(body),
  })

/** A tool is used once; what it gave ends the conversation. */
function contentFor({ thinking, tools, messages }: Asked, inputs: Record<string, object>): Block[] {
  const last = messages.at(-1)?.content ?? ''
  const used = Array.isArray(last) && last.some(({ type }) => type === 'tool_result')
  const [tool] = tools ?? []
  return [
    ...(thinking === undefined ? [] : [THOUGHT]),
    ...(tool === undefined || used ? [SAID] : [SAID, useOf(tool, inputs)]),
  ]
}

const THOUGHT: Block = {
  type: 'thinking',
  thinking: 'Der Fluß — le débit — 水 …',
  signature: SIGNATURE,
}
const SAID: Block = { type: 'text', text: TEXT }
const useOf = ({ name }: { name: string }, inputs: Record<string, object>): Block => ({
  type: 'tool_use',
  id: 'toolu_01canned',
  name,
  input: inputs[name] ?? { place: 'Zürich' },
})

function* eventsOf(message: { content: Block[]; usage: object; stop_reason: string }) {
  const usage = { ...message.usage, output_tokens: 1 }
  yield {
    type: 'message_start',
    message: { ...message, content: [], stop_reason: null, usage },
  }
  for (const [index, block] of message.content.entries()) {
    const { empty, deltas } = inParts(block)
    yield { type: 'content_block_start', index, content_block: empty }
    for (const delta of deltas) yield { type: 'content_block_delta', index, delta }
    yield { type: 'content_block_stop', index }
  }
  const delta = { stop_reason: message.stop_reason, stop_sequence: null }
  yield { type: 'message_delta', delta, usage: message.usage }
  yield { type: 'message_stop' }
}

function inParts(block: Block): { empty: Block; deltas: object[] } {
  if (block.type === 'thinking')
    return {
      empty: { type: 'thinking', thinking: '', signature: '' },
      deltas: [
        ...halves(block['thinking']).map((thinking) => ({ type: 'thinking_delta', thinking })),
        { type: 'signature_delta', signature: block['signature'] },
      ],
    }
  if (block.type === 'tool_use')
    return {
      empty: { ...block, input: {} },
      deltas: halves(JSON.stringify(block['input'])).map((partial_json) => ({
        type: 'input_json_delta',
        partial_json,
      })),
    }
  return {
    empty: { type: 'text', text: '' },
    deltas: halves(block['text']).map((text) => ({ type: 'text_delta', text })),
  }
}

function halves(of: unknown): string[] {
  const text = String(of)
  const middle = Math.floor(text.length / 2)
  return [text.slice(0, middle), text.slice(middle)]
}

/** Two, a page each. */
function models(path: string): object {
  const { pathname, searchParams } = new URL(path, 'http://canned')
  const named = pathname.slice('/v1/models/'.length)
  if (named !== '') return model(named)
  const [data, has_more] =
    searchParams.get('after_id') === null
      ? [[model('claude-haiku-4-5')], true]
      : [[model('claude-sonnet-4-6')], false]
  return { data, has_more, first_id: data[0]?.id, last_id: data.at(-1)?.id }
}

const model = (id: string) => ({
  type: 'model',
  id,
  display_name: id,
  created_at: '2026-01-01T00:00:00Z',
})
