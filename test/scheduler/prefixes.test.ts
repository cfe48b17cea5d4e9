/** Calls that share a cached prefix, through the loop and over the bus (control-laws §22). */
import { expect, test } from 'vitest'
import { subjects } from '#contracts/subjects'
import type { Usage } from '#contracts/verdict'
import { answered, openRecordedHouse, type RecordedHouse } from '../contracts/recorded-house.ts'
import { LoopWorld } from '../support/loop-world.ts'

const usage = (cacheReadTokens: number): Usage => ({
  ...{ inputTokens: 10, outputTokens: 20 },
  ...{ cacheCreationTokens: cacheReadTokens === 0 ? 900 : 0, cacheReadTokens },
})

test('siblings stay queued and say for what; each is answered once, and what they read is told', async () => {
  const world = new LoopWorld({
    file: { scheduling: { prefix_wait_ms: 5_000 } },
    script: (i) => ({
      ...{ firstByteMs: 1_000, events: ['{"type":"message_start"}'], endMs: 500 },
      end: { kind: 'ok', status: 200, usage: usage(i === 0 ? 0 : 900) },
    }),
  })
  const ids = ['one', 'two', 'three']
  for (const id of ids) world.request({ id, prefix: 'p' })
  world.request({ id: 'else' })
  await world.pass(500)
  expect(world.provider.calls.map(({ id }) => id)).toEqual(['one', 'else'])
  const text =
    'another call is writing the prefix that both share to the cache, and has not begun to answer (5 s more)'
  expect(world.loop.status('a', 'three')).toMatchObject({
    ...{ state: 'queued', position: 1, waits_for: { reason: 'prefix', text } },
  })
  expect(world.loop.requestsByState()).toMatchObject({ queued: 2, running: 2 })
  await world.pass(10_000)
  expect(world.bugs).toEqual([])
  expect(ids.map((id) => world.answers.get(id)?.map(({ how }) => how))).toEqual(
    ids.map(() => ['end']),
  )
  expect(world.answers.get('three')?.[0]?.accounting.queueMs).toBe(1_000)
  const waited = world.used.filter((used) => used.waitedForPrefix === true)
  expect(waited.map((used) => used.usage?.cacheReadTokens)).toEqual([900, 900])
  expect(world.used).toHaveLength(4)
  expect(world.loop.held()).toEqual({ requests: 0, slots: 0, probes: 0, timers: 0, replies: 0 })
})

const LLM = subjects('llm')
const MARK = { cache_control: { type: 'ephemeral' } }
const body = (ask: string) => ({
  ...{ model: 'claude-x', max_tokens: 9, system: [{ type: 'text', text: 'You are', ...MARK }] },
  messages: [{ role: 'user', content: ask }],
})
const unmarked = (ask: string) => ({ ...body(ask), system: 'You are' })
const slow = [{ ...answered, firstByteMs: 1_000 }]
const acts = { one: slow, two: slow, three: slow, job: slow, other: slow }
const yaml = 'scheduling: { prefix_wait_ms: 5000 }'

const begun = ({ wired }: RecordedHouse): string[] =>
  wired.recording
    .recent()
    .flatMap(({ event }) => (event.name === 'request.dispatched' ? [event.data.id] : []))
const ask = (house: RecordedHouse, id: string, what: object, more = {}): Promise<string> =>
  house.ask(LLM.request('acme', 'interactive'), what, { 'Headgate-Id': id, ...more })

test.each([
  ['the bodies mark it', body, {}],
  ['the callers name it', unmarked, { 'Headgate-Prefix': 'mine' }],
])('over the bus: %s', async (_, of, headers) => {
  const house = await openRecordedHouse({ yaml, acts })
  await ask(house, 'one', of('a'), headers)
  await ask(house, 'two', of('b'), headers)
  await ask(house, 'other', unmarked('c'))
  await house.pass(500)
  expect(begun(house)).toEqual(['one', 'other'])
  await house.pass(1_000)
  expect(begun(house)).toEqual(['one', 'other', 'two'])
  await house.close()
  expect(
    JSON.stringify(house.sent.filter(({ subject }) => subject.includes('.event.'))),
  ).not.toMatch(/mine|[0-9a-f]{32}/)
})

test.each([
  ['the bodies mark it', body, null],
  ['the callers name it', unmarked, 'mine'],
])('jobs wait too: %s', async (_, of, name) => {
  const headers = name === null ? {} : { 'Headgate-Prefix': name }
  const house = await openRecordedHouse({ yaml, acts })
  await house.ask(LLM.admin('lane'), { lane: 'batch', paused: true })
  const id = { 'Headgate-Id': 'job', 'Headgate-Deadline-Ms': '600000' }
  await house.ask(LLM.submit('acme', 'batch'), of('a'), { ...id, ...headers })
  await house.pass(100)
  expect((await house.store.find('acme', 'job'))?.prefix ?? null).toBe(name)
  await ask(house, 'one', of('b'), headers)
  await house.ask(LLM.admin('lane'), { lane: 'batch', paused: false })
  await house.pass(500)
  expect(begun(house)).toEqual(['one'])
  await house.pass(3_000)
  expect(begun(house)).toEqual(['one', 'job'])
  await house.close()
})

test('where nobody waits for prefixes bodies are not looked at for them', async () => {
  const house = await openRecordedHouse({ acts })
  await ask(house, 'one', body('a'))
  await ask(house, 'two', body('b'))
  await house.pass(100)
  expect(begun(house)).toEqual(['one', 'two'])
  await house.close()
})
