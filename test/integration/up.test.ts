/** The command as a person runs it: everything comes up, answers, and is gone when it is told to go. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { connectHeadgate, HeadgateError } from '#client'
import { snapshot } from '#contracts/snapshot'
import { natsServer } from '../support/nats-server.ts'
import { CLEAN } from '../support/stack.ts'
import { inRoot } from '../support/tree.ts'

const HEADGATE = inRoot('services/cli/headgate.ts')
const GONE_WITHIN_MS = 8_000
const POLL_MS = 25
/** Two signals within it are one. */
const ONE_SIGNAL_MS = 600

interface Running {
  child: ChildProcess
  output(): string
  /** Resolves with what was said once the words were; rejects when it ends without them. */
  said(words: RegExp): Promise<RegExpExecArray>
  ended: Promise<number | null>
  /** Every process that it started, itself included. */
  family(): number[]
}

const running: Running[] = []
afterEach(() => {
  for (const one of running.splice(0)) one.child.kill('SIGKILL')
})

const headgate = (args: string[], env: Record<string, string | undefined> = {}): Running =>
  started(process.execPath, [HEADGATE, ...args], env)

function started(
  file: string,
  args: string[],
  env: Record<string, string | undefined> = {},
): Running {
  const child = spawn(file, args, {
    cwd: inRoot('.'),
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...CLEAN, ...env },
  })
  let output = ''
  const listeners = new Set<() => void>()
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (data: Buffer) => {
      output += data.toString()
      for (const listener of listeners) listener()
    })
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
  const one: Running = {
    child,
    ended,
    output: () => output,
    family: () => familyOf(child.pid ?? 0),
    said: (words) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          const found = words.exec(output)
          if (found !== null) resolve(found)
        }
        listeners.add(look)
        look()
        void ended.then(() => reject(new Error(`it ended without ${String(words)}:\n${output}`)))
      }),
  }
  running.push(one)
  return one
}

/** By hand, to its end. */
function call(args: string[], env: Record<string, string | undefined> = {}) {
  const run = spawnSync(process.execPath, [HEADGATE, ...args], {
    encoding: 'utf8',
    env: { ...process.env, ...CLEAN, ...env },
  })
  return { status: run.status, stdout: run.stdout, stderr: run.stderr }
}

interface Process {
  pid: number
  parent: number
}

/** A process that ended and that nobody asked about is gone. */
function processes(): Process[] {
  const { stdout } = spawnSync('ps', ['-eo', 'pid=,ppid=,stat='], { encoding: 'utf8' })
  return stdout
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, , state = '']) => !state.startsWith('Z'))
    .map(([pid, parent]) => ({ pid: Number(pid), parent: Number(parent) }))
}

function familyOf(pid: number): number[] {
  const all = processes()
  const below = (of: number): number[] => [
    of,
    ...all.filter(({ parent }) => parent === of).flatMap((one) => below(one.pid)),
  ]
  return below(pid)
}

async function gone(pids: readonly number[]): Promise<void> {
  const until = performance.now() + GONE_WITHIN_MS
  for (;;) {
    const alive = processes()
      .map(({ pid }) => pid)
      .filter((pid) => pids.includes(pid))
    if (alive.length === 0) return
    if (performance.now() > until) throw new Error(`still there: ${alive.join(', ')}`)
    await sleep(POLL_MS)
  }
}

/** Those of a test that failed. */
function endAll(pids: readonly number[]): void {
  for (const { pid } of processes()) if (pids.includes(pid)) process.kill(pid, 'SIGKILL')
}

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer()
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })

const ports = async (): Promise<string[]> => [
  '--nats-port',
  String(await freePort()),
  '--http-port',
  String(await freePort()),
]

const scratch = mkdtempSync(join(tmpdir(), 'headgate-up-'))
afterAll(() => rmSync(scratch, { recursive: true, force: true }))

const serverDirs = () => readdirSync(scratch).filter((name) => name.startsWith('headgate-nats-'))

const body = {
  model: 'claude-haiku-4-5',
  max_tokens: 8,
  messages: [{ role: 'user' as const, content: 'hello' }],
}
const forAnHour = JSON.stringify({ ...body, metadata: { simulated_service_ms: 3_600_000 } })

describe('started by npm', () => {
  test.each([
    ['npm run -s headgate -- serve', ['run', '-s', 'headgate', '--', 'serve']],
    ['npm start', ['-s', 'start', '--']],
  ])(
    '%s: SIGTERM to npm drains, and nobody is left',
    async (_, args) => {
      const more = args.includes('start') ? await ports() : []
      const one = started('npm', [...args, ...more], {
        HEADGATE_BUS: 'memory',
        HEADGATE_HTTP_PORT: '0',
      })
      await one.said(/"msg":"ready"|Ctrl-C ends it/)
      const family = one.family()
      try {
        expect(family.length).toBeGreaterThanOrEqual(3)
        one.child.kill('SIGTERM')
        // Not its output: whoever is left holds that open.
        await gone(family)
        expect(await one.ended).toBe(0)
        expect(one.output()).toMatch(/stopped/)
      } finally {
        endAll(family)
      }
    },
    60_000,
  )
})

describe('headgate up', () => {
  test('starts everything, answers, obeys, and leaves nothing behind', async () => {
    const up = headgate(['up', ...(await ports())], { TMPDIR: scratch })
    const [, url = ''] = await up.said(/NATS +(nats:\/\/\S+)/)
    const [, operator = ''] = await up.said(/dashboard +(http:\/\/\S+)/)
    const [, token = ''] = await up.said(/token +(\S+)/)
    await up.said(/first answer in \d+ ms/)
    await up.said(/Ctrl-C ends it/)
    const family = up.family()
    expect(family.length).toBeGreaterThanOrEqual(4)
    expect(serverDirs()).toHaveLength(1)

    const client = await connectHeadgate({ tenant: 'acme', servers: url })
    try {
      const answer = await client.request(body)
      expect(answer.accounting).toMatchObject({ outcome: 'completed', attempts: 1 })
      const stream = client.stream(body)
      expect((await stream.final).outcome).toBe('completed')

      const long = client.request(forAnHour, { id: 'long' })
      const refused = long.catch((error: unknown) => error)
      while ((await client.status('long').catch(() => null))?.state !== 'running')
        await sleep(POLL_MS)
      const at = ['--nats', url]
      expect(call(['status', 'acme', 'long', ...at]).stdout).toContain('acme/long: running')
      expect(call(['cancel', 'acme', 'long', ...at])).toMatchObject({ status: 0 })
      expect(await refused).toMatchObject({ code: 'cancelled' })
      expect(call(['cancel', 'acme', 'nobody', ...at, '--json'])).toMatchObject({ status: 1 })
      expect(call(['status', 'acme', 'nobody', ...at])).toMatchObject({ status: 1, stdout: '' })

      const said = call(['request', '--message', 'hi', '--max-tokens', '8', '--stream', ...at])
      expect(said.status).toBe(0)
      expect(said.stdout.trim().length).toBeGreaterThan(10)
      expect(said.stderr).toMatch(/completed: \d+ ms queued, .* 1 attempt, \d+ \+ 8 tokens/)
      const raw = call(['request', JSON.stringify({ ...body, model: 'gpt' }), '--json', ...at])
      expect(raw.status).toBe(1)
      expect(JSON.parse(raw.stdout)).toMatchObject({ headgate: { code: 'upstream_error' } })

      expect(call(['emergency', 'on', ...at]).stdout).toContain('is on')
      const seen = snapshot.parse(JSON.parse(call(['top', '--once', '--json', ...at]).stdout))
      expect(seen).toMatchObject({ emergency: true, global: { limit: 48 } })
      expect(call(['emergency', 'off', ...at, '--json']).stdout).toContain('"emergency": false')
      expect(call(['top', '--once', ...at]).stdout).toMatch(/in flight 0 of 60.*premium/s)

      const allowed = { authorization: `Bearer ${token}` }
      const admin = await fetch(`${operator}/api/admin/snapshot`, {
        method: 'POST',
        headers: allowed,
      })
      expect(admin.status).toBe(200)
      expect(call(['doctor'], { NATS_URL: url })).toMatchObject({ status: 0 })

      // A request that would run for an hour, and no patience for it.
      const lost = client.request(forAnHour, { id: 'lost' }).catch((error: unknown) => error)
      while ((await client.status('lost').catch(() => null))?.state !== 'running')
        await sleep(POLL_MS)
      up.child.kill('SIGINT')
      await up.said(/stopping/)
      // npm passes on a Ctrl-C a second time; that one hurries nobody.
      up.child.kill('SIGINT')
      await sleep(ONE_SIGNAL_MS)
      up.child.kill('SIGINT')
      expect(await up.ended).toBe(0)
      expect(up.output()).toContain('stopped')
      await gone(family)
      expect(serverDirs()).toEqual([])
      await client.close()
      expect(await lost).toBeInstanceOf(HeadgateError)
    } finally {
      await client.close()
    }
  }, 180_000)

  test('leaves nothing behind when it is killed', async () => {
    const up = headgate(['up', ...(await ports())], { TMPDIR: scratch })
    await up.said(/Ctrl-C ends it/)
    const family = up.family()
    up.child.kill('SIGKILL')
    await up.ended
    await gone(family)
    expect(serverDirs()).toEqual([])
  })

  test('ends with status 1 when its scheduler dies', async () => {
    const up = headgate(['up', ...(await ports())], { TMPDIR: scratch })
    await up.said(/Ctrl-C ends it/)
    const family = up.family()
    const { stdout } = spawnSync('ps', ['-eo', 'pid=,args='], { encoding: 'utf8' })
    const line = stdout.split('\n').find((one) => {
      const [pid] = one.trim().split(/\s+/)
      return family.includes(Number(pid)) && one.includes('scheduler/main')
    })
    process.kill(Number(line?.trim().split(/\s+/)[0]), 'SIGKILL')
    expect(await up.ended).toBe(1)
    expect(up.output()).toContain('the scheduler was ended by SIGKILL')
    await gone(family)
  })

  test('brings its nats-server back when that is killed', async () => {
    const up = headgate(['up', ...(await ports())], { TMPDIR: scratch })
    const [, url = ''] = await up.said(/NATS +(nats:\/\/\S+)/)
    await up.said(/Ctrl-C ends it/)
    const family = up.family()
    const { stdout } = spawnSync('ps', ['-eo', 'pid=,comm='], { encoding: 'utf8' })
    const line = stdout.split('\n').find((one) => {
      const [pid, name] = one.trim().split(/\s+/)
      return name === 'nats-server' && family.includes(Number(pid))
    })
    process.kill(Number(line?.trim().split(/\s+/)[0]), 'SIGKILL')
    await up.said(/nats-server ended unexpectedly; starting it again/)
    await up.said(/NATS is connected again[^]*NATS is connected again/)
    // Some of its connections are back before the one that listens.
    const asked = ['request', '--message', 'hi', '--max-tokens', '8', '--nats', url]
    while (call(asked).status !== 0) expect(up.output()).not.toContain('ended by')
    const whole = up.family()
    up.child.kill('SIGINT')
    expect(await up.ended).toBe(0)
    await gone(whole)
  })

  test('works without a nats-server, and says what that means', async () => {
    const env = { HEADGATE_NATS_SERVER: 'none' }
    const up = headgate(['up', '--http-port', '0'], env)
    await up.said(/bus +in memory: HEADGATE_NATS_SERVER is none/)
    await up.said(/put nats-server 2\.10 or later on PATH/)
    await up.said(/first answer in \d+ ms/)
    await up.said(/Ctrl-C ends it/)
    const family = up.family()
    up.child.kill('SIGINT')
    expect(await up.ended).toBe(0)
    await gone(family)
  })

  test('gives up cleanly while it is still starting', async () => {
    const up = headgate(['up', ...(await ports())], { TMPDIR: scratch })
    while (up.family().length < 3) await sleep(POLL_MS)
    const family = up.family()
    up.child.kill('SIGINT')
    expect(await up.ended).toBe(0)
    await gone(family)
    expect(serverDirs()).toEqual([])
  })

  test('says what is wrong with a configuration, and ends with status 1', async () => {
    const path = join(scratch, 'wrong.yaml')
    writeFileSync(path, 'llm_gateway: { timeout: 5 }\n')
    const up = headgate(['up', '--config', path, ...(await ports())])
    const family = up.family()
    expect(await up.ended).toBe(1)
    expect(up.output()).toContain('llm_gateway.timeout: unknown key')
    await gone(family)
  })
})

describe('a replay', () => {
  test('ends with every request answered once and nothing held', async () => {
    const path = join(scratch, 'trace.csv')
    const rows = Array.from(
      { length: 400 },
      (_, n) => `${n * 0.9},${50 + (n % 7) * 100},${20 + (n % 11) * 15}`,
    )
    writeFileSync(path, ['TIMESTAMP,ContextTokens,GeneratedTokens', ...rows].join('\n'))
    const calm = ['--no-storm', '--load', '0.5', '--json']
    const args = ['up', '--trace', path, '--speed', '20', '--for', '6', ...calm, ...(await ports())]
    const up = headgate(args)
    await up.said(/replay: \d+ requests/)
    const family = up.family()
    expect(await up.ended).toBe(0)
    await gone(family)
    const report = JSON.parse(/^\{[\s\S]*^\}/m.exec(up.output())?.[0] ?? '') as {
      totals: { offered: number; completed: number; refused: number; failed: number }
      checks: { ok: boolean }[]
      settings: { seed: number }
    }
    const { offered, completed, refused, failed } = report.totals
    expect(offered).toBeGreaterThan(500)
    expect(completed).toBeGreaterThan(offered * 0.9)
    expect(offered).toBe(completed + refused + failed)
    expect(report.checks.map(({ ok }) => ok)).toEqual([true, true, true, true])
    expect(report.settings.seed).toBe(1)
    // A start, six seconds of traffic and a drain: a busy machine needs more than the usual.
  }, 180_000)

  test('stops when it is told to', async () => {
    const up = headgate(['up', '--steady', '--no-storm', '--for', '600', ...(await ports())])
    await up.said(/\d s of 600/)
    const family = up.family()
    up.child.kill('SIGINT')
    expect(await up.ended).toBe(0)
    expect(up.output()).not.toContain('FAIL')
    await gone(family)
  }, 180_000)

  test('never goes to an upstream that is not simulated', async () => {
    const path = join(scratch, 'elsewhere.yaml')
    writeFileSync(path, 'upstreams: { default: { base_url: "http://127.0.0.1:9" } }\n')
    const up = headgate(['up', '--steady', '--config', path, ...(await ports())])
    expect(await up.ended).toBe(1)
    expect(up.output()).toContain('a replay goes to the simulated provider only')
  })
})

describe('headgate serve and provider', () => {
  test('serve what NATS_URL and ANTHROPIC_BASE_URL name, and drain on SIGTERM', async () => {
    const server = await natsServer()
    try {
      const provider = headgate(['provider', '--port', '0', '--json', '--speed', '10'])
      const [, upstream = ''] = await provider.said(/"url":"([^"]+)"/)
      const serve = headgate(['serve'], {
        NATS_URL: server.url,
        ANTHROPIC_BASE_URL: upstream,
        ANTHROPIC_API_KEY: 'any',
        HEADGATE_HTTP_PORT: '0',
      })
      await serve.said(/"msg":"ready"/)
      const said = call(['request', '--message', 'hi'], { NATS_URL: server.url })
      expect(said.status).toBe(0)
      const family = [...serve.family(), ...provider.family()]
      serve.child.kill('SIGTERM')
      expect(await serve.ended).toBe(0)
      expect(serve.output()).toContain('"msg":"stopped"')
      provider.child.kill('SIGTERM')
      expect(await provider.ended).toBe(0)
      await gone(family)
    } finally {
      await server.stop()
    }
  })

  test('without a server ends with status 1 and says so', () => {
    const run = call(['serve'], { NATS_URL: 'nats://127.0.0.1:9', HEADGATE_HTTP_PORT: '0' })
    expect(run.status).toBe(1)
    expect(run.stderr).toContain('127.0.0.1:9')
  })
})
