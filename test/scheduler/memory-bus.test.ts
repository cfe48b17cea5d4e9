import { describe, expect, test } from 'vitest'
import fc from 'fast-check'
import { unattempted } from '#contracts/messages'
import { replyFields, writeReply } from '#contracts/reply-fields'
import type { BusMessage } from '#ports'
import { memoryBus } from '#scheduler/memory/bus'
import { busConformance } from '../conformance/bus.ts'

busConformance('memory', async () => {
  const bus = memoryBus({ maxPayload: 100_000 })
  return { bus, stop: () => bus.close() }
})

describe('memory bus', () => {
  const token = fc.constantFrom('a', 'b', 'c')
  const subject = fc.array(token, { minLength: 1, maxLength: 4 }).map((t) => t.join('.'))
  const pattern = fc
    .tuple(
      fc.array(fc.oneof(token, fc.constant('*')), { minLength: 1, maxLength: 4 }),
      fc.boolean(),
    )
    .map(([tokens, rest]) => [...tokens, ...(rest ? ['>'] : [])].join('.'))

  const fits = (pattern: string, subject: string) => {
    const source = pattern
      .split('.')
      .map((t) => (t === '*' ? '[^.]+' : t === '>' ? '.+' : t))
      .join('\\.')
    return new RegExp(`^${source}$`).test(subject)
  }

  test('whoever fits a subject hears it, whatever was added and drained before', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(pattern, fc.boolean()), { maxLength: 12 }),
        fc.array(subject, { minLength: 1, maxLength: 6 }),
        async (patterns, subjects) => {
          const bus = memoryBus()
          const heard: string[] = []
          for (const [at, [pattern, drained]] of patterns.entries()) {
            const subscription = bus.subscribe(pattern, (m) => heard.push(`${at}:${m.subject}`))
            if (drained) await subscription.drain()
          }
          for (const subject of subjects) bus.publish(subject, '')
          await bus.flush()
          const expected = subjects.flatMap((subject) =>
            patterns.flatMap(([pattern, drained], at) =>
              !drained && fits(pattern, subject) ? [`${at}:${subject}`] : [],
            ),
          )
          expect(heard.toSorted()).toEqual(expected.toSorted())
        },
      ),
      { numRuns: 300 },
    )
  })

  test('fields go over as they are, and no header is written that nobody reads', async () => {
    const bus = memoryBus()
    const last = { accounting: replyFields(unattempted('x1'), null), errorStatus: 429 }
    let written = 0
    const heard: BusMessage[] = []
    bus.subscribe('it', (message) => heard.push(message))
    bus.publish('it', '', {
      last,
      get headers() {
        written++
        return writeReply(last.accounting)
      },
    })
    await bus.flush()
    expect(heard[0]!.last).toBe(last)
    expect(written).toBe(0)
    expect(heard[0]!.header('headgate-id')).toBe('x1')
    expect([...heard[0]!.names()].length).toBe(8)
    expect(written).toBe(1)
  })

  test('a group shares its work evenly', async () => {
    const bus = memoryBus()
    const counts = [0, 0, 0]
    for (const at of counts.keys()) {
      bus.subscribe('work', () => void (counts[at] = (counts[at] ?? 0) + 1), { queue: 'g' })
    }
    for (let n = 0; n < 9; n++) {
      bus.publish('work', '')
      bus.publish('other', '')
    }
    await bus.flush()
    expect(counts).toEqual([3, 3, 3])
  })
})
