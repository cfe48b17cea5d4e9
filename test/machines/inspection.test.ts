/** Who is shown, and what Stately's inspector hears of them. */
import { expect, test } from 'vitest'
import { compile, type Heard } from '#machines/compile'
import { inspection, SUBJECTS_MAX, type Inspection } from '#machines/inspection'
import { lifecycleMachine, type LifecycleEvent } from '#machines/request-lifecycle'
import { statelyMessages, type StatelyMessage } from '#machines/stately-messages'
import { SHOWN_MAX } from '../../services/scheduler/loop/shown-requests.ts'
import { LoopWorld } from '../support/loop-world.ts'

const table = compile(lifecycleMachine)
const subject = (name: string) => ({ name, table, cell: table.start({ at: 0 }) })
const started = (shown: Inspection, name: string) => {
  const of = subject(name)
  const watched = shown.watch(of)!
  const heard: Heard = watched.heard
  of.cell.heard = heard
  return { watched, send: (event: LifecycleEvent) => table.send(of.cell, event) }
}
const heard = (messages: readonly StatelyMessage[]): string[] =>
  messages.map(({ type, name, snapshot }) =>
    `${type.slice(8)} ${String(name ?? (snapshot as { value?: string } | undefined)?.value ?? '')}`.trim(),
  )

test('a listener hears of a cell, its events and where they lead', () => {
  const shown = inspection()
  const messages: StatelyMessage[] = []
  const deaf = statelyMessages(shown, { wall: () => 5 }).listen((one) => messages.push(one))
  const { send } = started(shown, 'request a/1')
  send({ type: 'attempt.started', at: 1 })
  expect(heard(messages)).toEqual(['actor request a/1', 'event', 'snapshot running'])
  expect(JSON.parse(String(messages[0]!['definition']))).toMatchObject({ id: 'request' })
  for (const message of messages)
    expect(message).toMatchObject({ sessionId: messages[0]!.sessionId, createdAt: '5' })
  deaf()
  send({ type: 'request.settled', at: 2 })
  expect(messages.length).toBe(3)
})

test('the snapshot of a final state is done', () => {
  const shown = inspection()
  const messages: StatelyMessage[] = []
  const { send } = started(shown, 'one')
  statelyMessages(shown, { wall: () => 0 }).listen((one) => messages.push(one))
  expect(messages[0]!['snapshot']).toMatchObject({ status: 'active', value: 'queued' })
  send({ type: 'request.settled', at: 1 })
  expect(messages.at(-1)!['snapshot']).toMatchObject({ status: 'done', value: 'settled' })
})

test('who joins late hears of every cell as it stands; of those that ended, nothing', () => {
  const shown = inspection()
  const first = started(shown, 'one')
  const second = started(shown, 'two')
  first.send({ type: 'attempt.started', at: 1 })
  second.watched.end()
  const messages: StatelyMessage[] = []
  statelyMessages(shown, { wall: () => 0 }).listen((message) => messages.push(message))
  expect(heard(messages)).toEqual(['actor one'])
  expect(messages[0]!['snapshot']).toMatchObject({ value: 'running' })
})

test('cells that are shown are bounded, and one that ended makes room', () => {
  const shown = inspection()
  const all = Array.from({ length: SUBJECTS_MAX }, (_, i) => shown.watch(subject(`${i}`)))
  expect(all).not.toContain(null)
  expect(shown.watch(subject('one more'))).toBe(null)
  all[0]!.end()
  expect(shown.watch(subject('one more'))).not.toBe(null)
})

test('a loop shows its controllers and a sample of its requests to their end', async () => {
  const shown = inspection()
  const names = new Map<string, string>()
  const last = new Map<string, unknown>()
  statelyMessages(shown, { wall: () => 0 }).listen(({ sessionId, name, snapshot }) => {
    if (typeof name === 'string') names.set(sessionId, name)
    if (snapshot !== undefined) last.set(sessionId, (snapshot as { value: unknown }).value)
  })
  let alive = 0
  let most = 0
  const counted = (name: string, by: number): void => {
    if (name.startsWith('request ')) most = Math.max(most, (alive += by))
  }
  shown.listen({
    began: ({ name }) => counted(name, 1),
    heard: () => {},
    ended: ({ name }) => counted(name, -1),
  })
  const world = new LoopWorld({
    inspection: shown,
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
  expect(requests.length).toBeLessThanOrEqual(11)
  for (const [session, name] of requests) expect(last.get(session), name).toBe('settled')
  expect(most).toBeGreaterThan(0)
  expect(alive).toBe(0)
  expect(world.bugs).toEqual([])
})

test('of requests that do not end no more than so many are shown', async () => {
  const shown = inspection()
  let requests = 0
  shown.listen({
    began: ({ name }) => (requests += name.startsWith('request ') ? 1 : 0),
    heard: () => {},
    ended: () => {},
  })
  const world = new LoopWorld({
    inspection: shown,
    script: () => ({ firstByteMs: Infinity }),
  })
  for (let i = 0; i < SHOWN_MAX + 5; i++) {
    world.request({ deadlineMs: 600_000 })
    await world.pass(1_000, 500)
  }
  expect(requests).toBe(SHOWN_MAX)
})
