/** Streams that break upstream after their first event, and what their callers see of it. */
import { afterEach, expect, test } from 'vitest'
import { openDoor, params, type Door } from '../support/door.ts'
import { post, rawCall } from '../support/raw-http.ts'
import { scriptedUpstream, type ScriptedUpstream } from '../support/scripted-upstream.ts'

let door: Door
let upstream: ScriptedUpstream
afterEach(async () => {
  await door.close()
  await upstream.close()
})

const frame = (data: { type: string; [key: string]: unknown }): string =>
  `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`
const FIRST = frame({ type: 'message_start', message: { content: [] } })
const CLAUDE_CODE = { 'user-agent': 'claude-cli/2.1.332 (external, cli)' }

/** What a caller reads of a stream of which the upstream says this after its first event, or nothing; and whether
 *  it has an end. */
async function read(said: string | null, of: { headers?: object; protocol?: string } = {}) {
  upstream = await scriptedUpstream()
  door = await openDoor({ upstreamUrl: upstream.url })
  upstream.always((turn) => {
    turn.head({ status: 200, headers: { 'content-type': 'text/event-stream' } })
    turn.chunk(FIRST + (said ?? ''))
    if (said === null) turn.end()
    else turn.finish()
  })
  const asked = post('/v1/messages', JSON.stringify(params({ stream: true })), {
    connection: 'close',
    ...of.headers,
  }).replace('HTTP/1.1', of.protocol ?? 'HTTP/1.1')
  const text = await rawCall(door.url, asked).closed
  await door.rest()
  expect(text).toContain(FIRST)
  const error: unknown = JSON.parse(/^event: error\ndata: (.+)$/m.exec(text)?.[1] ?? 'null')
  return { error, ended: text.includes('\r\n0\r\n') }
}

const BROKEN = {
  type: 'error',
  error: { type: 'api_error', message: 'the stream broke (reset)' },
  headgate: { code: 'stream_broken', retryable: false },
}

test('one that breaks off is told in an error event of the API', async () => {
  expect(await read(null)).toMatchObject({ ended: true, error: BROKEN })
})

test.each(['overloaded_error', 'api_error', 'rate_limit_error'])(
  "an upstream's own error event goes on in its words: %s",
  async (type) => {
    const error = { type, message: 'what the upstream says' }
    const headgate = { code: 'stream_broken' }
    expect(await read(frame({ type: 'error', error }))).toMatchObject({
      ended: true,
      error: { type: 'error', error, headgate },
    })
  },
)

test('one that breaks off breaks off for Claude Code too, which asks for the stream again then', async () => {
  expect(await read(null, { headers: CLAUDE_CODE })).toEqual({ ended: false, error: null })
})

test('but what an overloaded upstream says, Claude Code hears', async () => {
  const error = { type: 'overloaded_error', message: 'Overloaded' }
  const said = await read(frame({ type: 'error', error }), { headers: CLAUDE_CODE })
  expect(said).toMatchObject({ ended: true, error: { error } })
})

test('where an answer has no other end than that of its connection, it is told in any case', async () => {
  const { error } = await read(null, { headers: CLAUDE_CODE, protocol: 'HTTP/1.0' })
  expect(error).toMatchObject(BROKEN)
})
