/** What a simulation reads: three columns or a recording, whole, or an error that names the place. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import type { RecordedRequest } from '#contracts/recording'
import { LINE_CHARS_MAX, linesOf, SPAN_MAX_S } from '#contracts/trace-file'
import { arrivalsOf, readTraceFile } from '../../services/simulator/trace-file.ts'

const COLUMNS = 'TIMESTAMP,ContextTokens,GeneratedTokens'
const HEADER = '{"headgate":"recording","version":1}'
const dir = mkdtempSync(join(tmpdir(), 'headgate-simulated-trace-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

const read = (text: string, untilMs: number | null = null) =>
  arrivalsOf(linesOf([text], 'a.csv'), { path: 'a.csv', untilMs })

const recorded = (of: Partial<Record<keyof RecordedRequest, unknown>> = {}) =>
  JSON.stringify({
    at_ms: 10,
    tenant: 'acme',
    lane: 'interactive',
    model: 'claude-x',
    stream: true,
    max_tokens: 64,
    deadline_ms: 30_000,
    input_tokens: 7,
    output_tokens: 12,
    queue_ms: 1,
    upstream_ms: 5,
    total_ms: 6,
    outcome: 'completed',
    code: null,
    attempts: 1,
    ...of,
  })
const recording = (...lines: string[]) => [HEADER, ...lines].join('\n')

describe('three columns', () => {
  test('say when and how much, and leave the rest open', async () => {
    expect(await read(`${COLUMNS}\n100,374,44\n100.25,396,109\n`)).toEqual([
      { ...NOTHING, atMs: 0, inputTokens: 374, outputTokens: 44 },
      { ...NOTHING, atMs: 250, inputTokens: 396, outputTokens: 109 },
    ])
  })

  test('may come with a byte order mark, CRLF, quotes and blank lines', async () => {
    const text = `\uFEFF"TIMESTAMP","ContextTokens","GeneratedTokens"\r\n\r\n0, 1 ,2\r\n\r\n`
    expect(await read(text)).toMatchObject([{ atMs: 0, inputTokens: 1, outputTokens: 2 }])
  })

  test('are read no further than they are needed', async () => {
    expect(await read(`${COLUMNS}\n0,1,1\n5,1,1\n10,1,1\nnever looked at`, 7_000)).toHaveLength(2)
  })

  test.each([
    ['', 'it is empty'],
    [`${COLUMNS}\n`, 'no row of data under the header'],
    [
      'a,b,c\n1,2,3',
      'line 1: expected the header TIMESTAMP,ContextTokens,GeneratedTokens, with or without ,prefix,prefix_tokens, found "a,b,c"',
    ],
    [
      '\u007fELF\u0000\u001b[31m',
      'line 1: expected the header TIMESTAMP,ContextTokens,GeneratedTokens, with or without ,prefix,prefix_tokens, found "\\u007fELF\\u0000\\u001b[31m"',
    ],
    [
      `${COLUMNS}\n0,NaN,3`,
      'line 2: ContextTokens: expected a whole number up to 10000000, found "NaN"',
    ],
    [
      `${COLUMNS}\n0,2,-3`,
      'line 2: GeneratedTokens: expected a whole number up to 10000000, found "-3"',
    ],
    [
      `${COLUMNS}\n0,99999999,3`,
      'line 2: ContextTokens: expected a whole number up to 10000000, found "99999999"',
    ],
    [
      `${COLUMNS}\n1e3,2,3`,
      'line 2: TIMESTAMP: expected 2023-11-16 18:15:46.68, or seconds as a number, found "1e3"',
    ],
    [`${COLUMNS}\n5,2,3\n\n4,2,3`, 'line 4: TIMESTAMP: "4" is earlier than the line before'],
    [
      `${COLUMNS}\n0,1,1\n${SPAN_MAX_S + 1},1,1`,
      `line 3: TIMESTAMP: ${SPAN_MAX_S + 1} s after the first row; at most ${SPAN_MAX_S}`,
    ],
    [`${COLUMNS}\n1,2,3,4`, 'line 2: expected 3 columns, found 4: "1,2,3,4"'],
    [
      'x'.repeat(LINE_CHARS_MAX + 1),
      `line 1: longer than ${LINE_CHARS_MAX} characters; is this a text file?`,
    ],
  ])('that are wrong are refused by their place: %j', async (text, said) => {
    await expect(read(text)).rejects.toThrow(`a.csv: ${said}`)
  })
})

describe('columns with a prefix', () => {
  const HEAD = `${COLUMNS},prefix,prefix_tokens`

  test('say what a call shares, where it shares anything', async () => {
    expect(await read(`${HEAD}\n0,40000,44,agent-7,30000\n1,374,44,,\n2,374,44,,0\n`)).toEqual([
      {
        ...{ ...NOTHING, atMs: 0, inputTokens: 40_000, outputTokens: 44 },
        marked: { name: 'agent-7', tokens: 30_000 },
      },
      { ...NOTHING, atMs: 1_000, inputTokens: 374, outputTokens: 44 },
      { ...NOTHING, atMs: 2_000, inputTokens: 374, outputTokens: 44 },
    ])
  })

  test.each([
    ['0,1,1', 'line 2: expected 5 columns, found 3: "0,1,1"'],
    [
      '0,10,1,a,11',
      'line 2: prefix_tokens: expected a whole number up to ContextTokens, here 10, found "11"',
    ],
    [
      '0,10,1,a,some',
      'line 2: prefix_tokens: expected a whole number up to ContextTokens, here 10, found "some"',
    ],
    [
      '0,10,1,a b,5',
      'line 2: prefix: expected 1 to 64 characters of A-Z a-z 0-9 _ -, or nothing, found "a b"',
    ],
    ['0,10,1,a,', 'line 2: prefix, prefix_tokens: expected both or neither, found "a" and ""'],
    ['0,10,1,,5', 'line 2: prefix, prefix_tokens: expected both or neither, found "" and "5"'],
  ])('that are wrong are refused by their place: %j', async (line, said) => {
    await expect(read(`${HEAD}\n${line}`)).rejects.toThrow(`a.csv: ${said}`)
  })
})

describe('lines of Mooncake', () => {
  const line = (of: { at?: unknown; input?: unknown; output?: unknown; ids?: unknown } = {}) =>
    JSON.stringify({
      timestamp: of.at ?? 0,
      input_length: of.input ?? 3_000,
      output_length: of.output ?? 5,
      hash_ids: of.ids ?? [0, 1, 2, 3, 4, 5],
    })

  test('mark the longest beginning that another call has, an earlier or a later one', async () => {
    const [first, second, third, alone] = await read(
      [
        line({ at: 100, ids: [0, 1, 2, 3, 4, 5] }),
        line({ at: 350, ids: [0, 1, 2, 9, 10, 11] }),
        line({ at: 350, ids: [0, 1, 2, 9, 10, 12] }),
        line({ at: 400, ids: [7, 1, 2, 3] }),
      ].join('\n'),
    )
    expect(first).toEqual({
      ...{ ...NOTHING, atMs: 0, inputTokens: 3_000, outputTokens: 5 },
      marked: { name: 'b3', tokens: 3 * 512 },
    })
    const stem = [{ name: 'b3', tokens: 3 * 512 }]
    expect(second).toMatchObject({ atMs: 250, marked: { tokens: 5 * 512, within: stem } })
    expect(third?.marked).toBe(second?.marked)
    // Numbers that stand after another beginning are not the same prompt.
    expect(alone?.marked).toBeNull()
  })

  test('mark no more than there is, and nothing that is too short to be cached', async () => {
    const whole = line({ input: 1_500, ids: [1, 2, 3] })
    const short = line({ input: 1_500, ids: [8, 9] })
    const begins = line({ input: 1_500, ids: [8, 10] })
    const marks = await read([whole, whole, short, begins].join('\n'))
    expect(marks.map(({ marked }) => marked?.tokens ?? 0)).toEqual([1_500, 1_500, 0, 0])
  })

  test('that others follow make a conversation that grows', async () => {
    const turns = [
      [1, 2, 3],
      [1, 2, 3, 4, 5],
      [1, 2, 3, 4, 5, 6, 7],
    ]
    const rows = await read(turns.map((ids) => line({ input: 4_000, ids })).join('\n'))
    expect(rows.map(({ marked }) => marked?.tokens)).toEqual([1_536, 2_560, 2_560])
    expect(rows[2]?.marked?.within).toEqual([{ name: 'b3', tokens: 1_536 }])
  })

  test('are read no further than they are needed, and may say more', async () => {
    const more = line().replace('}', ',"more":1}')
    expect(await read(`${more}\n${line({ at: 9_000 })}\nnever looked at`, 7_000)).toHaveLength(1)
  })

  test.each([
    [line({ at: -1 }), 'line 1: timestamp: expected milliseconds as a number from 0, found "-1"'],
    [
      line({ input: 0.5 }),
      'line 1: input_length: expected a whole number from 0 to 10000000, found "0.5"',
    ],
    [
      line({ output: 'many' }),
      'line 1: output_length: expected a whole number from 0 to 10000000, found "many"',
    ],
    [
      line({ ids: [1, -2] }),
      'line 1: hash_ids: expected at most 4096 whole numbers from 0 to 2147483647, found "[1,-2]"',
    ],
    [line({ ids: Array.from({ length: 4_097 }, () => 1) }), 'line 1: hash_ids: expected at most'],
    [`${line()}\n{"timestamp":1}`, 'line 2: input_length: expected a whole number from 0'],
    [`${line()}\n[]`, 'line 2: expected one JSON object, found "[]"'],
    [
      `${line({ at: 5 })}\n\n${line({ at: 4 })}`,
      'line 3: timestamp: 4 is earlier than the line before; sort the file by time',
    ],
    [
      `${line()}\n${line({ at: (SPAN_MAX_S + 1) * 1_000 })}`,
      `line 2: timestamp: ${SPAN_MAX_S + 1} s after the first row; at most ${SPAN_MAX_S}`,
    ],
  ])('that are wrong are refused by their place: %j', async (text, said) => {
    await expect(read(text)).rejects.toThrow(`a.csv: ${said}`)
  })

  test('with more beginnings than are held are refused', async () => {
    const many = function* (): Generator<string> {
      for (let at = 0; at * 4_096 < 2 ** 21; at++) {
        const ids = Array.from({ length: 4_096 }, (_, i) => at * 4_096 + i)
        yield `${line({ at, ids })}\n`
      }
    }
    const lines = linesOf(many(), 'a.csv')
    await expect(arrivalsOf(lines, { path: 'a.csv', untilMs: null })).rejects.toThrow(
      'a.csv: more than 2097152 different beginnings of prompts in the first 1 s; take less',
    )
  })
})

describe('a recording', () => {
  test('says all that it knows, sorted by arrival', async () => {
    const text = recording(recorded({ at_ms: 900 }), recorded({ at_ms: 20, stream: null }))
    expect(await read(text)).toEqual([
      { ...ACME, atMs: 20, stream: null },
      { ...ACME, atMs: 900, stream: true },
    ])
  })

  test('gives tokens that nobody counted the median of their lane, else of all', async () => {
    const [, , , refused, other] = await read(
      recording(
        recorded({ output_tokens: 10 }),
        recorded({ output_tokens: 30 }),
        recorded({ output_tokens: 900 }),
        recorded({ input_tokens: null, output_tokens: null, outcome: 'refused' }),
        recorded({ lane: 'batch', output_tokens: null, outcome: 'failed' }),
      ),
    )
    expect(refused).toMatchObject({ inputTokens: 7, outputTokens: 30 })
    expect(other).toMatchObject({ lane: 'batch', outputTokens: 30 })
  })

  test('holds refusals that no scheduler could have served; they are no work', async () => {
    const wrong = { input_tokens: null, output_tokens: null, outcome: 'refused' } as const
    const text = recording(
      recorded(),
      recorded({ ...wrong, lane: 'nowhere', code: 'unknown_lane' }),
      recorded({ ...wrong, model: null, code: 'invalid_request' }),
      recorded({ ...wrong, code: 'queue_full' }),
    )
    expect((await read(text)).map(({ lane }) => lane)).toEqual(['interactive', 'interactive'])
  })

  test('is read only as far as it is needed, in the order of arrival', async () => {
    const text = recording(recorded({ at_ms: 5_000 }), recorded({ at_ms: 100 }))
    expect(await read(text, 1_000)).toMatchObject([{ atMs: 100 }])
  })

  test('of a later version may say more', async () => {
    expect(await read(recording(recorded().replace('{', '{"more":1,')))).toHaveLength(1)
  })

  test.each([
    [HEADER, 'the recording holds no request'],
    ['{"headgate":"recording","version":2}', 'line 1: version: expected 1, found "2"'],
    ['{"hello":1}', 'line 1: headgate: expected "recording", found nothing'],
    [recording('{"at_ms":'), 'line 2: expected one JSON object, found "{\\"at_ms\\":"'],
    [recording('[]'), 'line 2: expected one JSON object, found "[]"'],
    [
      recording(recorded(), recorded({ at_ms: -1 })),
      `line 3: at_ms: expected a number from 0 to ${SPAN_MAX_S * 1_000}, found "-1"`,
    ],
    [recording(recorded({ at_ms: undefined })), 'line 2: at_ms: expected a number from 0'],
    [recording(recorded({ tenant: 'a b' })), 'line 2: tenant: expected 1 to 64 characters of'],
    [
      recording(recorded({ max_tokens: 0.5 })),
      'line 2: max_tokens: expected a whole number from 1',
    ],
    [
      recording(recorded({ outcome: 'lost' })),
      'line 2: outcome: expected one of completed, failed',
    ],
    [
      recording(recorded({ output_tokens: 1e12 })),
      'line 2: output_tokens: expected a whole number',
    ],
    [
      recording(recorded({ output_tokens: null })),
      'not one request whose input and output tokens are known',
    ],
  ])('that is wrong is refused by its place: %j', async (text, said) => {
    await expect(read(text)).rejects.toThrow(`a.csv: ${said}`)
  })
})

describe('a file', () => {
  const path = join(dir, 'trace')

  test('is read whole, whatever its pieces cut through', async () => {
    const rows = Array.from({ length: 50_000 }, (_, at) => `${at / 1_000},${at},7`)
    writeFileSync(path, [COLUMNS, ...rows].join('\n'))
    const arrivals = await readTraceFile({ path, untilMs: null })
    expect(arrivals).toHaveLength(50_000)
    expect(arrivals.every(({ inputTokens }, at) => inputTokens === at)).toBe(true)
  })

  test('that cannot be read is named', async () => {
    const none = join(dir, 'none.csv')
    await expect(readTraceFile({ path: none, untilMs: null })).rejects.toThrow(
      `${none}: cannot be read (ENOENT)`,
    )
    await expect(readTraceFile({ path: dir, untilMs: null })).rejects.toThrow(
      `${dir}: cannot be read (EISDIR)`,
    )
  })

  test('that is no text is refused before it is in memory', async () => {
    writeFileSync(path, Buffer.alloc(5_000_000, 0xff))
    await expect(readTraceFile({ path, untilMs: null })).rejects.toThrow('is this a text file?')
  })
})

const NOTHING = {
  tenant: null,
  lane: null,
  model: null,
  stream: null,
  maxTokens: null,
  deadlineMs: null,
  marked: null,
}
const ACME = {
  tenant: 'acme',
  lane: 'interactive',
  model: 'claude-x',
  inputTokens: 7,
  outputTokens: 12,
  maxTokens: 64,
  deadlineMs: 30_000,
  marked: null,
}
