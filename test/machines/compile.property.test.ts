import { expect, describe, test } from 'vitest'
import { and, assign, cancel, raise, setup, type AnyStateMachine } from 'xstate'
import { seededDice } from '#core/estimators/dice'
import { compile, type Cell } from '#machines/compile'
import { run } from '#machines/run'
import { HeapClock } from '../support/heap-clock.ts'
import * as cases from '../support/machine-cases.ts'
import { told } from '../support/machine-cases.ts'

/** xstate's own declarations do not fit `exactOptionalPropertyTypes` here. */
const loose = (machine: unknown): AnyStateMachine => machine as AnyStateMachine

describe.each(Object.entries(cases.walks))('%s: the compiled table and a real actor', (_, walk) => {
  test('agree after every step of a random walk, and every edge is walked', () => {
    const table = compile(walk.machine)
    let steps = 0
    for (let seed = 1; seed <= 400; seed++) {
      const dice = seededDice(seed)
      const pick = (n: number): number => Math.floor(dice.next() * n)
      const [here, there] = [new HeapClock(), new HeapClock()]
      const cell = table.start(walk.input as never, here.after) as Cell<object, string>
      const actor = run(walk.machine, {
        input: walk.input as never,
        after: there.after,
        onError: (error) => {
          throw error
        },
      })
      for (let i = 0; i < 150 && actor.getSnapshot().status === 'active'; i++) {
        if (pick(4) === 0) {
          const ms = [0, 900, 900, 5_000, 20_000, 61_000, 700_000][pick(7)]!
          here.advance(ms)
          there.advance(ms)
        } else {
          const known = walk.events(there.now + 1, pick, cell.context as never)
          const at = pick(known.length + 1)
          const event = known[at] ?? { type: 'no.such.event' }
          const before = actor.getSnapshot()
          const taken = walk.machine.getTransitionData(before as never, event as never) ?? []
          expect(table.send(cell, event as never, here.after)).toBe(taken.length > 0)
          actor.send(event as never)
        }
        steps++
        const snapshot = actor.getSnapshot()
        expect(cell.state).toBe(snapshot.value)
        expect(told(cell.context)).toBe(told(snapshot.context))
        expect(here.pending).toBe(there.pending)
      }
      actor.stop()
    }
    expect(steps).toBeGreaterThan(1_000)
    expect([...table.taken].filter(([, times]) => times === 0)).toEqual([])
  })
})

describe('the compiler refuses what it cannot honour, naming state and reason', () => {
  const make = setup({ actions: { act: () => {} }, guards: { yes: () => true } })
  const flat = (more: object): AnyStateMachine =>
    loose(make.createMachine({ id: 'm', initial: 'a', states: { a: more, b: {} } } as never))
  const refused: [name: string, machine: AnyStateMachine, says: RegExp][] = [
    ['compound', flat({ initial: 'x', states: { x: {} } }), /state a: .* type compound/],
    ['parallel', flat({ type: 'parallel', states: { x: {} } }), /state a: .* type parallel/],
    ['history', flat({ type: 'history' }), /state a: .* type history/],
    ['always', flat({ always: { target: 'b' } }), /state a: .* always/],
    ['invoke', flat({ invoke: { src: 'x' } }), /state a: .* invoke/],
    ['wildcard', flat({ on: { '*': { target: 'b' } } }), /state a: .* wildcard/],
    ['partial wildcard', flat({ on: { 'go.*': { target: 'b' } } }), /state a: .* wildcard/],
    ['composed guard', flat({ on: { go: { guard: and(['yes', 'yes']) } } }), /state a: .* composed/],
    ['missing guard', flat({ on: { go: { guard: 'nope' } } }), /state a: .* guard nope/],
    ['missing action', flat({ on: { go: { actions: 'nope' } } }), /state a: .* action nope/],
    ['raise', flat({ entry: raise({ type: 'go' }) }), /state a: .* raise/],
    ['delayed raise', flat({ entry: raise({ type: 'go' }, { delay: 5 }) }), /state a: .* raise/],
    ['cancel', flat({ exit: cancel('x') }), /state a: .* cancel/],
    ['raise on an edge', flat({ on: { go: { actions: raise({ type: 'x' }) } } }), /state a: .* built-in action xstate.raise/],
    ['root transition', loose(make.createMachine({ id: 'm', initial: 'a', on: { go: '.a' }, states: { a: {} } } as never)), /transitions of the root/],
    ['root entry', loose(make.createMachine({ id: 'm', initial: 'a', entry: 'act', states: { a: {} } } as never)), /actions of the root/],
  ] // prettier-ignore

  test.each(refused)('%s', (_, machine, says) => {
    expect(() => compile(machine)).toThrow(says)
  })

  test('but takes every form of assign, guard and action', () => {
    const machine = setup({
      types: {
        context: {} as { n: number; log: string[] },
        events: {} as { type: 'go'; by: number },
      },
      actions: {
        add: assign({ n: ({ context, event }) => context.n + event.by }),
        twice: assign(({ context }) => ({ n: context.n * 2 })),
        set: assign((_, params: { to: number }) => ({ n: params.to })),
        constant: assign({ n: 100 }),
      },
      guards: { below: ({ context }, params: { max: number }) => context.n < params.max },
    }).createMachine({
      id: 'm',
      initial: 'a',
      context: { n: 0, log: [] },
      entry: [],
      states: {
        a: {
          entry: [{ type: 'set', params: { to: 1 } }],
          exit: ['twice'],
          on: {
            go: [
              {
                guard: { type: 'below', params: { max: 3 } },
                target: 'a',
                reenter: false,
                actions: ['add'],
              },
              { guard: ({ context }) => context.n > 0, target: 'b', actions: ['add'] },
            ],
          },
        },
        b: { entry: ['constant'], type: 'final' },
      },
    })
    const table = compile(machine)
    const cell = table.start(undefined as never)
    expect(cell.context.n).toBe(1)
    table.send(cell, { type: 'go', by: 5 })
    expect([cell.state, cell.context.n]).toEqual(['a', 6])
    table.send(cell, { type: 'go', by: 5 })
    expect([cell.state, cell.context.n]).toEqual(['b', 100])
  })
})
