/** A server that takes every connection and never says a word. */
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { heard } from './heard.ts'

export async function silentServer({ port: wanted = 0 } = {}) {
  const taken = heard<Socket>()
  const given = heard<Socket>()
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.on('close', () => given.add(socket))
    socket.resume()
    taken.add(socket)
  })
  await new Promise<void>((resolve) => server.listen(wanted, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `nats://127.0.0.1:${port}`,
    /** Connections that came. */
    taken,
    /** Connections that went. */
    given,
    async stop() {
      for (const socket of taken.all) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
