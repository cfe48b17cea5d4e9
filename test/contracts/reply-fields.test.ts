/** Fields and headers of a last message say the same. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { HEADER, type Accounting } from '#contracts/messages'
import { OUTCOMES, SERVED_BY } from '#contracts/outcome'
import { readReply, replyFields, writeReply } from '#contracts/reply-fields'

const text = fc.option(fc.string({ unit: 'binary', maxLength: 300 }))
const count = fc.nat(1_000_000_000)
const tokens = fc.option(count)
const ms = fc.double({ min: -1, max: 1e12, noNaN: true })

const accounting: fc.Arbitrary<Accounting> = fc.record({
  id: fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/),
  outcome: fc.constantFrom(...OUTCOMES),
  servedBy: fc.constantFrom(...SERVED_BY),
  model: text,
  attempts: count,
  preemptions: count,
  queueMs: ms,
  upstreamMs: ms,
  totalMs: ms,
  upstreamRequestId: text,
  inputTokens: tokens,
  outputTokens: tokens,
})

/** As a bus reads them: without white space around. */
const looked = (headers: readonly (readonly [string, string])[]) => {
  const first = new Map(headers.map(([name, value]) => [name, value.trim()]))
  return (name: string) => first.get(name)
}

test('what is written and read back is what was to be written', () => {
  fc.assert(
    fc.property(accounting, fc.option(count), (of, events) => {
      const fields = replyFields(of, events)
      expect(readReply(looked(writeReply(fields)))).toEqual(fields)
    }),
    { numRuns: 500 },
  )
})

test('no value can begin a header of its own, and each is short', () => {
  fc.assert(
    fc.property(accounting, (of) => {
      for (const [, value] of writeReply(replyFields(of, 0))) {
        expect(value).toMatch(/^[\x20-\x7e]*$/)
        expect(value.length).toBeLessThanOrEqual(256)
      }
    }),
  )
})

test('what is not there, or is nothing that is known, has a value all the same', () => {
  const none = readReply(() => undefined)
  expect(none).toMatchObject({ id: '', outcome: null, servedBy: 'none', attempts: 0, events: null })
  const odd = new Map<string, string>([
    [HEADER.outcome, 'eaten'],
    [HEADER.attempts, '-1'],
    [HEADER.events, '1e3'],
  ])
  expect(readReply((name) => odd.get(name))).toEqual(none)
})
