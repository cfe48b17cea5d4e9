/** Wires on loopback between one program and the servers it knows, which a test cuts, holds up or makes slow. One
 *  port for each server; what happens to one of them happens to all. */
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'

export interface Wires {
  /** In the order of the servers. */
  readonly ports: readonly number[]
  /** Connections end, and so does each new one. */
  cut(): void
  /** Connections stay and carry nothing; what was sent meanwhile comes when it heals. */
  stall(): void
  /** Each piece comes so much later, either way. */
  slow(ms: number): void
  heal(): void
  close(): Promise<void>
}

type How = { is: 'open'; lateMs: number } | { is: 'cut' } | { is: 'stalled' }

export async function wiresTo(ports: readonly number[]): Promise<Wires> {
  let how: How = { is: 'open', lateMs: 0 }
  const flows = new Set<Flow>()
  const now = (next: How): void => {
    how = next
    for (const flow of flows) if (how.is === 'cut') flow.end()
    for (const flow of flows) flow.pump()
  }
  const servers = await Promise.all(
    ports.map((port) =>
      listening((near) => {
        if (how.is === 'cut') return void near.destroy()
        const far = connect(port, '127.0.0.1')
        const ends = [flow(near, far, () => how), flow(far, near, () => how)]
        for (const one of ends) flows.add(one)
        for (const socket of [near, far])
          socket.on('close', () => {
            for (const one of ends) flows.delete(one)
            near.destroy()
            far.destroy()
          })
      }),
    ),
  )
  return {
    ports: servers.map((server) => (server.address() as AddressInfo).port),
    cut: () => now({ is: 'cut' }),
    stall: () => now({ is: 'stalled' }),
    slow: (ms) => now({ is: 'open', lateMs: ms }),
    heal: () => now({ is: 'open', lateMs: 0 }),
    async close() {
      now({ is: 'cut' })
      for (const server of servers) server.close()
      await Promise.all(servers.map((server) => once(server, 'close')))
    },
  }
}

async function listening(on: (near: Socket) => void): Promise<Server> {
  const server = createServer((near) => {
    near.on('error', () => {})
    on(near)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server
}

interface Flow {
  pump(): void
  end(): void
}

/** One direction of one connection: pieces stay in order, however late. */
function flow(from: Socket, to: Socket, how: () => How): Flow {
  const waiting: { piece: Buffer; at: number }[] = []
  let timer: NodeJS.Timeout | null = null
  from.on('error', () => {})
  from.on('close', () => timer !== null && clearTimeout(timer))
  from.on('data', (piece: Buffer) => {
    const is = how()
    waiting.push({ piece, at: performance.now() + (is.is === 'open' ? is.lateMs : 0) })
    pump()
  })
  const pump = (): void => {
    if (timer !== null) clearTimeout(timer)
    timer = null
    if (how().is !== 'open') return
    for (let first = waiting[0]; first !== undefined; first = waiting[0]) {
      const early = first.at - performance.now()
      if (early > 0) return void (timer = setTimeout(pump, Math.ceil(early)))
      waiting.shift()
      to.write(first.piece)
    }
  }
  return { pump, end: () => void from.destroy() }
}
