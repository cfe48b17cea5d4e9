/** The commands of durable jobs, on a real nats-server: submit, result, jobs. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { body, endOf, openHouse, type House } from '../support/house.ts'
import { inRoot } from '../support/tree.ts'

let house: House
let dir: string
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'headgate-jobs-'))
  house = await openHouse({ jobs: true })
})
afterAll(async () => {
  await house.close()
  rmSync(dir, { recursive: true, force: true })
})

/** Beside us, since the scheduler that answers is in this process. */
function begin(...args: string[]) {
  const child = spawn(process.execPath, [inRoot('services/cli/headgate.ts'), ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NATS_URL: house.nats.url, HEADGATE_CONFIG: '' },
  })
  const ended = Promise.all([
    once(child, 'exit') as Promise<[number | null]>,
    text(child.stdout),
    text(child.stderr),
  ]).then(([[status], stdout, stderr]) => ({ status, stdout, stderr }))
  return { child, ended }
}
const command = (...args: string[]) => begin(...args).ended

const file = (name: string, lines: readonly string[]): string => {
  const path = join(dir, name)
  writeFileSync(path, `${lines.join('\n')}\n`)
  return path
}
const line = (n: number) => JSON.stringify(body({ metadata: { user_id: `${n}` } }))
const objects = (text: string) =>
  text
    .trim()
    .split('\n')
    .filter(Boolean)
    .map((one) => JSON.parse(one) as Record<string, unknown>)

describe('headgate submit', () => {
  test('stores a job, and headgate result prints its answer', async () => {
    const stored = await command('submit', '--message', 'Hello', '--tenant', 'acme', '--id', 'one')
    expect(stored).toMatchObject({ status: 0, stderr: '' })
    expect(stored.stdout).toContain('stored: one\n')
    const answer = await command('result', 'one', '--tenant', 'acme', '--wait')
    expect(answer.status).toBe(0)
    expect(answer.stdout.trim().length).toBeGreaterThan(10)
    expect(answer.stderr).toMatch(/^\[one completed: \d+ ms queued/)
    const again = await command(
      'submit',
      '--message',
      'Hello',
      '--tenant',
      'acme',
      '--id',
      'one',
      '--json',
    )
    expect(JSON.parse(again.stdout)).toMatchObject({ id: 'one', duplicate: true })
    const other = await command('submit', '--message', 'Other', '--tenant', 'acme', '--id', 'one')
    expect([other.status, other.stdout]).toEqual([1, ''])
    expect(other.stderr).toContain('headgate: duplicate_id: ')
  })

  test('of a file stores each line once, however often it is run, and names the lines that are none', async () => {
    const path = file('night.ndjson', [
      line(1),
      '',
      '{"custom_id":"mine","params":{"model":"claude-haiku-4-5","max_tokens":5,"messages":[{"role":"user","content":"x"}]}}',
      'no json',
      '{"model":"claude-haiku-4-5"}',
      '{"custom_id":"a.b","params":{}}',
      line(7),
    ])
    const first = await command('submit', '--file', path, '--tenant', 'acme', '--json')
    expect(first.status).toBe(1)
    expect(
      objects(first.stdout)
        .map(({ id }) => id)
        .toSorted(),
    ).toEqual(['mine', 'night-1', 'night-7'])
    expect(first.stderr).toContain(`${path}:4: expected one JSON object a line`)
    expect(first.stderr).toContain(`${path}:5: invalid_request: `)
    expect(first.stderr).toContain(`${path}:6: custom_id: expected 1 to 64 characters`)
    expect(first.stderr).toContain('3 stored, 0 there already, 3 not stored')
    const again = await command('submit', '--file', path, '--tenant', 'acme')
    expect(again.stderr).toContain('0 stored, 3 there already, 3 not stored')
  })

  test('of a file that was ended in the middle goes on, and loses nothing', async () => {
    const lines = Array.from({ length: 400 }, (_, n) => line(n))
    const args = [
      'submit',
      '--file',
      file('long.ndjson', lines),
      '--tenant',
      'acme',
      '--at-once',
      '2',
    ]
    const cut = begin(...args, '--json')
    cut.child.stdout.once('data', () => cut.child.kill('SIGINT'))
    const ended = await cut.ended
    const before = objects(ended.stdout).length
    expect(ended.status).toBe(1)
    expect(ended.stderr).toContain('run the same again to go on')
    expect(before).toBeGreaterThan(0)
    expect(before).toBeLessThan(400)
    const rest = await command(...args.slice(0, -2))
    expect(rest.stderr).toBe(`${400 - before} stored, ${before} there already, 0 not stored\n`)
    expect(rest.status).toBe(0)
    const ends = lines.map((_, n) => endOf(house.client.jobs.wait(`long-${n + 1}`)))
    expect(new Set(await Promise.all(ends))).toEqual(new Set(['completed']))
  })
})

describe('headgate result', () => {
  test('of a job that is not over says so, and waits no longer than it is told', async () => {
    await house.client.submit(body(), { id: 'late', notBeforeMs: 600_000, lane: 'batch' })
    for (const more of [[], ['--wait', '--timeout', '300']]) {
      const { status, stderr, stdout } = await command(
        'result',
        'late',
        '--tenant',
        'acme',
        ...more,
      )
      expect([status, stdout]).toEqual([1, ''])
      expect(stderr).toContain('headgate: pending: ')
    }
    const nobody = await command('result', 'nobody', '--tenant', 'acme', '--wait')
    expect(nobody.stderr).toContain('headgate: unknown_id: ')
    expect(nobody.status).toBe(1)
  })
})

describe('headgate jobs', () => {
  test('lists what is stored, and cancels what is not over', async () => {
    for (const id of ['w1', 'w2'])
      await house.client.submit(body(), { id, notBeforeMs: 200_000, lane: 'premium' })
    const listed = await command('jobs', '--tenant', 'acme', '--lane', 'premium')
    expect(listed.status).toBe(0)
    expect(listed.stdout).toMatch(/^acme\/w1 +premium +delayed \d+ s +until 20.*\nacme\/w2 /)
    const one = await command('jobs', '--lane', 'premium', '--oldest', '1', '--json')
    expect(objects(one.stdout)).toMatchObject([{ id: 'w1', state: 'delayed', lane: 'premium' }])
    expect(await command('jobs', 'drop', 'acme', 'w1')).toMatchObject({
      ...{ status: 0, stdout: 'cancelled; it was queued\n' },
    })
    expect(await endOf(house.client.result('w1'))).toBe('cancelled')
    expect((await command('jobs', 'drop', 'acme', 'w1')).stdout).toBe(
      'acme/w1 is over, and not dead\n',
    )
    expect((await command('jobs', 'drop', 'acme', 'nobody')).stdout).toBe(
      'nobody knows acme/nobody\n',
    )
    const none = await command('jobs', '--tenant', 'nobody')
    expect([none.status, none.stdout, none.stderr]).toEqual([0, '', 'no job of that kind\n'])
  })

  test('shows the dead with the reason, puts one in line again, and forgets one', async () => {
    house.provider.fault({ kind: 'internal_500' })
    for (const id of ['d1', 'd2']) {
      await house.client.submit(body(), { id, lane: 'batch', maxAttempts: 1 })
      expect(await endOf(house.client.jobs.wait(id))).toBe('retries_exhausted')
    }
    house.provider.clear()
    const dead = await command('jobs', '--dead', '--json')
    expect(objects(dead.stdout)).toMatchObject([
      { id: 'd1', dead_reason: 'retries_exhausted' },
      { id: 'd2', dead_reason: 'retries_exhausted' },
    ])
    expect(await command('jobs', 'requeue', 'acme', 'd1', '--nats', house.nats.url)).toMatchObject({
      ...{ status: 0, stdout: 'in line again\n' },
    })
    expect(await endOf(house.client.jobs.wait('d1'))).toBe('completed')
    expect((await command('jobs', 'drop', 'acme', 'd2')).stdout).toBe('dropped\n')
    expect(await endOf(house.client.result('d2'))).toBe('retries_exhausted')
    expect((await command('jobs', '--dead')).stdout).toBe('')
    expect(await command('jobs', 'requeue', 'acme', 'd2')).toMatchObject({
      ...{ status: 1, stdout: 'no dead job acme/d2\n' },
    })
  })
})
