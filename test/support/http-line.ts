/** One connection to a server, as the bytes that came over it. */
import { connect, type Socket } from 'node:net'

/** Longer than anything that should come takes. */
const WAIT_MS = 10_000

export interface Line {
  socket: Socket
  got(): Buffer
  clear(): void
  /** The other side has closed. */
  ended(): boolean
  until(done: () => boolean): Promise<void>
}

export function openLine(url: string): Line {
  const { hostname, port } = new URL(url)
  const socket = connect({ host: hostname, port: Number(port) })
  let got: Buffer = Buffer.alloc(0)
  let ended = false
  let look = (): void => {}
  socket.setNoDelay(true)
  socket.on('error', () => {})
  socket.on('data', (more) => {
    got = got.length === 0 ? more : Buffer.concat([got, more])
    look()
  })
  socket.once('close', () => {
    ended = true
    look()
  })
  return {
    socket,
    got: () => got,
    clear: () => (got = Buffer.alloc(0)),
    ended: () => ended,
    until: (done) =>
      new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          reject(new Error(`nothing for ${WAIT_MS} ms after ${shown(got)}`))
        }, WAIT_MS)
        look = () => {
          try {
            if (!done()) return
            resolve()
          } catch (error) {
            reject(error as Error)
          }
          clearTimeout(timer)
          look = () => {}
        }
        look()
      }),
  }
}

/** The last of some bytes, for people. */
export const shown = (bytes: Buffer): string => JSON.stringify(bytes.toString('latin1').slice(-300))
