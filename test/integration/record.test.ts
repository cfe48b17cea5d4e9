/** `headgate record` beside a house that works, as an operator runs it. */
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { RecordedRequest } from '#contracts/recording'
import { readTraceFile } from '../../services/simulator/trace-file.ts'
import { body, endOf, openHouse, type House } from '../support/house.ts'
import { inRoot } from '../support/tree.ts'

const HEADGATE = inRoot('services/cli/headgate.ts')
const dir = mkdtempSync(join(tmpdir(), 'headgate-record-'))
let house: House

beforeAll(async () => {
  house = await openHouse()
})
afterAll(async () => {
  await house.close()
  rmSync(dir, { recursive: true, force: true })
})

/** Runs until it is told to end. */
async function recordInto(out: string, ...args: string[]) {
  const child = spawn(process.execPath, [HEADGATE, 'record', '--out', out, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NATS_URL: house.nats.url },
  })
  let said = ''
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
  const listening = Promise.withResolvers<void>()
  void ended.then(() => listening.reject(new Error(`it ended: ${said}`)))
  child.stderr.on('data', (data: Buffer) => {
    said += data.toString()
    if (said.includes('recording into')) listening.resolve()
  })
  await listening.promise
  return {
    ended,
    said: () => said,
    stop: async () => {
      child.kill('SIGINT')
      return ended
    },
  }
}

const linesOf = (path: string): unknown[] =>
  readFileSync(path, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown)

describe('headgate record', () => {
  test('writes what every tenant asked for, and the simulator can read it', async () => {
    const out = join(dir, 'one.ndjson')
    const recording = await recordInto(out)
    const answer = await house.client.request(body(), { deadlineMs: 15_000 })
    await house.client.as('globex').stream(body(), { lane: 'batch' }).final
    expect(await endOf(house.client.request(body(), { lane: 'nowhere' }))).toBe('unknown_lane')
    // Events are told a moment after the answers.
    while (linesOf(out).length < 4) await sleep(50)
    expect(await recording.stop()).toBe(0)
    expect(recording.said()).toContain('3 requests recorded')
    const [header, ...lines] = linesOf(out) as [object, ...RecordedRequest[]]
    expect(header).toMatchObject({ headgate: 'recording', version: 1, hashed_tenants: false })
    const asked = { model: 'claude-sonnet-4-5', max_tokens: 64, outcome: 'completed' }
    const { input_tokens, output_tokens } = answer.body.usage
    expect(lines).toMatchObject([
      { tenant: 'acme', lane: 'interactive', stream: false, deadline_ms: 15_000, ...asked },
      { tenant: 'globex', lane: 'batch', stream: true, deadline_ms: null, ...asked },
      { tenant: 'acme', lane: 'nowhere', outcome: 'refused', output_tokens: null },
    ])
    expect(lines[0]).toMatchObject({ input_tokens, output_tokens })
    expect(readFileSync(out, 'utf8')).not.toContain('planted')
    const arrivals = await readTraceFile({ path: out, untilMs: null })
    expect(arrivals.map(({ lane }) => lane)).toEqual(['interactive', 'batch'])
  })

  test('hides tenants, ends by itself, and overwrites only when it is told to', async () => {
    const out = join(dir, 'two.ndjson')
    writeFileSync(out, 'mine')
    const refused = spawnSync(process.execPath, [HEADGATE, 'record', '--out', out], {
      encoding: 'utf8',
    })
    expect(refused.stderr).toBe(`headgate: --out: ${out} exists; --force overwrites it\n`)
    expect(refused.status).toBe(2)
    expect(readFileSync(out, 'utf8')).toBe('mine')
    const recording = await recordInto(out, '--force', '--hash-tenants', '--for', '1')
    await house.client.request(body())
    expect(await recording.ended).toBe(0)
    const [, line] = linesOf(out) as [object, RecordedRequest]
    expect(line.tenant).toMatch(/^[0-9a-f]{12}$/)
    expect(readFileSync(out, 'utf8')).not.toContain('acme')
  })

  test('keeps what it heard when NATS goes away', async () => {
    const own = await openHouse()
    const out = join(dir, 'three.ndjson')
    const recording = await recordInto(out, '--nats', own.nats.url)
    await own.client.request(body())
    await own.rest()
    await own.close()
    expect(await recording.stop()).toBe(0)
    expect(linesOf(out)).toHaveLength(2)
  })
})
