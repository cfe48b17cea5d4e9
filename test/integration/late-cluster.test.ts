/** A scheduler that starts before its cluster of nats-servers has a leader has its durable jobs all the same. */
import { createServer, type AddressInfo } from 'node:net'
import { afterAll, expect, test } from 'vitest'
import { startSimulatedProvider } from '../../services/simulated-provider/listener.ts'
import { clientSystem, connectHeadgate } from '#client'
import { body } from '../support/house.ts'
import { natsServer, type NatsServer } from '../support/nats-server.ts'
import { launch, type Program } from '../support/program.ts'

const servers: NatsServer[] = []
let program: Program | null = null
let provider: Awaited<ReturnType<typeof startSimulatedProvider>> | null = null
afterAll(async () => {
  await program?.kill()
  await provider?.close()
  await Promise.all(servers.map((one) => one.stop()))
})

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  const { port } = server.address() as AddressInfo
  await new Promise((closed) => server.close(closed))
  return port
}

test('jobs are kept from the start on, though two of three servers come later', async () => {
  const ports = await Promise.all([freePort(), freePort(), freePort()])
  const routes = ports.map((port) => `"nats-route://127.0.0.1:${port}"`).join(', ')
  const start = async (index: number): Promise<NatsServer> => {
    const server = await natsServer({
      config: `server_name: n${index}\ncluster { name: late, listen: "127.0.0.1:${ports[index]}", routes: [${routes}] }\n`,
    })
    servers.push(server)
    return server
  }
  const first = await start(0)
  provider = await startSimulatedProvider({ ttftMs: 0, tokensPerSecond: 0, outputTokens: 2 })
  const launched = launch('scheduler', {
    NATS_URL: first.url,
    ANTHROPIC_BASE_URL: provider.url,
    ANTHROPIC_API_KEY: 'sk-late',
    HEADGATE_HTTP_PORT: '0',
  })
  program = launched
  // Longer than every store that is opened at a start is asked for once.
  await new Promise<void>((over) => void clientSystem.after(9_000, over))
  await Promise.all([start(1), start(2)])
  expect((await launched.told).type).toBe('ready')
  expect(program.output()).not.toContain('durable jobs are not to be had')
  const client = await connectHeadgate({ servers: first.url, tenant: 'acme' })
  const receipt = await client.submit(body(), { lane: 'batch' })
  const { accounting } = await client.result(receipt.id, { waitMs: 20_000 })
  expect(accounting.outcome).toBe('completed')
  await client.close()
})
