/** What XState's inspectors hear of cells, beside what they hear of actors. */
import { describe, expect, test } from 'vitest'
import { createActor, type AnyActorRef, type InspectionEvent } from 'xstate'
import { seededDice } from '#core/estimators/dice'
import { compile, type Cell } from '#machines/compile'
import { inspection } from '#machines/inspection'
import { run } from '#machines/run'
import { xstateEvents } from '#machines/xstate-5'
import { HeapClock } from '../support/heap-clock.ts'
import { lifecycleMachine, told, walks, type Walk } from '../support/machine-cases.ts'
import { filesOf, read } from '../support/tree.ts'

/** One event as text, without the names that each actor gets anew. An actor also tells of its timers as
 *  actions; a cell has no actions to tell of. */
const wordsOf = (events: readonly InspectionEvent[]): string[] =>
  events
    .filter(({ type }) => type !== '@xstate.action')
    .map((event) => {
      const { value, context, status } = ('snapshot' in event ? event.snapshot : {}) as {
        [key: string]: unknown
      }
      const taken =
        event.type === '@xstate.microstep'
          ? event._transitions.map(({ source, eventType, guard }) => [
              source.key,
              eventType,
              (guard as { type?: string } | undefined)?.type ?? guard,
            ])
          : []
      const said = 'event' in event ? event.event : null
      return told([event.type, said, value, context, status, taken])
    })

/** A random walk of an actor and a cell: what was heard of each. */
function walked(walk: Walk, seed: number) {
  const dice = seededDice(seed)
  const pick = (n: number): number => Math.floor(dice.next() * n)
  const [here, there] = [new HeapClock(), new HeapClock()]
  const ofActor: InspectionEvent[] = []
  const ofCell: InspectionEvent[] = []
  const shown = inspection()
  const table = compile(walk.machine)
  const cell = table.start(walk.input as never, here.after) as Cell<object, string>
  const watched = shown.watch({ name: 'it', table, cell })!
  cell.heard = watched.heard
  xstateEvents(shown, (event) => ofCell.push(event))
  const actor = run(walk.machine, {
    input: walk.input as never,
    after: there.after,
    onError: (error) => expect(error).toBe(undefined),
    inspect: (event) => ofActor.push(event),
  })
  for (let i = 0; i < 100 && actor.getSnapshot().status === 'active'; i++) {
    if (pick(4) === 0) {
      const ms = [0, 900, 5_000, 20_000, 61_000][pick(5)]!
      here.advance(ms)
      there.advance(ms)
    } else {
      const known = walk.events(there.now + 1, pick, cell.context as never)
      const event = known[pick(known.length + 1)] ?? { type: 'no.such.event' }
      table.send(cell, event as never, here.after)
      actor.send(event as never)
    }
  }
  watched.end()
  actor.stop()
  return { ofActor, ofCell }
}

describe.each(Object.entries(walks))('%s', (_, walk) => {
  test('is told of event by event as its actor would be', () => {
    const types = new Set<string>()
    for (let seed = 1; seed <= 40; seed++) {
      const { ofActor, ofCell } = walked(walk, seed)
      // The first three are the actor, its input, and where it begins: a cell has begun before it is shown.
      const [born, began, first, ...rest] = wordsOf(ofActor)
      expect(born).toContain('@xstate.actor')
      expect(began).toContain('xstate.init')
      const own = wordsOf(ofCell)
      expect(own[0]).toBe(born)
      expect(own.slice(3)).toEqual(rest)
      expect(JSON.parse(own[2]!).slice(2)).toEqual(JSON.parse(first!).slice(2))
      for (const { type } of ofCell) types.add(type)
    }
    expect([...types].toSorted()).toEqual([
      '@xstate.actor',
      '@xstate.event',
      '@xstate.microstep',
      '@xstate.snapshot',
    ])
  })
})

const table = compile(lifecycleMachine)
const shownCell = () => {
  const shown = inspection()
  const cell = table.start({ at: 0 })
  const watched = shown.watch({ name: 'request a/1', table, cell })!
  cell.heard = watched.heard
  return { shown, cell, watched }
}

test('the actor that is told of stands where its cell stands, and knows its chart', () => {
  const { shown, cell } = shownCell()
  table.send(cell, { type: 'attempt.started', at: 1 })
  const refs = new Set<AnyActorRef>()
  xstateEvents(shown, (event) => refs.add(event.actorRef as AnyActorRef))
  const [ref] = [...refs]
  expect(ref!.getSnapshot().matches('running')).toBe(true)
  table.send(cell, { type: 'stream.forwarding', at: 2 })
  expect(ref!.getSnapshot()).toMatchObject({ value: 'forwarding', context: { since: 2 } })
  expect(ref!.getSnapshot().can({ type: 'request.settled', at: 3 })).toBe(true)
  expect((ref as unknown as { logic: { config: unknown } }).logic.config).toEqual(
    lifecycleMachine.config,
  )
})

test('a listener that throws is not heard; one that left hears no more', () => {
  const { shown, cell, watched } = shownCell()
  xstateEvents(shown, () => {
    throw new Error('mine')
  })
  const heard: string[] = []
  const deaf = xstateEvents(shown, ({ type }) => heard.push(type))
  table.send(cell, { type: 'attempt.started', at: 1 })
  expect(heard.filter((type) => type === '@xstate.microstep').length).toBe(1)
  const before = heard.length
  deaf()
  table.send(cell, { type: 'request.settled', at: 2 })
  watched.end()
  expect(heard.length).toBe(before)
})

test('a chart is still a machine that anybody runs', () => {
  const actor = createActor(lifecycleMachine, { input: { at: 0 } }).start()
  actor.send({ type: 'attempt.started', at: 1 })
  expect(actor.getSnapshot().value).toBe('running')
})

test('nobody else knows how XState 5 is made', () => {
  const words = /xstate\.(assign|raise|cancel)\b|InspectionEvent\b/
  const knowing = filesOf(['machines', 'services'], /\.ts$/).filter((path) =>
    words.test(read(path)),
  )
  expect(knowing).toEqual(['machines/xstate-5.ts'])
})
