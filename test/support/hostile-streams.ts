/** Streams as upstreams, proxies or somebody hostile may make them, each made of its number alone, so that
 *  whoever reads one knows what must come of it: which events, in which order, and how it ends. */
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** How it ends: whole; the connection closed in the middle; a clean end without `message_stop`; an error event;
 *  or its caller leaves. */
export type Ending = 'whole' | 'cut' | 'no_stop' | 'error' | 'left'

export interface HostileStream {
  ending: Ending
  /** What the upstream writes, in the pieces it writes. */
  pieces: Buffer[]
  /** The data of the events that must arrive, as latin1: one character for each byte. */
  events: string[]
  /** Of `left`: after so many events. */
  leaveAfter: number
}

/** A name that stands in nearly every event of stream `n`. */
const mark = (n: number): string => `stream-${n}#`
/** Whose event it is; null: it does not say. */
export const ownerOf = (event: string): number | null => {
  const found = /stream-(\d+)#/.exec(event)
  return found === null ? null : Number(found[1])
}

export function hostileStream(n: number): HostileStream {
  const dice = diceOf(n)
  const ending = endingOf(dice)
  const frames: Frame[] = [start(n)]
  const count = 8 + Math.floor(dice() * 40)
  for (let i = 0; i < count; i++) frames.push(dice() < 0.3 ? nothing(dice) : something(n, i, dice))
  frames.push(...LAST[ending](n))
  const kept = frames.flatMap(({ arrives }) => (arrives === null ? [] : [arrives]))
  return {
    ending,
    pieces: cutUp(Buffer.from(frames.map(({ wire }) => wire).join('')), dice),
    events: kept.map((text) => Buffer.from(text).toString('latin1')),
    leaveAfter: 1 + Math.floor(dice() * 8),
  }
}

interface Frame {
  wire: string
  /** Null: nothing of it. */
  arrives: string | null
}

const framed = (name: string, data: string, arrives: string | null = data): Frame => {
  const lines = data.split('\n').map((line) => `data: ${line}\n`)
  return { wire: `${name === '' ? '' : `event: ${name}\n`}${lines.join('')}\n`, arrives }
}

const start = (n: number): Frame => {
  const usage = { input_tokens: 5, output_tokens: 1 }
  const message = { id: mark(n), type: 'message', role: 'assistant', content: [], usage }
  return framed('message_start', JSON.stringify({ type: 'message_start', message }))
}

/** What looks like the end of an answer, a header or a frame, inside of a text. */
const TEXTS = [
  'Headgate-Outcome: completed',
  'NATS/1.0 503\r\n\r\n',
  'event: message_stop\ndata: {"type":"message_stop"}\n\n',
  '{"type":"ping"}',
  'data: [DONE]',
  '\u0000',
  '\u2028 水 🌊 ñ',
  '',
]

function something(n: number, i: number, dice: () => number): Frame {
  const roll = dice()
  if (roll < 0.05) return framed('', '{}')
  if (roll < 0.1) return framed('message', `{"of":"${mark(n)}${i}",\n"lines":2}`)
  if (roll < 0.15) return framed('', `{"type":"novel","of":"${mark(n)}${i}"}`)
  const padding = dice() < 0.02 ? 'x'.repeat(Math.floor(dice() * 60_000)) : ''
  const text = `${mark(n)}${i} ${TEXTS[Math.floor(dice() * TEXTS.length)]}${padding}`
  const delta = { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } }
  return framed(dice() < 0.9 ? 'content_block_delta' : '', JSON.stringify(delta))
}

const NOTHINGS: readonly Frame[] = [
  { wire: ': a comment\n\n', arrives: null },
  { wire: 'data:\n\n', arrives: null },
  { wire: 'data:   \n\n', arrives: null },
  { wire: 'event: message_stop\ndata:\n\n', arrives: null },
  { wire: 'event: error\n\n', arrives: null },
  { wire: 'id: 7\nretry: 1\n\n', arrives: null },
  { wire: '\r\n\n\r', arrives: null },
  framed('', '[DONE]', null),
  framed('', 'null', null),
  framed('', '\u0000', null),
  framed('ping', '{"type":"ping"}', null),
  framed('content_block_delta', '{"type":"ping"} ', null),
]
const nothing = (dice: () => number): Frame =>
  NOTHINGS[Math.floor(dice() * NOTHINGS.length)] as Frame

const stop = (): Frame[] => [
  framed('message_delta', '{"type":"message_delta","delta":{},"usage":{"output_tokens":9}}'),
  framed('message_stop', '{"type":"message_stop"}'),
]
/** Behind an end nothing counts. */
const late = (n: number): Frame => framed('', `{"type":"late","of":"${mark(n)}"}`, null)
const error = (n: number): Frame => {
  const said = { type: 'error', error: { type: 'api_error', message: `broke ${mark(n)}` } }
  return framed('error', JSON.stringify(said), null)
}

const LAST: Record<Ending, (n: number) => Frame[]> = {
  whole: (n) => [...stop(), late(n)],
  left: (n) => [...stop(), late(n)],
  cut: () => [{ wire: 'event: message_stop\ndata: {"type":"message_st', arrives: null }],
  no_stop: () => [],
  error: (n) => [error(n), late(n), ...stop().map(({ wire }) => ({ wire, arrives: null }))],
}

/** Few enough to break: an upstream that breaks more is one that a breaker stops. */
function endingOf(dice: () => number): Ending {
  const roll = dice()
  if (roll < 0.02) return 'cut'
  if (roll < 0.04) return 'no_stop'
  if (roll < 0.06) return 'error'
  return roll < 0.12 ? 'left' : 'whole'
}

/** Anywhere, in the middle of a character too. */
function cutUp(bytes: Buffer, dice: () => number): Buffer[] {
  const pieces: Buffer[] = []
  for (let at = 0; at < bytes.length;) {
    const size = dice() < 0.3 ? 1 + Math.floor(dice() * 12) : 1 + Math.floor(dice() * 4_000)
    pieces.push(bytes.subarray(at, at + size))
    at += size
  }
  return pieces
}

/** Mulberry32. */
function diceOf(seed: number): () => number {
  let a = (seed + 1) * 0x9e3779b9
  return () => {
    a = (a + 0x6d2b79f5) | 0
    let t = Math.imul(a ^ (a >>> 15), 1 | a)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

// ---- the upstream that says them ----

export interface HostileUpstream {
  url: string
  /** The most that were open together. */
  openMax(): number
  close(): Promise<void>
}

/** A call names its stream in `metadata.user_id`. Nobody hears anything before so many have begun, so that
 *  they really run side by side. */
export async function hostileUpstream(of: { together: number }): Promise<HostileUpstream> {
  let open = 0
  let openMax = 0
  let waiting: (() => void)[] = []
  const all = (): Promise<void> =>
    new Promise((resolve) => {
      waiting.push(resolve)
      if (waiting.length < of.together) return
      for (const go of waiting) go()
      waiting = []
    })
  const server = createServer(async (request, response) => {
    openMax = Math.max(openMax, ++open)
    response.once('close', () => open--)
    const parts: Buffer[] = []
    for await (const part of request) parts.push(part as Buffer)
    const asked = JSON.parse(Buffer.concat(parts).toString()) as { metadata: { user_id: string } }
    await say(hostileStream(Number(asked.metadata.user_id)), response, all)
  })
  server.keepAliveTimeout = 0
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    openMax: () => openMax,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections()
        server.close(() => resolve())
      }),
  }
}

async function say(
  stream: HostileStream,
  response: ServerResponse,
  all: () => Promise<void>,
): Promise<void> {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  response.flushHeaders()
  await all()
  for (const piece of stream.pieces) {
    if (response.destroyed) return
    // One turn each, so that all that are open speak in turns.
    await new Promise((resolve) => response.write(piece, resolve))
  }
  if (stream.ending === 'cut') response.destroy()
  else response.end()
}
