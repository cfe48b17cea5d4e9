/** What an inspector hears of running machines, and what the machines pay for it. */
import { expect, test } from 'vitest'
import { ACTORS_MAX, inspection, type InspectorMessage } from '#machines/inspection'
import { lifecycleMachine } from '#machines/request-lifecycle'
import { run } from '#machines/run'
import { SHADOWS_MAX } from '../../services/scheduler/loop/shadow-requests.ts'
import { LoopWorld } from '../support/loop-world.ts'

const never = () => () => {}
const started = (inspects: ReturnType<typeof inspection>, name: string) => {
  const watched = inspects.watch(name)!
  const { inspect } = watched
  const fail = (error: unknown): never => {
    throw error
  }
  return {
    watched,
    actor: run(lifecycleMachine, { input: { at: 0 }, after: never, onError: fail, inspect }),
  }
}
const heard = (messages: readonly InspectorMessage[]): string[] =>
  messages.map(({ type, name, snapshot }) =>
    `${type.slice(8)} ${String(name ?? (snapshot as { value?: string } | undefined)?.value ?? '')}`.trim(),
  )

test('a listener hears of an actor, its events and where they lead', () => {
  const inspects = inspection({ wall: () => 5 })
  const messages: InspectorMessage[] = []
  const deaf = inspects.listen((message) => messages.push(message))
  const { actor } = started(inspects, 'request a/1')
  actor.send({ type: 'attempt.started', at: 1 })
  expect(heard(messages)).toEqual([
    'actor request a/1',
    'event',
    'snapshot queued',
    'event',
    'snapshot running',
  ])
  expect(JSON.parse(String(messages[0]!['definition']))).toMatchObject({ id: 'request' })
  for (const message of messages)
    expect(message).toMatchObject({ sessionId: messages[0]!.sessionId, createdAt: '5' })
  deaf()
  actor.send({ type: 'request.settled', at: 2 })
  expect(messages.length).toBe(5)
})

test('who joins late hears of every actor as it stands; of those that ended, nothing', () => {
  const inspects = inspection({ wall: () => 0 })
  const first = started(inspects, 'one')
  const second = started(inspects, 'two')
  first.actor.send({ type: 'attempt.started', at: 1 })
  second.watched.end()
  const messages: InspectorMessage[] = []
  inspects.listen((message) => messages.push(message))
  expect(heard(messages)).toEqual(['actor one'])
  expect(messages[0]!['snapshot']).toMatchObject({ value: 'running' })
})

test('actors that are watched are bounded', () => {
  const inspects = inspection({ wall: () => 0 })
  for (let i = 0; i < ACTORS_MAX; i++) expect(inspects.watch(`${i}`)).not.toBe(null)
  expect(inspects.watch('one more')).toBe(null)
})

test('a loop offers its controllers and a sample of its requests, which agree with their tables', async () => {
  const inspects = inspection({ wall: () => 0 })
  const names = new Map<string, string>()
  const last = new Map<string, unknown>()
  inspects.listen(({ sessionId, name, snapshot }) => {
    if (typeof name === 'string') names.set(sessionId, name)
    if (snapshot !== undefined) last.set(sessionId, (snapshot as { value: unknown }).value)
  })
  const world = new LoopWorld({
    inspection: inspects,
    script: (index) =>
      index % 10 === 0
        ? { end: { kind: 'overloaded', status: 529 } }
        : { events: ['{}'], endMs: 300, end: { kind: 'ok', status: 200 } },
  })
  for (let i = 0; i < 100; i++) {
    world.request({ tenant: `t${i % 5}` })
    await world.pass(100)
  }
  await world.pass(60_000)
  const told = [...names.values()]
  expect(told.filter((name) => name.startsWith('breaker '))).toEqual(['breaker default-m'])
  expect(told.filter((name) => name.startsWith('limit '))).toEqual(['limit default-m'])
  const requests = [...names].filter(([, name]) => name.startsWith('request '))
  expect(requests.length).toBeGreaterThan(5)
  expect(requests.length).toBeLessThanOrEqual(10 + SHADOWS_MAX)
  for (const [session, name] of requests) expect(last.get(session), name).toBe('settled')
  expect(world.events.filter(({ name }) => name === 'alarm')).toEqual([])
  expect(world.bugs).toEqual([])
})
