/** A raw HTTP/1.1 server whose every byte is the test's: it can say nothing, half a head, half a frame, or
 *  close at any point. Each request becomes a turn; `next` hands turns out in order. */
import { createServer, type AddressInfo, type Socket } from 'node:net'

export interface Turn {
  method: string
  path: string
  headers: Record<string, string>
  body: Buffer
  /** A whole answer with content-length. Strings are sent as they are. */
  reply(answer: { status: number; headers?: Record<string, string>; body?: string | Buffer }): void
  /** The head of a chunked answer. */
  head(answer: { status: number; headers?: Record<string, string> }): void
  /** One chunk of it. */
  chunk(data: string | Buffer): void
  /** Its clean end. */
  finish(): void
  /** Any bytes. */
  raw(data: string | Buffer): void
  /** Closes our side of the connection, after what was written. */
  end(): void
  /** Closes the connection hard. */
  reset(): void
  /** Resolves when the connection is closed, from whichever side. */
  closed: Promise<void>
}

export interface ScriptedUpstream {
  url: string
  /** The next turn that nobody has taken yet. */
  next(): Promise<Turn>
  /** Answers every turn from now on, instead of `next`. */
  always(answer: (turn: Turn) => void): void
  /** Open connections. */
  sockets(): number
  close(): Promise<void>
}

export async function scriptedUpstream(): Promise<ScriptedUpstream> {
  const sockets = new Set<Socket>()
  const turns: Turn[] = []
  const takers: ((turn: Turn) => void)[] = []
  let standing: ((turn: Turn) => void) | null = null

  const server = createServer((socket) => {
    sockets.add(socket)
    socket.setNoDelay(true)
    const closed = new Promise<void>((resolve) => {
      socket.once('close', () => {
        sockets.delete(socket)
        resolve()
      })
    })
    socket.on('error', () => {})
    let held = Buffer.alloc(0)
    socket.on('data', (bytes) => {
      held = held.length === 0 ? bytes : Buffer.concat([held, bytes])
      for (let cut = cutRequest(held); cut !== null; cut = cutRequest(held)) {
        held = cut.rest
        const turn = turnOn(socket, closed, cut)
        const taker = standing ?? takers.shift()
        if (taker === undefined) turns.push(turn)
        else taker(turn)
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo

  return {
    url: `http://127.0.0.1:${port}`,
    next: () =>
      new Promise((resolve) => {
        const turn = turns.shift()
        if (turn === undefined) takers.push(resolve)
        else resolve(turn)
      }),
    always(answer) {
      standing = answer
    },
    sockets: () => sockets.size,
    async close() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

interface Cut {
  method: string
  path: string
  headers: Record<string, string>
  body: Buffer
  rest: Buffer<ArrayBuffer>
}

/** The first whole request of some bytes; null while there is none. */
function cutRequest(bytes: Buffer<ArrayBuffer>): Cut | null {
  const end = bytes.indexOf('\r\n\r\n')
  if (end === -1) return null
  const [first = '', ...lines] = bytes.toString('latin1', 0, end).split('\r\n')
  const headers: Record<string, string> = {}
  for (const line of lines) {
    const colon = line.indexOf(':')
    headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim()
  }
  const bodyEnd = end + 4 + Number(headers['content-length'] ?? 0)
  if (bytes.length < bodyEnd) return null
  const [method = '', path = ''] = first.split(' ')
  return {
    method,
    path,
    headers,
    body: bytes.subarray(end + 4, bodyEnd),
    rest: bytes.subarray(bodyEnd),
  }
}

function turnOn(socket: Socket, closed: Promise<void>, request: Omit<Cut, 'rest'>): Turn {
  const { method, path, headers, body } = request
  const raw = (data: string | Buffer): void => {
    socket.write(data)
  }
  const headText = (status: number, of: Record<string, string>): string =>
    `HTTP/1.1 ${status} Scripted\r\n` +
    Object.entries(of)
      .map(([name, value]) => `${name}: ${value}\r\n`)
      .join('') +
    '\r\n'
  return {
    method,
    path,
    headers,
    body,
    closed,
    raw,
    reply(answer) {
      const bytes = Buffer.from(answer.body ?? '')
      const lengths = { 'content-length': String(bytes.length) }
      const head = headText(answer.status, { ...answer.headers, ...lengths })
      raw(Buffer.concat([Buffer.from(head, 'latin1'), bytes]))
    },
    head(answer) {
      raw(headText(answer.status, { ...answer.headers, 'transfer-encoding': 'chunked' }))
    },
    chunk(data) {
      const bytes = Buffer.from(data)
      const size = Buffer.from(`${bytes.length.toString(16)}\r\n`)
      raw(Buffer.concat([size, bytes, Buffer.from('\r\n')]))
    },
    finish: () => raw('0\r\n\r\n'),
    end: () => {
      socket.end()
    },
    reset: () => {
      socket.resetAndDestroy()
    },
  }
}
