/** One client in one case. */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { TEXT } from '../support/canned-claude.ts'
import { cases, openScene, WEATHER, WORDS, type Case, type CaseName, type Scene } from './cases.ts'
import type { Client } from './clients.ts'
import { CACHE, type Install } from './installs.ts'

/** What a program says at its end. */
type Said = { ms: number; pieces?: number; at: number } & (
  { text: string } | { error: { type: string; message: string } }
)

export interface Cell {
  /** Empty: as it should be; else what is wrong, in words. */
  wrong: string
  /** Messages calls upstream. */
  calls: number
  /** From the call to its end; of a call that fails, from the first one upstream to when the program says no,
   *  so that it is not the time that a program takes to begin. */
  ms: number
  /** What was raised. */
  type?: string
  /** The upstream's words, or of a deadline ours, are among those of the error. */
  words?: boolean
  /** What it said, for whoever looks into it. */
  message?: string
}

/** It was ended, having said nothing for as long as we wait. */
export const STILL_ASKING = 'still asking'
const REST_MS = 5_000

export interface Run {
  client: Client
  name: CaseName
  install: Exclude<Install, { missing: string }>
  patienceMs: number
  /** Headgate's own waits between attempts are next to nothing; what the client then does is the same. */
  shortWaits: boolean
}

export async function runCell(run: Run): Promise<Cell> {
  const { client, name, install, patienceMs, shortWaits } = run
  const one: Case = cases[name]
  const scene = await openScene(name, { way: client.way, shortWaits })
  const home = mkdtempSync(join(tmpdir(), 'headgate-client-'))
  try {
    const { command, dir } = install
    const args = [
      ...install.args,
      ...(command === '' ? [] : [client.program]),
      scene.url,
      name,
      one.retriesOff === true ? '0' : 'default',
      String(one.deadlineMs ?? 'lane'),
      ...(client.more ?? []),
      ...(install.more ?? []),
    ]
    const said = await told({
      command: command === '' ? join(dir, client.program) : command,
      args,
      cwd: dir,
      home,
      patienceMs,
    })
    return await judged(said, { name, scene, patienceMs })
  } finally {
    await scene.close()
    rmSync(home, { recursive: true, force: true })
  }
}

/** Null: it was ended. */
async function judged(
  said: Said | string | null,
  { name, scene, patienceMs }: { name: CaseName; scene: Scene; patienceMs: number },
): Promise<Cell> {
  const calls = scene.calls()
  if (said === null) return { wrong: STILL_ASKING, calls, ms: patienceMs }
  if (typeof said === 'string') return { wrong: said, calls, ms: 0 }
  const { upstream, deadlineMs }: Case = cases[name]
  if (typeof upstream === 'object') {
    if (!('error' in said)) return { wrong: 'it did not fail', calls, ms: said.ms }
    const { type, message } = said.error
    const words = message.includes(deadlineMs === undefined ? WORDS : `deadline of ${deadlineMs}`)
    const ms = Math.round(said.at - (scene.firstAt() ?? said.at))
    return { wrong: '', calls, ms, type, words, message }
  }
  if ('error' in said) {
    const { type, message } = said.error
    return { wrong: `${type}: ${message}`, calls, ms: said.ms }
  }
  return { wrong: await wrongWith(name, said, scene), calls, ms: said.ms }
}

async function wrongWith(
  name: CaseName,
  said: { text: string; pieces?: number },
  scene: Scene,
): Promise<string> {
  if (name === 'abort') {
    const late = Promise.withResolvers<string>()
    const timer = setTimeout(() => late.resolve(`held after ${REST_MS} ms`), REST_MS)
    const rested = await Promise.race([scene.rest().then(() => ''), late.promise])
    clearTimeout(timer)
    return rested
  }
  // A command also prints what was said before the tool was used.
  if (name === 'tools' ? !said.text.endsWith(TEXT) : said.text !== TEXT)
    return `another text: ${said.text}`
  if (name === 'streamed' && (said.pieces ?? 0) < 2) return `${said.pieces ?? 0} pieces`
  if (name === 'tools' && !scene.heard().includes(WEATHER)) return 'the tool gave nothing'
  return ''
}

/** The last line of stdout as JSON; a text where it said nothing of the kind. */
function told(of: {
  command: string
  args: readonly string[]
  cwd: string
  home: string
  patienceMs: number
}): Promise<Said | string | null> {
  const { command, args, cwd, home, patienceMs } = of
  const child = spawn(command, args, {
    cwd,
    // Nothing of the surroundings: neither a key nor a proxy nor settings.
    env: {
      PATH: process.env['PATH'],
      HOME: home,
      TMPDIR: home,
      LANG: 'C.UTF-8',
      NO_COLOR: '1',
      PYTHONPYCACHEPREFIX: join(CACHE, 'pyc'),
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  return new Promise((resolve) => {
    let [out, complaint, late, at] = ['', '', false, 0]
    const timer = setTimeout(() => {
      late = true
      child.kill('SIGKILL')
    }, patienceMs)
    child.stdout.on('data', (data: Buffer) => {
      out += data.toString()
      at = Date.now()
    })
    child.stderr.on('data', (data: Buffer) => (complaint += data.toString()))
    child.once('error', (error) => resolve(error.message))
    child.once('close', (status) => {
      clearTimeout(timer)
      const line = out.trim().split('\n').at(-1) ?? ''
      if (late) resolve(null)
      else if (line.startsWith('{')) resolve({ ...(JSON.parse(line) as Said), at })
      else resolve(`ended with ${status}: ${complaint.trim().slice(-2_000)}`)
    })
  })
}
