/** A file of jobs: what each line is, how many are under way, and what is tried again. */
import { describe, expect, test } from 'vitest'
import { HeadgateError, type JobReceipt } from '#client'
import { refusals, type RefusalCode } from '#contracts/refusals'
import { idsName, jobOf, type BadLine, type JobLine } from '../../services/cli/job-lines.ts'
import { submitLines, type SubmitMany } from '../../services/cli/submit-lines.ts'
import { manualClock } from '../support/manual-clock.ts'

describe('a line', () => {
  const of = (text: string) => jobOf({ line: 3, text, name: 'night' })

  test('is the body of a call, sent as it stands, and its id follows from its place', () => {
    const text = '{ "model": "m", "max_tokens": 5 }'
    expect(of(text)).toEqual({ line: 3, id: 'night-3', body: text })
  })

  test('is a request of the Message Batches API, with an id of its own', () => {
    expect(of('{"custom_id":"order-17","params":{"model":"m"}}')).toEqual({
      ...{ line: 3, id: 'order-17', body: '{"model":"m"}' },
    })
  })

  test.each([
    ['no JSON', 'x', 'expected one JSON object a line'],
    ['no object', '[1]', 'expected one JSON object a line'],
    ['an id that is none', '{"custom_id":"a.b","params":{}}', 'custom_id: expected 1 to 64'],
    ['no id beside its body', '{"params":{}}', 'custom_id: expected 1 to 64'],
    ['no body beside its id', '{"custom_id":"a"}', 'params: expected the body'],
  ])('that is %s is told', (_, text, problem) => {
    expect(of(text)).toEqual({ line: 3, problem: expect.stringContaining(problem) as string })
  })

  test.each([
    ['jobs.ndjson', 'jobs'],
    ['/a/b.c/the night of 1.5.json', 'the_night_of_1_5'],
    [`${'x'.repeat(80)}.ndjson`, 'x'.repeat(48)],
    ['.ndjson', 'job'],
  ])('has an id that begins with the name of its file: %s', (path, name) => {
    expect(idsName(path, undefined)).toBe(name)
    expect(idsName(path, 'mine')).toBe('mine')
  })
})

const receipt = (id: string, duplicate = false): JobReceipt => ({
  ...{ id, accepted: true, duplicate, result_subject: '', position: 0, estimated_wait_ms: null },
})
const refused = (code: RefusalCode | 'no_answer', retryAfterMs: number | null = null) =>
  new HeadgateError({
    ...{ code, message: code, retryAfterMs },
    retryable: code !== 'no_answer' && refusals[code].retryable,
  })

/** Lines 1 to `count`, of which `answer` says what each is answered. */
function world(of: {
  count: number
  atOnce?: number
  answer: (id: string, tries: number) => Promise<JobReceipt>
}) {
  const clock = manualClock()
  const tries = new Map<string, number>()
  const seen = { under: 0, most: 0, read: 0 }
  const slept: number[] = []
  const failed: BadLine[] = []
  const leaving = new AbortController()
  const counts = { accepted: 0, duplicates: 0, failed: 0, waiting: 0 }
  async function* lines(): AsyncGenerator<JobLine> {
    for (let line = 1; line <= of.count; line++) {
      seen.read += 1
      yield { line, id: `j-${line}`, body: '{}' }
    }
  }
  const many: SubmitMany = {
    lines: lines(),
    headgate: {
      async submit(_body, { id = '' } = {}) {
        tries.set(id, (tries.get(id) ?? 0) + 1)
        seen.under += 1
        seen.most = Math.max(seen.most, seen.under)
        try {
          return await of.answer(id, tries.get(id) ?? 0)
        } finally {
          seen.under -= 1
        }
      },
    },
    options: { lane: 'batch' },
    atOnce: of.atOnce ?? 4,
    sleep: async (ms) => {
      slept.push(ms)
      clock.advance(ms)
    },
    now: () => clock.now(),
    stored: () => {},
    failed: (one) => failed.push(one),
    signal: leaving.signal,
  }
  return {
    ...{ seen, slept, failed, counts, tries, leaving },
    run: () => submitLines(many, counts),
  }
}

describe('a file', () => {
  test('has so many jobs under way, and is read no faster', async () => {
    const gate = Promise.withResolvers<void>()
    const one = world({ count: 20, answer: (id) => gate.promise.then(() => receipt(id)) })
    const done = one.run()
    await new Promise((resolve) => setImmediate(resolve))
    expect(one.seen).toEqual({ under: 4, most: 4, read: 4 })
    gate.resolve()
    await done
    expect([one.seen.most, one.counts.accepted]).toEqual([4, 20])
  })

  test('counts what was there already', async () => {
    const one = world({ count: 3, answer: async (id) => receipt(id, id !== 'j-2') })
    await one.run()
    expect(one.counts).toEqual({ accepted: 1, duplicates: 2, failed: 0, waiting: 0 })
  })

  test.each(['queue_full', 'draining', 'no_answer'] as const)(
    'tries again what may pass, under the same id: %s',
    async (code) => {
      const one = world({
        count: 1,
        answer: async (id, tries) => {
          if (tries < 3) throw refused(code, code === 'queue_full' ? 2_000 : null)
          return receipt(id)
        },
      })
      await one.run()
      expect(one.tries).toEqual(new Map([['j-1', 3]]))
      expect(one.slept).toEqual(code === 'queue_full' ? [2_000, 2_000] : [500, 1_000])
      expect(one.counts).toEqual({ accepted: 1, duplicates: 0, failed: 0, waiting: 0 })
    },
  )

  test('gives a job up after five minutes, and goes on with the next', async () => {
    const one = world({
      count: 2,
      atOnce: 1,
      answer: async (id) => {
        if (id === 'j-1') throw refused('queue_full')
        return receipt(id)
      },
    })
    await one.run()
    const all = one.slept.reduce((sum, ms) => sum + ms, 0)
    expect(all).toBeGreaterThanOrEqual(300_000)
    expect(all).toBeLessThan(306_000)
    expect(one.failed).toEqual([{ line: 1, problem: 'queue_full: queue_full' }])
    expect(one.counts.accepted).toBe(1)
  })

  test('tells at once what can never be stored, and goes on', async () => {
    const one = world({
      count: 2,
      answer: async (id) => {
        if (id === 'j-1') throw refused('duplicate_id')
        throw new TypeError('submit: body: it says "stream": true')
      },
    })
    await one.run()
    expect(one.failed.map(({ problem }) => problem)).toEqual([
      'duplicate_id: duplicate_id',
      'submit: body: it says "stream": true',
    ])
    expect([one.slept, one.counts.failed]).toEqual([[], 2])
  })

  test('that is ended begins no further line, and hears of those under way', async () => {
    const one = world({
      count: 20,
      atOnce: 2,
      answer: async (id) => {
        if (id === 'j-3') one.leaving.abort()
        return receipt(id)
      },
    })
    await one.run()
    expect(one.counts.accepted).toBe(one.tries.size)
    expect(one.tries.size).toBeLessThan(6)
  })
})
