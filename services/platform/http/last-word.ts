/** What is told to callers whose bytes are no request, or whose request does not come, and when they have earned
 *  it: never amid another answer, and never before what has come was read. */
import type { FastifyRequest } from 'fastify'
import type { Connections } from './connections.ts'
import type { Denial } from './guard.ts'
import { lingerOn } from './lingering.ts'

type Socket = FastifyRequest['raw']['socket']

/** What goes over a socket as it is; header values on one line each. */
export interface BareWords {
  headers: Readonly<Record<string, string>>
  body: string
}

export interface LastWords {
  asked: Connections
  headerBytesMax: number
  /** A timer in ms; gives what stops it. */
  after: (ms: number, call: () => void) => () => void
  /** How a refusal is sent where there is nothing to reply to. */
  bare: (denial: Denial) => BareWords
}

const GARBAGE: Denial = {
  status: 400,
  type: 'invalid_request_error',
  message: 'not a request that can be read',
}
const LATE: Denial = { ...GARBAGE, status: 408, message: 'the request did not come in time' }

/** Node's `clientError`: what is not even HTTP, or came too slowly. */
export function refuseGarbage(
  of: LastWords,
  { code }: Error & { code?: string },
  socket: Socket,
): void {
  // Once its last word is said, whatever it sends is garbage.
  if (code === 'ECONNRESET' || socket.destroyed || told.has(socket)) return
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT')
    return afterReading(of.after, socket, () => {
      if (!of.asked.hasWhole(socket)) lastWord(of, LATE, socket)
    })
  const message = `the headers are over ${of.headerBytesMax} bytes`
  lastWord(
    of,
    code === 'HPE_HEADER_OVERFLOW' ? { ...GARBAGE, status: 431, message } : GARBAGE,
    socket,
  )
}

/** A method that makes the connection a tunnel. */
export function refuseTunnel(of: LastWords, socket: Socket): void {
  socket.on('error', () => {})
  lastWord(of, GARBAGE, socket)
}

/** Node's `timeout`: nothing has moved for as long as may be. */
export function closeIdle({ after }: Pick<LastWords, 'after'>, socket: Socket): void {
  const { bytesRead } = socket
  afterReading(after, socket, () => {
    if (socket.bytesRead === bytesRead) socket.destroy()
  })
}

/** What has come already counts as come, though this process stood still and has not read it: judged when
 *  nothing more is there to read. */
function afterReading(
  after: LastWords['after'],
  socket: Socket,
  judge: () => void,
  reads = READS_MAX,
): void {
  const before = socket.bytesRead
  // A timer that is made in a turn fires after the sockets were read.
  after(0, () => {
    if (socket.destroyed) return
    if (socket.bytesRead > before && reads > 0) afterReading(after, socket, judge, reads - 1)
    else judge()
  })
}
/** Of up to 64 KB each: more than any body has. */
const READS_MAX = 1_024

const LINES: Record<number, string> = {
  400: 'Bad Request',
  408: 'Request Timeout',
  431: 'Request Header Fields Too Large',
}

const told = new WeakSet<Socket>()

/** Never amid another answer, nor where an earlier request would take it for its own. */
function lastWord({ bare, asked, after }: LastWords, denial: Denial, socket: Socket): void {
  if (!socket.writable || !asked.mayHear(socket)) return void socket.destroy()
  told.add(socket)
  const { headers, body } = bare(denial)
  const lines = Object.entries({
    ...headers,
    'content-length': String(Buffer.byteLength(body)),
    connection: 'close',
  }).map(([name, value]) => `${name}: ${value}\r\n`)
  const { status } = denial
  lingerOn(socket, `HTTP/1.1 ${status} ${LINES[status]}\r\n${lines.join('')}\r\n${body}`, after)
}

export const plainWords = ({ type, message }: Denial): BareWords => ({
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ type: 'error', error: { type, message } }),
})
