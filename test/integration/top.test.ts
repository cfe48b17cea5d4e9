/** `headgate top` in a real terminal: tmux draws it, presses its keys and says what stands there. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { connectHeadgate } from '#client'
import { CLEAN } from '../support/stack.ts'
import { inRoot } from '../support/tree.ts'

const HEADGATE = inRoot('services/cli/headgate.ts')
const POLL_MS = 100
const SEEN_WITHIN_MS = 20_000

/** Nor a word about the terminal. */
const BARE = { ...CLEAN, NO_COLOR: undefined, FORCE_COLOR: undefined, TMUX: undefined }

const present = spawnSync('tmux', ['-V']).status === 0
if (!present)
  process.stderr.write('headgate top in a terminal is not tested: there is no tmux on PATH\n')

const scratch = mkdtempSync(join(tmpdir(), 'headgate-top-'))
/** One for each session: a server whose last session has ended may still be on its way out. */
let socket = join(scratch, 'tmux')
let sessions = 0
const tmux = (...args: string[]): string => {
  const run = spawnSync('tmux', ['-u', '-S', socket, '-f', '/dev/null', ...args], {
    encoding: 'utf8',
    env: { ...process.env, ...BARE, TERM: 'xterm-256color', LC_ALL: 'C.UTF-8' },
  })
  if (run.status !== 0) throw new Error(`tmux ${args.join(' ')}: ${run.stderr}`)
  return run.stdout
}
const shownNow = (): string => tmux('capture-pane', '-p', '-t', 'top')
const press = (...keys: string[]): string => tmux('send-keys', '-t', 'top', ...keys)
const flag = (name: string): string => tmux('display', '-p', '-t', 'top', `#{${name}}`).trim()

/** What stands there once the words do. */
async function seen(words: RegExp): Promise<string> {
  const until = performance.now() + SEEN_WITHIN_MS
  for (;;) {
    const now = shownNow()
    if (words.test(now)) return now
    if (performance.now() > until) throw new Error(`never saw ${String(words)}:\n${now}`)
    await sleep(POLL_MS)
  }
}

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer()
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })

describe.runIf(present)('headgate top in tmux', () => {
  let up: ChildProcess
  let url = ''

  /** The scheduler's process of our own stack, by its parentage. */
  const schedulerPid = (): number => {
    const { stdout } = spawnSync('ps', ['-eo', 'pid=,ppid=,args='], { encoding: 'utf8' })
    const all = stdout.split('\n').map((line) => line.trim().split(/\s+/))
    const below = (pid: number): string[][] =>
      all
        .filter(([, parent]) => Number(parent) === pid)
        .flatMap((one) => [one, ...below(Number(one[0]))])
    const found = below(up.pid ?? 0).find((one) => one.join(' ').includes('scheduler/main'))
    return Number(found?.[0])
  }
  const start = (size: { columns: number; rows: number }, env = ''): void => {
    const { columns, rows } = size
    socket = join(scratch, `tmux-${++sessions}`)
    tmux('new-session', '-d', '-s', 'top', '-x', String(columns), '-y', String(rows), 'sh')
    press(`PS1='$ '; clear; echo before; ${env} ${process.execPath} ${HEADGATE} top --nats ${url}`)
    press('Enter')
  }

  beforeAll(async () => {
    const ports = ['--nats-port', String(await freePort()), '--http-port', String(await freePort())]
    up = spawn(process.execPath, [HEADGATE, 'up', ...ports], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, ...BARE, TMPDIR: scratch },
    })
    url = await new Promise<string>((resolve, reject) => {
      let output = ''
      up.stdout?.on('data', (data: Buffer) => {
        output += data.toString()
        const [, found] = /NATS +(nats:\/\/\S+)/.exec(output) ?? []
        if (found !== undefined && output.includes('Ctrl-C ends it')) resolve(found)
      })
      up.once('close', () => reject(new Error(`headgate up ended:\n${output}`)))
    })
  })
  // One that uses no terminal has no session.
  afterEach(() => void spawnSync('tmux', ['-S', socket, 'kill-session', '-t', 'top']))
  afterAll(async () => {
    const ended = new Promise((resolve) => up.once('close', resolve))
    up.kill('SIGINT')
    await ended
    spawnSync('tmux', ['-S', socket, 'kill-server'])
    rmSync(scratch, { recursive: true, force: true })
  })

  test('shows lanes, route and breaker, follows the size, and gives the terminal back at q', async () => {
    const client = await connectHeadgate({ tenant: 'acme', servers: url })
    const message = { role: 'user' as const, content: 'hello' }
    const metadata = { simulated_service_ms: 3_600_000 }
    const body = { model: 'claude-haiku-4-5', max_tokens: 8, messages: [message], metadata }
    const left = new AbortController()
    const long = client
      .request(JSON.stringify(body), { signal: left.signal, lane: 'premium' })
      .catch(() => null)
    try {
      start({ columns: 80, rows: 24 })
      const narrow = await seen(/^acme +1 /m)
      for (const lane of ['premium', 'interactive', 'batch'])
        expect(narrow).toMatch(new RegExp(`^${lane} +\\d+ of \\d+`, 'm'))
      expect(narrow).toMatch(/haiku-4-5 +█+░+ 1 of \d+ .*\bclosed\b/)
      expect(narrow).toMatch(/guardrails met +level 0: normal +emergency off/)
      expect(narrow).not.toContain('before')
      expect(flag('alternate_on')).toBe('1')
      expect(flag('cursor_flag')).toBe('0')

      tmux('resize-window', '-t', 'top', '-x', '120', '-y', '40')
      const wide = await seen(/guarantee/)
      expect(wide).toMatch(/^premium +1 of \d+ .*\d/m)
      expect(wide.match(/^headgate top/gm)).toHaveLength(1)
      tmux('resize-window', '-t', 'top', '-x', '60', '-y', '12')
      await sleep(1_500)
      const small = shownNow()
      expect(small).toMatch(/^headgate top/)
      expect(small.match(/^headgate top/gm)).toHaveLength(1)
      expect(small).toMatch(/closed/)

      press('q')
      const after = await seen(/^\$ *$/m)
      expect(after).toContain('before')
      expect(after).not.toContain('premium')
      expect([flag('alternate_on'), flag('cursor_flag')]).toEqual(['0', '1'])
      // The line is edited and echoed again.
      press('clear; echo st""ill; stty -a | grep isig', 'Enter')
      expect(await seen(/^still$/m)).toContain('still')
      expect(await seen(/isig/)).not.toMatch(/-(isig|icanon|echo)\b/)
    } finally {
      left.abort()
      await long
      await client.close()
    }
  }, 180_000)

  test('ends at Ctrl-C, and draws no colours where NO_COLOR is set', async () => {
    start({ columns: 100, rows: 30 }, 'NO_COLOR=1')
    await seen(/^premium +\d+ of/m)
    const SGR = /\u001b\[[0-9;]*m/
    expect(tmux('capture-pane', '-e', '-p', '-t', 'top')).not.toMatch(SGR)
    press('C-c')
    expect(await seen(/^\$ *$/m)).toContain('before')
    press('echo status $?', 'Enter')
    expect(await seen(/^status \d/m)).toMatch(/^status 0$/m)

    press('clear', 'Enter')
    press(`${process.execPath} ${HEADGATE} top --nats ${url}`, 'Enter')
    await seen(/^premium +\d+ of/m)
    expect(tmux('capture-pane', '-e', '-p', '-t', 'top')).toMatch(SGR)
  }, 180_000)

  test('says that the scheduler is gone, and recovers alone', async () => {
    start({ columns: 100, rows: 30 })
    await seen(/^premium +\d+ of/m)
    const pid = schedulerPid()
    process.kill(pid, 'SIGSTOP')
    try {
      const gone = await seen(/NO ANSWER FROM THE SCHEDULER for \d+/)
      // The last picture stands below it.
      expect(gone).toMatch(/^premium +\d+ of/m)
    } finally {
      process.kill(pid, 'SIGCONT')
    }
    const until = performance.now() + SEEN_WITHIN_MS
    while (shownNow().includes('NO ANSWER') && performance.now() < until) await sleep(POLL_MS)
    expect(shownNow()).not.toContain('NO ANSWER')
    expect(shownNow()).toMatch(/guardrails met/)
  }, 180_000)

  test('--once is plain text, as wide as it is told', () => {
    const run = spawnSync(process.execPath, [HEADGATE, 'top', '--once', '--nats', url], {
      encoding: 'utf8',
      env: { ...process.env, ...BARE, FORCE_COLOR: '1', COLUMNS: '80' },
    })
    expect(run.stderr).toBe('')
    expect(run.stdout).not.toContain('\u001b')
    expect(run.stdout).toMatch(/^premium +0 of \d+/m)
    expect(run.stdout.split('\n').filter((line) => line.length > 80)).toEqual([])
  })
})
