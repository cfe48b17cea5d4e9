/** What ends a scheduler's process and what does not: a broken law does, after everybody who waits was told so;
 *  an error that nobody caught does not. */
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { connectHeadgate, type Headgate } from '#client'
import { startSimulatedProvider } from '../../services/simulated-provider/listener.ts'
import { body, endOf } from '../support/house.ts'
import { natsServer, type NatsServer } from '../support/nats-server.ts'
import { launch, type Program } from '../support/program.ts'
import { inRoot } from '../support/tree.ts'

let nats: NatsServer
let provider: Awaited<ReturnType<typeof startSimulatedProvider>>
let client: Headgate
const programs: Program[] = []

beforeAll(async () => {
  nats = await natsServer()
  provider = await startSimulatedProvider({ ttftMs: 0, tokensPerSecond: 0, outputTokens: 2 })
  client = await connectHeadgate({ servers: nats.url, tenant: 'acme' })
})
afterAll(async () => {
  await Promise.all(programs.map((one) => one.kill()))
  await client.close()
  await provider.close()
  await nats.stop()
})

const scheduler = async (imported: string, env: Record<string, string>): Promise<Program> => {
  const program = launch('scheduler', {
    NATS_URL: nats.url,
    ANTHROPIC_BASE_URL: provider.url,
    ANTHROPIC_API_KEY: 'sk-planted-key',
    HEADGATE_HTTP_PORT: '0',
    NODE_OPTIONS: `--import=${pathToFileURL(inRoot(imported)).href}`,
    ...env,
  })
  programs.push(program)
  expect((await program.told).type).toBe('ready')
  return program
}

test('a broken law: who waits and who is being served is told, and the status is 70', async () => {
  provider.fault({ kind: 'hang_before_headers' })
  const program = await scheduler('test/support/broken-invariant.ts', { BREAK_ID: 'broken' })
  const others = Array.from({ length: 80 }, () => endOf(client.request(body())))
  await expect
    .poll(async () => {
      const { global } = (await client.admin('snapshot')) as { global: { inflight: number } }
      return global.inflight
    })
    .toBeGreaterThan(10)
  const broken = endOf(client.request(body(), { id: 'broken' }))
  expect(new Set(await Promise.all([...others, broken]))).toEqual(new Set(['draining']))
  expect(await program.exit).toBe(70)
  expect(program.output()).toContain('a broken invariant: this is a bug')
  provider.clear()
})

test('an error that nobody caught, in a timer or a promise: it goes on, counted, logged once', async () => {
  const program = await scheduler('test/support/uncaught.ts', {})
  await program.saw('no reason to stop')
  expect(await endOf(client.request(body()))).toBe('completed')
  expect(program.output()).not.toContain('planted text')
  program.child.kill('SIGTERM')
  expect(await program.exit).toBe(0)
})
