import { expect, test } from 'vitest'
import fc from 'fast-check'
import { eventsOf, MessageBuilder } from '../../../services/scheduler/provider/whole-and-stream.ts'

const usage = { input_tokens: 3, output_tokens: 5 }
const message = (content: unknown[], more: object = {}) => ({
  id: 'msg_1',
  type: 'message',
  role: 'assistant',
  model: 'm',
  content,
  stop_reason: 'end_turn',
  stop_sequence: null,
  usage,
  ...more,
})

function rebuilt(whole: unknown): unknown {
  const builder = new MessageBuilder()
  for (const event of eventsOf(whole) ?? []) if (!builder.take(event)) return null
  return builder.message()
}

test('a message told as a stream makes the same message', () => {
  const block = fc.oneof(
    fc.record({ type: fc.constant('text'), text: fc.string() }),
    fc.record({
      type: fc.constant('text'),
      text: fc.string(),
      citations: fc.array(fc.dictionary(fc.string(), fc.jsonValue())),
    }),
    fc.record({
      type: fc.constantFrom('tool_use', 'server_tool_use', 'mcp_tool_use'),
      id: fc.string(),
      name: fc.string(),
      input: fc.dictionary(fc.string(), fc.jsonValue()),
    }),
    fc.record({ type: fc.constant('thinking'), thinking: fc.string(), signature: fc.string() }),
    fc.record({ type: fc.constant('redacted_thinking'), data: fc.string() }),
    fc.record({ type: fc.constant('a_kind_of_tomorrow'), data: fc.jsonValue() }),
  )
  fc.assert(
    fc.property(fc.array(block, { maxLength: 5 }), fc.boolean(), (content, details) => {
      const clean: unknown = JSON.parse(
        JSON.stringify(message(content, details ? { stop_details: { a: 1 }, container: {} } : {})),
      )
      expect(rebuilt(clean)).toEqual(clean)
    }),
  )
})

test('the events are those of the API, in its order', () => {
  const events = eventsOf(message([{ type: 'text', text: 'hi' }]))
  expect(events?.map(({ type }) => type)).toEqual([
    'message_start',
    'content_block_start',
    'content_block_delta',
    'content_block_stop',
    'message_delta',
    'message_stop',
  ])
  expect(events?.[0]).toMatchObject({ message: { content: [], stop_reason: null } })
  expect(events?.[4]).toEqual({
    type: 'message_delta',
    delta: { stop_reason: 'end_turn', stop_sequence: null },
    usage,
  })
})

test.each([null, 7, [], {}, { content: 'x' }, { content: [1] }])('%j is no message', (value) => {
  expect(eventsOf(value)).toBeNull()
})

test('what is not known well enough makes no message', () => {
  const start = { type: 'message_start', message: message([]) }
  const block = { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } }
  const delta = (of: object, index = 0) => ({ type: 'content_block_delta', index, delta: of })
  for (const bad of [
    delta({ type: 'tide_delta', tide: 1 }),
    delta({ type: 'text_delta', text: 7 }),
    delta({ type: 'text_delta', text: 'x' }, 1),
    { type: 'content_block_start', index: 5, content_block: {} },
    start,
    undefined,
  ]) {
    const builder = new MessageBuilder()
    expect([start, block].every((event) => builder.take(event))).toBe(true)
    expect(builder.take(bad)).toBe(false)
  }
})
