/** One HTTP/1.1 exchange with every byte in sight: for tests of what a socket sees. */
import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'

export interface RawCall {
  readonly socket: Socket
  /** What has come so far. */
  text(): string
  /** Resolves with everything, once `done` holds for it. */
  until(done: (text: string) => boolean): Promise<string>
  /** Resolves with everything when the other side has closed. */
  readonly closed: Promise<string>
}

/** Sends `text` as it is; over TLS where the address says so, to a certificate that `ca` vouches for. */
export function rawCall(url: string, text: string, ca?: string): RawCall {
  const { protocol, hostname, port } = new URL(url)
  const to = { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port) }
  const socket = protocol === 'https:' ? connectTls({ ...to, ca }) : connect(to)
  let got = ''
  const waiting = new Set<() => void>()
  const tell = (): void => waiting.forEach((look) => look())
  socket.setEncoding('utf8')
  socket.on('data', (more: string) => {
    got += more
    tell()
  })
  socket.on('error', () => {})
  const closed = new Promise<string>((resolve) =>
    socket.once('close', () => {
      tell()
      resolve(got)
    }),
  )
  socket.write(text)
  return {
    socket,
    text: () => got,
    closed,
    until: (done) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          if (!done(got) && !socket.destroyed) return
          waiting.delete(look)
          if (done(got)) resolve(got)
          else reject(new Error(`closed before that came: ${got.slice(-500)}`))
        }
        waiting.add(look)
        look()
      }),
  }
}

/** A POST as a caller writes it. */
export function post(path: string, body: string, headers: Record<string, string> = {}): string {
  const lines = Object.entries({
    host: '127.0.0.1',
    'content-type': 'application/json',
    'content-length': String(Buffer.byteLength(body)),
    ...headers,
  }).map(([name, value]) => `${name}: ${value}`)
  return `POST ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n${body}`
}
