/** Files of jobs as other programs write them. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { jobLines } from '../../services/cli/job-lines.ts'

let dir: string
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'headgate-lines-'))
})
afterAll(() => rmSync(dir, { recursive: true, force: true }))

const read = (bytes: string | Uint8Array): ReturnType<typeof jobLines> => {
  const path = join(dir, 'jobs.ndjson')
  writeFileSync(path, bytes)
  return jobLines(path, 'jobs')
}
async function all<T>(of: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = []
  for await (const one of of) found.push(one)
  return found
}
const LINE = '{"custom_id":"a","params":{"model":"ü"}}'

test('a byte order mark, CRLF and empty lines are none of the jobs', async () => {
  expect(await all(read(`\uFEFF${LINE}\r\n\r\n{"model":"m"}`))).toEqual([
    { line: 1, id: 'a', body: '{"model":"ü"}' },
    { line: 3, id: 'jobs-3', body: '{"model":"m"}' },
  ])
})

test('bytes that are no UTF-8 are refused where they stand, and never replaced', async () => {
  const bad = Buffer.concat([
    Buffer.from(`{"model":"`),
    Buffer.from([0xff, 0xfe]),
    Buffer.from('"}'),
  ])
  const lines = read(Buffer.concat([Buffer.from(`${LINE}\n`.repeat(5_000)), bad]))
  let seen = 0
  await expect(async () => {
    for await (const _ of lines) seen += 1
  }).rejects.toThrow(/jobs\.ndjson: after line \d+ its bytes are no UTF-8/)
  expect(seen).toBeLessThanOrEqual(5_000)
})

test('a file that is not there is told by its name', async () => {
  await expect(all(jobLines(join(dir, 'none'), 'none'))).rejects.toThrow(
    /none: cannot be read \(ENOENT\)/,
  )
})
