/** The HTTP door by several processes at one port, before one scheduler. */
import { readdirSync, readFileSync } from 'node:fs'
import { request } from 'node:http'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  startSimulatedProvider,
  type SimulatedProvider,
} from '../../services/simulated-provider/listener.ts'
import { body } from '../support/house.ts'
import { natsServer, type NatsServer } from '../support/nats-server.ts'
import { headgate, type Program } from '../support/program.ts'

let nats: NatsServer
let provider: SimulatedProvider
const started: Program[] = []

beforeAll(async () => {
  nats = await natsServer()
  provider = await startSimulatedProvider({ ttftMs: 20, tokensPerSecond: 0, outputTokens: 5 })
})
afterAll(async () => {
  for (const one of started) await one.kill()
  await provider.close()
  await nats.stop()
})

function serve(...more: string[]): Program {
  const program = headgate(['serve', '--gateway', ...more], {
    ...{ NATS_URL: nats.url, ANTHROPIC_BASE_URL: provider.url, ANTHROPIC_API_KEY: 'sk-test' },
    ...{ HEADGATE_HTTP_PORT: '0', HEADGATE_GATEWAY_PORT: '0', HEADGATE_BUS: '' },
  })
  started.push(program)
  return program
}

/** Where each door listens, as it says when it is ready; the scheduler, which is ready first, listens too. */
const doorsIn = (output: string): URL[] =>
  [...output.matchAll(/"at":"(http:[^"]+)"/g)].slice(1).map(([, at = '']) => new URL(at))

async function allReady(program: Program, count: number): Promise<URL[]> {
  await program.until((output) => doorsIn(output).length === count, `${count} doors`)
  return doorsIn(program.output())
}

/** On a connection of its own. */
const ask = (door: URL): Promise<number | undefined> =>
  new Promise((resolve, reject) => {
    const text = JSON.stringify(body())
    const sent = request(
      new URL('/v1/messages', door),
      { method: 'POST', agent: false, headers: { 'content-type': 'application/json' } },
      (answer) => answer.resume().once('end', () => resolve(answer.statusCode)),
    )
    sent.once('error', reject)
    sent.end(text)
  })

test('all listen at one port and are asked, and a stop ends all of them well', async () => {
  const program = serve('--workers', '3')
  const [door, ...others] = await allReady(program, 3)
  if (door === undefined) throw new Error('no door')
  expect(others.map(({ host }) => host)).toEqual([door.host, door.host])
  const answers = await Promise.all(Array.from({ length: 60 }, () => ask(door)))
  expect(answers).toEqual(Array.from({ length: 60 }, () => 200))
  program.child.kill('SIGTERM')
  expect(await program.exit).toBe(0)
})

test('where one ends that was not told to, all do, and it is said which', async () => {
  const program = serve('--workers', '2')
  await allReady(program, 2)
  process.kill(aDoorOf(program.child.pid!), 'SIGKILL')
  expect(await program.exit).toBe(1)
  expect(program.output()).toContain('the gateway was ended by SIGKILL')
})

test.each([
  [['--workers', '0'], 'expected a whole number from 1 to 64'],
  [['--workers', '1.5'], 'expected a whole number from 1 to 64'],
])('%j is refused in words', async (args, words) => {
  const program = serve(...args)
  expect(await program.exit).toBe(2)
  expect(program.output()).toContain(words)
})

test('without a door there is nothing that they could serve', async () => {
  const program = headgate(['serve', '--workers', '2'], { NATS_URL: nats.url })
  expect(await program.exit).toBe(2)
  expect(program.output()).toContain('--workers: they serve the HTTP door; add --gateway')
})

/** A child of the command that runs the door. */
function aDoorOf(parent: number): number {
  const found = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .find((pid) => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
        return (
          stat.split(') ')[1]?.split(' ')[1] === String(parent) && command.includes('gateway/main')
        )
      } catch {
        return false
      }
    })
  if (found === undefined) throw new Error('no door among its children')
  return Number(found)
}
