/** A wire between a scheduler and its nats-server, on which a test sees what leaves, and may cut at one message. */
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

export interface NatsTap {
  /** For `NATS_URL`. */
  readonly url: string
  /** At the first message that leaves and looks so: `cut` is called, and the message is let through first, or is
   *  not. With `answered`, the server has it, and its answer is what does not come through. */
  at(looks: RegExp, how: 'withheld' | 'sent' | 'answered', cut: () => void): void
  close(): Promise<void>
}

export async function natsTap(port: number): Promise<NatsTap> {
  let watch: { looks: RegExp; how: 'withheld' | 'sent' | 'answered'; cut: () => void } | null = null
  const sockets = new Set<Socket>()
  const server = createServer((near) => {
    const far = connect(port, '127.0.0.1')
    /** Nothing more comes back. */
    let deaf = false
    for (const socket of [near, far]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        sockets.delete(socket)
        near.destroy()
        far.destroy()
      })
    }
    near.on('data', (chunk) => {
      if (watch === null || !watch.looks.test(chunk.toString('latin1'))) return far.write(chunk)
      const { how, cut } = watch
      watch = null
      if (how === 'withheld') return cut()
      if (how === 'sent') return far.write(chunk, cut)
      deaf = true
      far.once('data', cut)
      return far.write(chunk)
    })
    far.on('data', (chunk) => deaf || near.write(chunk))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port: own } = server.address() as AddressInfo
  return {
    url: `nats://127.0.0.1:${own}`,
    at(looks, how, cut) {
      watch = { looks, how, cut }
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
