/** An upstream whose every answer is the test's to give: a call waits until it is told to begin, and to end. Who
 *  calls is named in `metadata.user_id`. */
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { heard, type Heard } from './heard.ts'

export interface HeldCall {
  readonly name: string
  /** A stream: its first event. */
  begin(): void
  end(): void
}

export interface HeldUpstream {
  readonly url: string
  readonly calls: Heard<HeldCall>
  /** All that wait end, and whatever comes is answered at once. */
  release(): void
  /** Whatever comes from now on waits again. */
  hold(): void
  close(): Promise<void>
}

const MESSAGE = {
  ...{ id: 'msg_held', type: 'message', role: 'assistant', model: 'claude-held' },
  ...{ content: [{ type: 'text', text: 'held' }], stop_reason: 'end_turn', stop_sequence: null },
  usage: { input_tokens: 10, output_tokens: 1 },
}
const frame = (event: { type: string }): string =>
  `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`
const FIRST = frame({ type: 'message_start', ...{ message: { ...MESSAGE, content: [] } } })
const REST = [
  { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
  { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'held' } },
  { type: 'content_block_stop', index: 0 },
  { type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 1 } },
  { type: 'message_stop' },
]
  .map(frame)
  .join('')

export async function heldUpstream(): Promise<HeldUpstream> {
  const calls = heard<HeldCall>()
  let released = false
  const server = createServer((req, res) => {
    const parts: Buffer[] = []
    req.on('data', (part: Buffer) => parts.push(part))
    req.on('end', () => {
      const body = JSON.parse(Buffer.concat(parts).toString()) as {
        stream?: boolean
        metadata?: { user_id?: string }
      }
      const call = held(res, body.metadata?.user_id ?? '', body.stream === true)
      calls.add(call)
      if (released) call.end()
    })
  })
  server.keepAliveTimeout = 60_000
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    release() {
      released = true
      for (const call of calls.all) call.end()
    },
    hold: () => void (released = false),
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

function held(res: ServerResponse, name: string, stream: boolean): HeldCall {
  const begin = (): void => {
    if (!stream || res.headersSent) return
    res.writeHead(200, { 'content-type': 'text/event-stream', 'request-id': 'req_held' })
    res.write(FIRST)
  }
  return {
    name,
    begin,
    end() {
      if (res.writableEnded) return
      begin()
      if (stream) return void res.end(REST)
      res.writeHead(200, { 'content-type': 'application/json', 'request-id': 'req_held' })
      res.end(JSON.stringify(MESSAGE))
    },
  }
}
