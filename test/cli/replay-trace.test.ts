/** A trace is read as it is, or the line that cannot be read is named. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { readColumns } from '#contracts/trace-file'
import { readTrace } from '../../services/cli/replay-trace.ts'

const HEADER = 'TIMESTAMP,ContextTokens,GeneratedTokens'
const dir = mkdtempSync(join(tmpdir(), 'headgate-trace-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

const read = (lines: string[], untilS = 3_600) => readColumns(lines, { path: 'a.csv', untilS })

describe('a trace', () => {
  test('is read from a file, with seven digits of fraction', async () => {
    const path = join(dir, 'azure.csv')
    const rows = ['2023-11-16 18:15:46.6805900,374,44', '2023-11-16 18:15:50.9951690,396,109']
    writeFileSync(path, `\uFEFF${HEADER}\r\n${rows.join('\r\n')}\r\n`)
    const trace = await readTrace({ path, untilS: 60 })
    expect(trace.rows.map(({ input, output }) => [input, output])).toEqual([
      [374, 44],
      [396, 109],
    ])
    expect(trace.lastS).toBeCloseTo(4.314579, 4)
    expect(trace.cut).toBe(false)
  })

  test.each([
    ['2024-05-10 00:00:00.009930+00:00', '2024-05-10 00:00:01.009930+00:00'],
    ['2024-05-10T00:00:00Z', '2024-05-10T00:00:01Z'],
    ['2024-05-10T02:00:00+0200', '2024-05-10T00:00:01Z'],
    ['17.5', '18.5'],
  ])('may have times like %s', async (first, second) => {
    const trace = await read([HEADER, `${first},1,2`, `${second},3,4`])
    expect(trace.lastS).toBeCloseTo(1, 6)
  })

  test('is read only as far as it is needed', async () => {
    const trace = await read([HEADER, '0,1,1', '5,1,1', '10,1,1', 'never looked at'], 7)
    expect(trace.rows).toHaveLength(2)
    expect(trace.cut).toBe(true)
  })

  test('without rows is none', async () => {
    await expect(read([])).rejects.toThrow('a.csv: it is empty; expected the header')
    await expect(read([HEADER])).rejects.toThrow('a.csv: no row of data under the header')
    const path = join(dir, 'short.csv')
    const replayed = (rows: string) => {
      writeFileSync(path, `${HEADER}\n${rows}\n`)
      return readTrace({ path, untilS: 60 })
    }
    await expect(replayed('0,1,1')).rejects.toThrow('at least 2 rows')
    // It has no length, and a replay lays it end to end.
    await expect(replayed('7,1,1\n7,1,1')).rejects.toThrow('every row has the same TIMESTAMP')
  })

  test.each([
    [['a,b,c'], 'line 1: expected the header TIMESTAMP,ContextTokens,GeneratedTokens'],
    [[HEADER, '1,2'], 'line 2: expected 3 columns, found 2'],
    [[HEADER, 'yesterday,2,3'], 'line 2: TIMESTAMP: expected'],
    [[HEADER, '2023-13-41 00:00:00,2,3'], 'line 2: TIMESTAMP: expected'],
    [[HEADER, '0,2,3', '1,-2,3'], 'line 3: ContextTokens: expected a whole number'],
    [[HEADER, '0,2,3', '1,2,many'], 'line 3: GeneratedTokens: expected a whole number'],
    [[HEADER, '5,2,3', '', '4,2,3'], 'line 4: TIMESTAMP: "4" is earlier than the line before'],
  ])('that is wrong is refused by its line: %j', async (lines, said) => {
    await expect(read(lines)).rejects.toThrow(`a.csv: ${said}`)
  })

  test('that is not there is named', async () => {
    const path = join(dir, 'none.csv')
    await expect(readTrace({ path, untilS: 1 })).rejects.toThrow('cannot be read (ENOENT)')
  })
})
