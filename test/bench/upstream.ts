/** The cheapest possible upstream: the same canned answer for every POST, as JSON or as a stream of
 *  20 events in one write. */
import { createServer } from 'node:http'

const usage = { input_tokens: 200, output_tokens: 15 }
const message = {
  id: 'msg_bench',
  type: 'message',
  role: 'assistant',
  model: 'claude-bench',
  content: [{ type: 'text', text: 'x'.repeat(60) }],
  stop_reason: 'end_turn',
  stop_sequence: null,
  usage,
}
const whole = Buffer.from(JSON.stringify(message))
const frame = (data: { type: string }): string =>
  `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`
const events = [
  { type: 'message_start', message: { ...message, content: [], stop_reason: null } },
  { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
  ...Array.from({ length: 15 }, () => ({
    type: 'content_block_delta',
    index: 0,
    delta: { type: 'text_delta', text: 'word ' },
  })),
  { type: 'content_block_stop', index: 0 },
  { type: 'message_delta', delta: { stop_reason: 'end_turn', stop_sequence: null }, usage },
  { type: 'message_stop' },
]
const streamed = Buffer.from(events.map(frame).join(''))

const server = createServer((req, res) => {
  let body = ''
  req.setEncoding('latin1')
  req.on('data', (chunk: string) => (body += chunk))
  req.on('end', () => {
    const stream = body.includes('"stream":true')
    res.writeHead(200, {
      'content-type': stream ? 'text/event-stream; charset=utf-8' : 'application/json',
      'content-length': stream ? streamed.length : whole.length,
      'request-id': 'req_bench',
    })
    res.end(stream ? streamed : whole)
  })
})
server.keepAliveTimeout = 60_000
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no address')
  process.send?.({ type: 'ready', url: `http://127.0.0.1:${address.port}` })
})
process.on('disconnect', () => process.exit(0))
