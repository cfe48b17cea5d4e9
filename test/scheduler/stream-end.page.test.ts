/** A reader written from docs/wire-contract.md alone, section The end of a stream: it takes the rules of the page in
 *  the order of the page, and comes to what our own client comes to. */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { HEADER, PING, refusal, unattempted } from '#contracts/messages'
import { connectHeadgate } from '#client'
import { memoryBus } from '#scheduler/memory/bus'
import type { Bus, BusMessage, Reply } from '#ports'
import { outbox } from '../../services/scheduler/nats/outbox.ts'
import { manualClock } from '../support/manual-clock.ts'
import { inRoot } from '../support/tree.ts'

const page = readFileSync(inRoot('docs/wire-contract.md'), 'utf8')
const [, after = ''] = page.split('### The end of a stream')
const [section = ''] = after.split('\n## ')
/** The rules, by what each says to look for. */
const looksFor = [...section.matchAll(/^\d\. (.+?): /gm)].map(([, words = '']) => words)
/** After them nothing more is read. */
const stops = [...section.matchAll(/^(\d)\. .*Stop reading here/gm)].map(([, n]) => Number(n) - 1)

const content = ({ data }: BusMessage): string => Buffer.from(data).toString()
const FITS: Record<string, (message: BusMessage) => boolean> = {
  '`Nats-Service-Error-Code`': (one) => one.header('Nats-Service-Error-Code') !== undefined,
  '`Headgate-Outcome`': (one) => one.header('Headgate-Outcome') !== undefined,
  'No content': (one) => one.data.length === 0,
  'Exactly `{"type":"ping"}`': (one) => content(one) === '{"type":"ping"}',
  'Anything else': () => true,
}

type Read = 'whole' | 'failed' | 'lost' | 'no end'
function readByPage(messages: readonly BusMessage[]): Read {
  let events = 0
  for (const message of messages) {
    const rule = looksFor.findIndex((words) => FITS[words]?.(message) === true)
    const ends: Read[] = [
      'failed',
      message.data.length === 0 && message.header('Headgate-Events') === String(events)
        ? 'whole'
        : 'lost',
      'lost',
    ]
    if (stops.includes(rule)) return ends[rule] ?? 'no end'
    if (looksFor[rule] === 'Anything else') events++
  }
  return 'no end'
}

async function through(say: (reply: Reply, bus: Bus, to: string) => void) {
  const bus = memoryBus({ maxPayload: 10_000 })
  const client = await connectHeadgate({ bus, tenant: 'acme' })
  const came: BusMessage[] = []
  bus.subscribe('_INBOX_acme.>', (message) => came.push(message))
  const out = outbox({ bus, clock: manualClock(), pingMs: () => 5_000 })
  bus.subscribe('llm.v1.request.*.*', ({ reply: to = '' }) => {
    say(out.reply({ tenant: 'acme', id: 'x', to, stream: true }), bus, to)
  })
  const stream = client.stream('{"stream":true}')
  const ours = await stream.final.then(
    (): Read => 'whole',
    ({ code }: { code: string }): Read =>
      code === 'gap' || code === 'bad_answer' ? 'lost' : 'failed',
  )
  await client.close()
  return { came, ours }
}

const EVENT = Buffer.from('{"type":"content_block_delta"}')
const done = { ...unattempted('x'), outcome: 'completed' as const }
const failed = { ...unattempted('x'), outcome: 'failed' as const }
const broke = refusal('stream_broken', 'it broke')

test('the page has the rules that this reader knows', () => {
  expect(looksFor).toEqual(Object.keys(FITS))
  expect(stops).toEqual([0, 1, 2])
})

test.each<[string, Read, (reply: Reply, bus: Bus, to: string) => void]>([
  [
    'a whole one',
    'whole',
    (reply) => {
      for (const say of ['event', 'ping', 'event'] as const) reply[say](EVENT)
      reply.end(done)
    },
  ],
  ['one without an event', 'whole', (reply) => reply.end(done)],
  [
    'a refusal',
    'failed',
    (reply) => reply.refuse(refusal('queue_full', 'm'), unattempted('x'), null),
  ],
  [
    'one that broke',
    'failed',
    (reply) => {
      reply.event(EVENT)
      reply.refuse(broke, failed, null)
    },
  ],
  [
    'one whose event the bus cannot carry',
    'failed',
    (reply) => {
      reply.event(EVENT)
      reply.event(new Uint8Array(10_001))
      reply.end(done)
    },
  ],
  [
    'an end that counts another event',
    'lost',
    (_reply, bus, to) => {
      bus.publish(to, EVENT)
      bus.publish(to, PING)
      bus.publish(to, '', {
        headers: [
          [HEADER.outcome, 'completed'],
          [HEADER.events, '2'],
        ],
      })
    },
  ],
  [
    'nothing, amid the events',
    'lost',
    (reply, bus, to) => {
      bus.publish(to, EVENT)
      bus.publish(to, '')
      reply.end(done)
    },
  ],
])('%s: %s, for the page and for our client', async (_name, is, say) => {
  const { came, ours } = await through(say)
  expect([readByPage(came), ours]).toEqual([is, is])
})

test.each<[string, (reply: Reply) => void, boolean]>([
  ['that ends well', (reply) => reply.end(done), false],
  ['that fails', (reply) => reply.refuse(broke, failed, null), true],
])('of a stream %s the last message alone has Headgate-Events', async (_name, end, fails) => {
  const { came } = await through((reply) => {
    reply.event(EVENT)
    end(reply)
  })
  const counts = came.map((one) => one.header('Headgate-Events'))
  expect(counts).toEqual(fails ? [undefined, undefined, '1'] : [undefined, '1'])
  expect(came.at(-1)?.data.length).toBe(0)
  const outcomes = came.map((one) => one.header('Headgate-Outcome'))
  expect(outcomes).toEqual(fails ? [undefined, 'failed', 'failed'] : [undefined, 'completed'])
  expect(came.at(-2)?.header('Nats-Service-Error-Code')).toBe(fails ? '502' : undefined)
})
