/** A thousand streams at once through the door: each gets its own events, all of them, byte for byte. */
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Agent, request } from 'node:http'
import { expect, test } from 'vitest'
import { openDoor, params } from '../support/door.ts'

const STREAMS = 1_000
const DELTAS = 20

const YAML = `
llm_gateway: { max_inflight_global: ${STREAMS}, max_inflight_per_tenant: ${STREAMS} }
concurrency_limit: { initial: ${STREAMS}, ceiling: ${STREAMS} }
scheduling: { base: ${STREAMS} }
lanes: { interactive: { cap: ${STREAMS} } }
`

/** What the upstream says to the caller who asked with this word. */
function framesOf(word: string): string[] {
  const event = (data: { type: string }): string =>
    `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`
  return [
    event({ type: 'message_start', message: { id: `msg_${word}` } } as never),
    ...Array.from({ length: DELTAS }, (_, i) =>
      event({
        type: 'content_block_delta',
        index: 0,
        delta: { text: `${word} ${i} é😀` },
      } as never),
    ),
    event({ type: 'message_delta', usage: { output_tokens: DELTAS } } as never),
    event({ type: 'message_stop' }),
  ]
}

/** Says nothing but the first event until as many wait as shall be at once; then all speak, a frame a turn. */
async function gatheringUpstream(): Promise<{
  url: string
  most(): number
  close(): Promise<void>
}> {
  const waiting: { word: string; to: ServerResponse }[] = []
  const speak = async (): Promise<void> => {
    for (let frame = 1; frame < DELTAS + 3; frame++) {
      for (const { word, to } of waiting) to.write(framesOf(word)[frame])
      await new Promise(setImmediate)
    }
    for (const { to } of waiting) to.end()
  }
  const server = createServer((incoming, to) => {
    let text = ''
    incoming.setEncoding('utf8').on('data', (more: string) => (text += more))
    incoming.on('end', () => {
      const { messages } = JSON.parse(text) as { messages: { content: string }[] }
      const word = messages[0]?.content ?? ''
      to.writeHead(200, { 'content-type': 'text/event-stream' })
      to.write(framesOf(word)[0])
      waiting.push({ word, to })
      if (waiting.length === STREAMS) void speak()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    most: () => waiting.length,
    close: () =>
      new Promise((resolve) => (server.close(() => resolve()), server.closeAllConnections())),
  }
}

function streamOf(
  url: string,
  word: string,
  agent: Agent,
): Promise<{ text: string; trailers: Record<string, string | undefined> }> {
  return new Promise((resolve, reject) => {
    const body = JSON.stringify(
      params({ stream: true, messages: [{ role: 'user', content: word }] }),
    )
    const call = request(
      `${url}/v1/messages`,
      { method: 'POST', agent, headers: { 'content-type': 'application/json' } },
      (answer) => {
        let text = ''
        answer.setEncoding('utf8').on('data', (more: string) => (text += more))
        answer.on('end', () => resolve({ text, trailers: answer.trailers }))
        answer.on('error', reject)
      },
    )
    call.on('error', reject)
    call.end(body)
  })
}

/** A slow machine takes so long to gather them all that the first are kept awake by a ping. */
const withoutPings = (text = ''): string => text.replaceAll(/event: ping\ndata: .*\n\n/g, '')

test(`${STREAMS} streams at once, none loses or mixes an event, and every slot comes back`, async () => {
  const upstream = await gatheringUpstream()
  const door = await openDoor({ yaml: YAML, upstreamUrl: upstream.url })
  const agent = new Agent({ keepAlive: true, maxSockets: STREAMS })
  const words = Array.from({ length: STREAMS }, (_, i) => `word-${i}`)
  const answers = await Promise.all(words.map((word) => streamOf(door.url, word, agent)))
  expect(upstream.most()).toBe(STREAMS)
  const wrong = words.filter(
    (word, i) => withoutPings(answers[i]?.text) !== framesOf(word).join(''),
  )
  expect(wrong).toEqual([])
  const outcomes = new Set(
    answers.map(({ trailers }) => `${trailers['headgate-outcome']} ${trailers['headgate-events']}`),
  )
  expect([...outcomes]).toEqual([`completed ${DELTAS + 3}`])
  agent.destroy()
  await door.rest()
  await door.close()
  await upstream.close()
}, 180_000)
