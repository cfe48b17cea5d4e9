/** Reads a recording: NDJSON, a hello, then its frames; each bare or as `{"hello": …}` and `{"frame": …}`. Or what
 *  `headgate record` wrote: a header, then requests.
 *  Bound: `FRAMES_MAX` frames, `BYTES_MAX` bytes. */
import type { Chart, Frame, Hello } from '#contracts/dashboard'
import type { RecordedRequest, RecordingHeader } from '#contracts/recording'
import { framesOf, requestHeader, requestOf, tooMany } from './request-recording.ts'

export interface Recording {
  name: string
  hello: Hello
  frames: readonly Frame[]
}

const FRAMES_MAX = 100_000
const BYTES_MAX = 512_000_000

export async function readRecording(
  name: string,
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  onBytes: (bytes: number) => void,
  /** Of the scheduler that is live, for a file that has none. */
  charts: readonly Chart[] = [],
): Promise<Recording> {
  let hello: Hello | null = null
  let header: RecordingHeader | null = null
  const requests: RecordedRequest[] = []
  const frames: Frame[] = []
  let number = 0
  for await (const line of linesOf(stream, onBytes)) {
    number++
    if (line.trim() === '') continue
    const value = parsed(line, number)
    if (header !== null) {
      const request = requestOf(value)
      if (request === null) throw new Error(`line ${number} is no recorded request`)
      if (tooMany(requests)) throw new Error(`it has more than ${requests.length} requests`)
      requests.push(request)
      continue
    }
    if (hello === null && frames.length === 0) header = requestHeader(value)
    if (header !== null) continue
    const greeting = helloOf(value)
    if (greeting !== null) {
      hello ??= greeting
      continue
    }
    const frame = frameOf(value)
    if (frame === null) throw new Error(`line ${number} is neither a hello nor a frame`)
    if (frames.length >= FRAMES_MAX) throw new Error(`it has more than ${FRAMES_MAX} frames`)
    frames.push(frame)
  }
  if (header !== null) {
    if (requests.length === 0) throw new Error('it holds no request')
    return { name, ...framesOf(requests, header, charts) }
  }
  if (hello === null)
    throw new Error('it has no hello: no recording of the dashboard, nor of headgate record')
  if (frames.length === 0) throw new Error('it has no frame')
  frames.sort((a, b) => a.at - b.at)
  return { name, hello, frames }
}

function parsed(line: string, number: number): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    throw new Error(`line ${number} is no JSON`)
  }
  if (typeof value !== 'object' || value === null) throw new Error(`line ${number} is no object`)
  return value as Record<string, unknown>
}

function helloOf(value: Record<string, unknown>): Hello | null {
  const inner = (value['hello'] ?? value) as Record<string, unknown>
  return Array.isArray(inner['charts']) && Array.isArray(inner['lanes'])
    ? (inner as unknown as Hello)
    : null
}

/** What the page cannot do without. */
const NEEDED = [
  'routes',
  'lanes',
  'guardrails',
  'transitions',
  'preemptions',
  'breaches',
  'alarms',
  'tenants',
  'faults',
]

function frameOf(value: Record<string, unknown>): Frame | null {
  const inner = (value['frame'] ?? value) as Record<string, unknown>
  const whole =
    typeof inner['at'] === 'number' &&
    NEEDED.every((name) => Array.isArray(inner[name])) &&
    ['global', 'bus', 'lifecycle', 'rates', 'concentration_429'].every(
      (name) => typeof inner[name] === 'object' && inner[name] !== null,
    )
  return whole ? (inner as unknown as Frame) : null
}

async function* linesOf(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  onBytes: (bytes: number) => void,
): AsyncGenerator<string> {
  const reader = stream.getReader()
  const decoder = new TextDecoder()
  let rest = ''
  let bytes = 0
  for (;;) {
    const { value, done } = await reader.read()
    if (done) break
    bytes += value.byteLength
    if (bytes > BYTES_MAX) throw new Error(`it is larger than ${BYTES_MAX / 1_000_000} MB`)
    onBytes(bytes)
    const lines = (rest + decoder.decode(value, { stream: true })).split('\n')
    rest = lines.pop() ?? ''
    yield* lines
  }
  yield rest + decoder.decode()
}
