/** A hundred thousand messages of any subject, reply address, headers and body at our doors, over the memory
 *  bus. Of each: nothing throws, the answer goes where it may go and nowhere else, there is exactly one, and
 *  an error says what was expected without a word of what was sent. */
import fc from 'fast-check'
import { test } from 'vitest'
import { TOKEN } from '#contracts/ids'
import { ADMIN_OPS } from '#contracts/subjects'
import type { BusMessage } from '#ports'
import { instance, memoryWorld, requestBody, textOf } from '../../support/doors.ts'
import { accounted } from '../../support/fake-scheduler.ts'
import { manualClock } from '../../support/manual-clock.ts'
import { expect } from '../../support/quick-expect.ts'

const CASES = 100_000
/** Somewhere in whatever is sent; nowhere in an error. */
const SECRET = 'zqxj'

interface Sent {
  subject: string
  reply: string | undefined
  headers: [string, string][]
  body: Uint8Array | string
}

// ---- what is sent ----

/** Text that may stand in a subject: NATS lets everything through but white space. */
const noSpace = (text: string): string => text.replaceAll(/[\s.]/g, '')
const oddToken = fc.oneof(
  fc.string({ maxLength: 12, unit: 'binary' }).map(noSpace),
  fc.constantFrom('', '*', '>', '$JS', '..', SECRET, 'x'.repeat(65), 'tenänt', '__proto__', '-'),
)
const token = fc.oneof(
  { weight: 5, arbitrary: fc.constantFrom('a', 'b', 'acme', 'interactive', 'batch', SECRET) },
  { weight: 1, arbitrary: oddToken },
)
const kinds = ['request', 'cancel', 'status', 'fetch', 'count_tokens', 'models', 'submit', 'admin']
// The fake operator's drain is a bug on purpose.
const operations = ADMIN_OPS.filter((op) => op !== 'drain')
const subject = fc.oneof(
  {
    weight: 8,
    arbitrary: fc
      .tuple(fc.constantFrom('request', 'cancel', 'status', 'fetch'), token, token)
      .map(([kind, tenant, last]) => `llm.v1.${kind}.${tenant}.${last}`),
  },
  {
    weight: 3,
    arbitrary: fc
      .tuple(fc.constantFrom('count_tokens', 'models'), token)
      .map(([kind, tenant]) => `llm.v1.${kind}.${tenant}`),
  },
  {
    weight: 2,
    arbitrary: fc.oneof(fc.constantFrom(...operations), token).map((op) => `llm.v1.admin.${op}`),
  },
  {
    weight: 2,
    arbitrary: fc
      .array(fc.oneof(token, fc.constantFrom('llm', 'v1', ...kinds)), {
        minLength: 1,
        maxLength: 7,
      })
      .map((tokens) => tokens.join('.'))
      .filter((text) => text !== '' && text !== 'llm.v1.admin.drain')
      // Heard from HTTP doors only, whose words `batches/desk` is tested with.
      .filter((text) => !/^llm\.v1\.batch\.[^.]*\.[^.]*$/.test(text)),
  },
)
const reply = fc.oneof(
  { weight: 4, arbitrary: token.map((name) => `_INBOX_${name}.1`) },
  { weight: 3, arbitrary: fc.constantFrom('_INBOX.x.1', '_R_.x', undefined) },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      '$JS.API.STREAM.NAMES',
      'llm.v1.admin.drain',
      'llm.v1.request.b.interactive',
      '_INBOX',
      '_INBOX_.x',
      '_INBOX..x',
      '_INBOX.*',
      '_INBOX.>',
      `_INBOX.${'x'.repeat(520)}`,
      '_INBOX_a',
    ),
  },
  {
    weight: 1,
    arbitrary: fc
      .array(token, { minLength: 1, maxLength: 4 })
      .map((tokens) => tokens.join('.'))
      .filter((text) => text !== ''),
  },
)
const value = fc.oneof(
  fc.string({ maxLength: 30, unit: 'binary' }).map((text) => text.replaceAll(/[\r\n]/g, '')),
  fc.constantFrom('1000', '0', '-1', '9'.repeat(30), 'fallback,cache', `fallback,${SECRET}`, ''),
  fc.constantFrom(SECRET, `${SECRET} x`, 'x'.repeat(2_000), `00-${SECRET}-1`, 'good-id'),
)
const headers = fc.array(
  fc.tuple(
    fc.constantFrom(
      'Headgate-Id',
      'headgate-id',
      'Headgate-Deadline-Ms',
      'Headgate-Degrade',
      'anthropic-beta',
      'anthropic-version',
      'traceparent',
      'tracestate',
      'Headgate-Tenant',
      'x',
    ),
    value,
  ),
  { maxLength: 3 },
)
const field = fc.oneof(
  fc.constantFrom(SECRET, '', 0, -1, 1.5, Infinity, null, true, [], {}, [SECRET], { role: SECRET }),
  fc.constantFrom([{ role: 'user', content: SECRET }], 'claude-x', 10, 'a b'),
)
const body = fc.oneof(
  { weight: 3, arbitrary: fc.constant(requestBody({ pad: SECRET })) },
  { weight: 2, arbitrary: fc.constant(requestBody({ stream: true, pad: SECRET })) },
  {
    weight: 5,
    arbitrary: fc
      .dictionary(fc.constantFrom('model', 'max_tokens', 'messages', 'stream', SECRET), field)
      .map((more) => requestBody({ stream: false, pad: SECRET, ...more })),
  },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 40 }) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      '',
      SECRET,
      `"${SECRET}"`,
      `["${SECRET}"]`,
      `{"${SECRET}"`,
      `{"stream":true,"${SECRET}`,
      '['.repeat(5_000),
      `{"on":"${SECRET}"}`,
      `{"lane":"${SECRET}"}`,
      `{"lane":{},"paused":"${SECRET}"}`,
      `{"yaml":["${SECRET}"]}`,
      `{"instance":["${SECRET}"]}`,
      `{"__proto__":{"model":"${SECRET}"}}`,
    ),
  },
)
const sent: fc.Arbitrary<Sent> = fc
  .record({ subject, reply, headers, body, own: fc.integer({ min: 0, max: 4 }) })
  // Most ask as they should, or little behind the address would ever be reached.
  .map(({ own, ...one }) =>
    own < 3 ? { ...one, reply: `_INBOX_${one.subject.split('.')[3] ?? ''}.1` } : one,
  )

// ---- what the contract says of it, in its own words ----

type Door = 'request' | 'query' | 'aux' | 'admin'
interface Rule {
  /** Who hears it; null: nobody. */
  door: Door | null
  /** Whether the address may be answered. */
  answerable: boolean
  wellFormed: boolean
}

function ruleOf({ subject, reply }: Sent): Rule {
  const [prefix, version, kind = '', ...rest] = subject.split('.')
  const ours = prefix === 'llm' && version === 'v1'
  const door = ours ? doorOf(kind, rest.length) : null
  const wellFormed = rest.every((one) => TOKEN.test(one))
  const tokens = reply?.split('.') ?? []
  const plain = tokens.every((one) => one !== '' && !/[\s*>\x00-\x1f\x7f]/.test(one))
  const [first = ''] = tokens
  const own = /^_INBOX_(.*)$/s.exec(first)?.[1]
  const whose = door === 'admin' ? own : wellFormed ? rest[0] : undefined
  const inbox =
    first === '_INBOX' || first === '_R_' || (own !== undefined && own === whose && TOKEN.test(own))
  const short = (reply?.length ?? 0) <= 512
  return { door, wellFormed, answerable: plain && inbox && tokens.length > 1 && short }
}

function doorOf(kind: string, tokens: number): Door | null {
  if (kind === 'request' && tokens === 2) return 'request'
  if (['cancel', 'status', 'fetch'].includes(kind) && tokens === 2) return 'query'
  if (['count_tokens', 'models'].includes(kind) && tokens === 1) return 'aux'
  return kind === 'admin' && tokens === 1 ? 'admin' : null
}

// ---- the doors ----

async function openDoors() {
  const world = memoryWorld()
  const clock = manualClock()
  const doors = await instance(world, {
    id: 'one',
    clock,
    aux: async () => ({ status: 200, requestId: null, body: new TextEncoder().encode('{}') }),
  })
  const { bus, scheduler, errors } = doors
  let heard: BusMessage[] = []
  bus.subscribe('>', (message) => heard.push(message))
  const counts = () => ({
    requests: scheduler.requests.all.length,
    refused: scheduler.refused.all.length,
    drops: scheduler.drops.all.length,
  })
  return {
    errors,
    /** What one message leads to: calls of the scheduler, and messages beside the one that was sent. */
    async send({ subject, reply, headers, body }: Sent) {
      const before = counts()
      heard = []
      bus.publish(subject, body, { headers, ...(reply === undefined ? {} : { reply }) })
      await bus.flush()
      const request = scheduler.requests.all[before.requests]
      if (request?.stream === true) {
        request.reply.event(new TextEncoder().encode('{"type":"message_stop"}'))
        request.reply.end(accounted())
      } else request?.reply.answer(new TextEncoder().encode('{}'), accounted())
      // Calls beside the lanes answer a few microtasks later, who does not know an id after 250 ms.
      for (let turn = 0; turn < 4; turn++) await bus.flush()
      clock.advance(250)
      await bus.flush()
      const after = counts()
      const [question, ...messages] = heard
      expect(question?.subject).toBe(subject)
      return {
        messages,
        streamed: request?.stream === true,
        taken: after.requests - before.requests,
        refused: after.refused - before.refused,
        drops: scheduler.drops.all.slice(before.drops).map(({ reason }) => reason),
      }
    },
  }
}

const isError = (message: BusMessage): boolean =>
  message.header('Nats-Service-Error-Code') !== undefined

/** One clear sentence of ours. */
function expectClear(message: BusMessage): void {
  const status = Number(message.header('Nats-Service-Error-Code'))
  const line = message.header('Nats-Service-Error') ?? ''
  const { error, headgate, type, request_id: _, ...more } = JSON.parse(textOf(message))
  expect([type, Number.isInteger(status), status >= 400]).toEqual(['error', true, true])
  expect(error.message).toMatch(/^[\x20-\x7e]{10,300}$/)
  expect(line).toBe(`${headgate.code}: ${error.message}`)
  expect(JSON.stringify({ error, headgate, more })).not.toContain(SECRET)
  expect(message.header('Headgate-Outcome')).toMatch(/^(refused|failed)$/)
}

test(`of ${CASES} messages each has the one end that it should have`, async () => {
  const doors = await openDoors()
  const seen = { answered: 0, errors: 0, dropped: 0, unheard: 0 }
  const run = async (one: Sent): Promise<void> => {
    const { door, answerable, wellFormed } = ruleOf(one)
    const { messages, streamed, taken, refused, drops } = await doors.send(one)
    expect(doors.errors.all).toEqual([])
    // Nothing leaves but to the address that was given, and only if it may be.
    const mayAnswer = door !== null && one.reply !== undefined && answerable
    expect(messages.filter(({ subject }) => subject !== one.reply)).toEqual([])
    if (!mayAnswer) expect(messages).toEqual([])

    if (door === null) {
      seen.unheard += 1
      expect([taken, refused, drops]).toEqual([0, 0, []])
      return
    }
    if (!mayAnswer) {
      const silent = one.reply === undefined && (door === 'query' || door === 'admin')
      const reason = one.reply === undefined ? 'no_reply' : 'reply_not_allowed'
      expect([taken, refused, drops]).toEqual([0, 0, silent ? [] : [reason]])
      seen.dropped += 1
      return
    }
    if (door === 'request') expect(taken + refused + drops.length).toBe(1)
    else expect([taken, refused]).toEqual([0, 0])
    if (!wellFormed) expect([taken, refused]).toEqual([0, 0])

    const failures = messages.filter(isError)
    for (const failure of failures) expectClear(failure)
    const ends = messages.filter(({ data }) => data.length === 0)
    if (streamed) expect([messages.length, failures.length, ends.length]).toEqual([2, 0, 1])
    else if (failures.length > 0) {
      // The end of a stream follows the error of one who asked for a stream.
      expect([failures.length, messages.length - ends.length]).toEqual([1, 1])
      expect(ends.length).toBeLessThanOrEqual(door === 'request' ? 1 : 0)
    } else expect([messages.length, ends.length]).toEqual([1, 0])
    seen[failures.length > 0 ? 'errors' : 'answered'] += 1
  }
  await fc.assert(fc.asyncProperty(sent, run), { numRuns: CASES })
  // Every kind of end was met, often enough to mean something.
  for (const times of Object.values(seen)) expect(times).toBeGreaterThan(CASES / 20)
}, 300_000)
