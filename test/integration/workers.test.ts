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
let env: Record<string, string>

beforeAll(async () => {
  nats = await natsServer()
  provider = await startSimulatedProvider({ ttftMs: 20, tokensPerSecond: 0, outputTokens: 5 })
  env = {
    ...{ NATS_URL: nats.url, ANTHROPIC_BASE_URL: provider.url, ANTHROPIC_API_KEY: 'sk-test' },
    ...{ HEADGATE_HTTP_PORT: '0', HEADGATE_GATEWAY_PORT: '0', HEADGATE_BUS: '' },
  }
})
afterAll(async () => {
  for (const one of started) await one.kill()
  await provider.close()
  await nats.stop()
})

function serve(...more: string[]): Program {
  const program = headgate(['serve', '--gateway', ...more], env)
  started.push(program)
  return program
}

/** Where each program listens, as it says when it is ready. */
const listening = (output: string): URL[] =>
  [...output.matchAll(/"at":"(http:[^"]+)"/g)].map(([, at = '']) => new URL(at))
/** The scheduler, which is ready first, listens too. */
const doorsIn = (output: string): URL[] => listening(output).slice(1)

async function allReady(program: Program, count: number): Promise<URL[]> {
  await program.until((output) => doorsIn(output).length === count, `${count} doors`)
  return doorsIn(program.output())
}

/** Each has heard its first signal, so that the next one is its second. */
const allStop = (program: Program, count: number): Promise<unknown> =>
  program.until((output) => output.split('"stopping"').length - 1 === count, `${count} stopping`)

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

test('one that dies is followed by another, and nobody else is touched', async () => {
  const program = serve('--workers', '2')
  const [door] = await allReady(program, 2)
  const [dies = 0, ...others] = doorsOf(program)
  process.kill(dies, 'SIGKILL')
  await program.saw('the gateway was ended by SIGKILL; another is started')
  await program.until((output) => doorsIn(output).length === 3, 'another door')
  expect(doorsOf(program)).toEqual(expect.arrayContaining(others))
  expect(new Set(doorsIn(program.output()).map(({ host }) => host)).size).toBe(1)
  // Each says which it is; who takes another's place, takes its number.
  const numbers = [...program.output().matchAll(/"worker":(\d)[^\n]*"ready"/g)].map(([, n]) => n)
  expect(numbers.toSorted()).toEqual(expect.arrayContaining(['1', '2']))
  expect(numbers).toHaveLength(3)
  expect(await ask(door!)).toBe(200)
  program.child.kill('SIGTERM')
  expect(await program.exit).toBe(0)
})

test('where the scheduler ends all do', async () => {
  const program = serve('--workers', '2')
  await allReady(program, 2)
  for (const pid of childrenOf(program, 'scheduler/main')) process.kill(pid, 'SIGKILL')
  expect(await program.exit).toBe(1)
  expect(program.output()).toContain('the scheduler was ended by SIGKILL')
})

test('a port that others share is not free', async () => {
  const first = serve('--workers', '2')
  const [door] = await allReady(first, 2)
  const second = headgate(['gateway', '--workers', '2'], {
    ...{ NATS_URL: nats.url, HEADGATE_GATEWAY_PORT: door?.port ?? '' },
  })
  started.push(second)
  expect(await second.exit).toBe(1)
  expect(second.output()).toContain(`port ${door?.port} on 127.0.0.1 is in use`)
  await first.kill()
})

test('a door that is hurried while its scheduler goes on says that it ends', async () => {
  const scheduler = headgate(['serve'], env)
  started.push(scheduler)
  await scheduler.saw('"ready"')
  const door = headgate(['gateway', '--workers', '2'], env)
  started.push(door)
  await door.until((output) => listening(output).length === 2, 'two doors')
  provider.fault({ kind: 'slow_headers', waitMs: 60_000 })
  const [at] = listening(door.output())
  const asked = Promise.all(Array.from({ length: 10 }, () => ask(at!)))
  await expect.poll(() => provider.stats().inFlight, { timeout: 15_000 }).toBe(10)
  door.child.kill('SIGTERM')
  await allStop(door, 2)
  for (const pid of doorsOf(door)) process.kill(pid, 'SIGTERM')
  expect(await asked).toEqual(Array.from({ length: 10 }, () => 503))
  // It would let the calls end, that nobody waits for any more.
  for (const pid of childrenOf(scheduler, 'scheduler/main')) process.kill(pid, 'SIGKILL')
  await scheduler.exit
})

test('who is hurried leaves callers a last word', async () => {
  const program = serve('--workers', '2')
  const [door] = await allReady(program, 2)
  provider.fault({ kind: 'slow_headers', waitMs: 60_000 })
  const asked = Promise.all(Array.from({ length: 10 }, () => ask(door!)))
  await expect.poll(() => provider.stats().inFlight, { timeout: 15_000 }).toBe(10)
  program.child.kill('SIGTERM')
  await program.saw('"draining"')
  await allStop(program, 2)
  // The second one, past the command that takes two within a moment for one.
  for (const pid of childrenOf(program, '/main')) process.kill(pid, 'SIGTERM')
  expect(await asked).toEqual(Array.from({ length: 10 }, () => 503))
  await program.exit
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

/** Its children that run the door. */
const doorsOf = (program: Program): number[] => childrenOf(program, 'gateway/main')

function childrenOf({ child }: Program, what: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
        return stat.split(') ')[1]?.split(' ')[1] === String(child.pid) && command.includes(what)
      } catch {
        return false
      }
    })
    .map(Number)
}
