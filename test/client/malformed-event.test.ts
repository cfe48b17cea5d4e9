import { expect, test } from 'vitest'
import { isHeadgateError } from '#client'
import { AnswerStream } from '../../services/client/answer-stream.ts'

test.each(['{', '', 'data', '\u0000'])(
  'an event that is not JSON is an error of this library, and its text is in no message: %j',
  async (secret) => {
    const stream = new AnswerStream({ id: 'x', bufferBytesMax: 1_000, leave: () => {} })
    const data = new TextEncoder().encode(`{"planted ${secret}`)
    stream.hear({ subject: '_INBOX_acme.x', data, header: () => undefined })
    const reading = stream[Symbol.asyncIterator]().next()
    const error = await reading.catch((caught: unknown) => caught)
    expect(isHeadgateError(error, 'bad_answer')).toBe(true)
    expect(String(error)).not.toContain('planted')
  },
)
