/** A nats-server 2.10: requests are served, and durable jobs say which server they need. It runs where such a server is
 *  found: `HEADGATE_NATS_210` names the program, or it stands in `node_modules/.cache/headgate-nats/2.10`. To compile one
 *  takes minutes, which every run of the checks would pay. */
import { existsSync } from 'node:fs'
import { delimiter, dirname } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { connectHeadgate } from '#client'
import { startSimulatedProvider } from '../../services/simulated-provider/listener.ts'
import { body, endOf } from '../support/house.ts'
import { natsServer, type NatsServer } from '../support/nats-server.ts'
import { headgate, launch } from '../support/program.ts'
import { inRoot } from '../support/tree.ts'

const program =
  process.env['HEADGATE_NATS_210'] ?? inRoot('node_modules/.cache/headgate-nats/2.10/nats-server')
const why = existsSync(program)
  ? ''
  : ' (skipped: no nats-server 2.10; go install github.com/nats-io/nats-server/v2@v2.10.29, and name it in HEADGATE_NATS_210)'

const open: (() => Promise<unknown>)[] = []
afterAll(async () => {
  for (const close of open.splice(0).toReversed()) await close()
})

/** What is first on the PATH is started. */
async function oldServer(): Promise<NatsServer> {
  const path = process.env['PATH'] ?? ''
  process.env['PATH'] = dirname(program) + delimiter + path
  try {
    const server = await natsServer()
    open.push(() => server.stop())
    return server
  } finally {
    process.env['PATH'] = path
  }
}

test.skipIf(why !== '')(
  `over nats-server 2.10 requests are answered, and durable jobs say that they need 2.11${why}`,
  async () => {
    const nats = await oldServer()
    expect(nats.source).toMatch(/ 2\.10\./)
    const provider = await startSimulatedProvider({ ttftMs: 0, tokensPerSecond: 0 })
    open.push(() => provider.close())
    const env = {
      NATS_URL: nats.url,
      ANTHROPIC_BASE_URL: provider.url,
      ANTHROPIC_API_KEY: 'sk-old',
    }
    const scheduler = launch('scheduler', { ...env, HEADGATE_HTTP_PORT: '0' })
    open.push(() => scheduler.kill())
    expect((await scheduler.told).type).toBe('ready')
    await scheduler.saw('durable jobs are not to be had: they need nats-server 2.11 or later')
    const client = await connectHeadgate({ servers: nats.url, tenant: 'acme' })
    open.push(() => client.close())
    expect(await endOf(client.request(body()))).toBe('completed')
    await expect(client.submit(body(), { lane: 'batch' })).rejects.toMatchObject({
      code: 'unreachable',
      message: expect.stringContaining('keeps no durable jobs') as string,
    })
    const doctor = headgate(['doctor'], env)
    await doctor.exit
    expect(doctor.output()).toMatch(/jobs\s+none: they need nats-server 2\.11 or later/)
  },
)
