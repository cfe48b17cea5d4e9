/** The launcher of our own nats-server. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { connect, createServer, type AddressInfo } from 'node:net'
import { createInterface } from 'node:readline'
import { expect, test } from 'vitest'
import { natsServer } from '../support/nats-server.ts'

/** Resolves when the server hangs up: it has ended. */
async function watchEnd(port: number): Promise<() => Promise<unknown>> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  const closed = once(socket, 'close')
  await once(socket, 'data')
  socket.resume()
  return () => closed
}

test('starts on loopback, says where it came from, and stops', async () => {
  const server = await natsServer({ monitoring: true })
  expect(server.url).toBe(`nats://127.0.0.1:${server.port}`)
  expect(server.source).toMatch(/nats-server/)
  const health = await fetch(`${server.monitoringUrl}/healthz?js-enabled-only=true`)
  expect(await health.json()).toMatchObject({ status: 'ok' })
  const varz = (await (await fetch(`${server.monitoringUrl}/varz`)).json()) as object
  expect(varz).toMatchObject({ max_payload: 8_388_608, max_pending: 268_435_456 })
  const ended = await watchEnd(server.port)
  await server.stop()
  await ended()
  await server.stop()
})

test('comes back on the same port after a restart and after a kill', async () => {
  const server = await natsServer({ jetstream: false })
  const { port, pid } = server
  await server.restart()
  expect(server.port).toBe(port)
  expect(server.pid).not.toBe(pid)
  await server.kill()
  await server.restart()
  const ended = await watchEnd(port)
  await server.stop()
  await ended()
})

test('takes the next port if the preferred one is taken', async () => {
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  const { port: from } = other.address() as AddressInfo
  const server = await natsServer({ jetstream: false, ports: { from } })
  expect(server.port).toBeGreaterThan(from)
  await server.stop()
  other.close()
})

test('shows what the server said when it does not start', async () => {
  await expect(natsServer({ config: 'no_such_option: {' })).rejects.toThrow('did not start')
})

test.each(['SIGKILL', 'SIGTERM'] as const)(
  'leaves nothing behind when we end by %s',
  async (signal) => {
    const module = new URL('../../services/cli/nats-server.ts', import.meta.url).href
    const script = `
    const { startNatsServer } = await import(${JSON.stringify(module)})
    const { server } = await startNatsServer({ jetstream: false })
    const { readlinkSync } = await import('node:fs')
    const exe = readlinkSync('/proc/' + server.pid + '/exe')
    console.log(JSON.stringify({ port: server.port, exe }))
    process.stdin.resume()`
    const parent = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    const [line] = (await once(createInterface(parent.stdout), 'line')) as [string]
    const { port, exe } = JSON.parse(line) as { port: number; exe: string }
    const ended = await watchEnd(port)
    parent.kill(signal)
    await once(parent, 'exit')
    await ended()
    if (exe.includes('headgate-nats-')) await gone(exe)
  },
)

async function gone(path: string): Promise<void> {
  while (existsSync(path)) await new Promise((resolve) => setImmediate(resolve))
}
