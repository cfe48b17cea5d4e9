import { describe, expect, test } from 'vitest'
import type { FailureWindow } from '#machines/failure-window'
import type { AnyMachineSnapshot, AnyStateMachine, EventObject } from 'xstate'
import { adjacencyMapToArray, getAdjacencyMap, getShortestPaths } from 'xstate/graph'
import { compile, type Cell } from '#machines/compile'
import { run } from '#machines/run'
import * as cases from '../support/machine-cases.ts'

interface Model {
  machine: AnyStateMachine
  input: unknown
  /** Examples that together reach every branch; `after` delays are ordinary events here. */
  events: readonly EventObject[]
  /** What guards read of the context. */
  key: (snapshot: AnyMachineSnapshot) => unknown
}

const attempt = (type: string, generation: number, tenant: string, at = 1_000) =>
  ({ type, generation, tenant, at, limit: 6, inflight: 3 }) as EventObject

const models: Record<string, Model> = {
  'request-lifecycle': {
    machine: cases.lifecycleMachine,
    input: { at: 0 },
    events: cases.lifecycleEvents(1),
    key: () => null,
  },
  breaker: {
    machine: cases.breakerMachine,
    input: { ...cases.breakerInput, settings: { ...cases.breakerInput.settings, minSamples: 2 } },
    events: [
      ...[0, 1, 2, 3].flatMap((generation) => [
        attempt('attempt.ok', generation, 'a'),
        attempt('attempt.failed', generation, 'a'),
      ]),
      { type: 'probe.started' },
      { type: 'ramp.slowed', slow: true } as EventObject,
      { type: 'fleet.opened', openFor: 9_000 } as EventObject,
      { type: 'settings.changed', settings: cases.breakerInput.settings } as EventObject,
      { type: 'settings.changed', settings: { ...cases.breakerInput.settings, minSamples: 2, steady: true } } as EventObject,
      { type: 'tick' } as EventObject,
      { type: 'xstate.after.openFor.breaker.open' },
      { type: 'xstate.after.decideWithin.breaker.probing' },
      { type: 'xstate.after.rampStep.breaker.ramp' },
    ],
    key: ({ context }) => {
      const c = context as Record<string, unknown> & { window: FailureWindow; generation: number }
      const { older, newest } = c.window
      const seen = Math.min(3, [...older, newest].reduce((n, b) => n + (b?.ok ?? 0) + (b?.fail ?? 0), 0))
      const { steady } = c['settings'] as { steady?: boolean }
      // Half-open earns by probes, the ramp up to the limit of the events.
      const earned = steady === true ? Math.min(6, Math.floor(Number(c['earned']))) : 0
      return [Math.min(3, c.generation), c['probesOk'], Math.min(1, Number(c['probesFailed'])), c['rampStep'], seen, steady, earned, c['slow']]
    },
  },
  'concurrency-limit': {
    machine: cases.limitMachine,
    input: cases.limitInput,
    events: [
      { type: 'attempt.started', inflight: 20 } as EventObject,
      { type: 'attempt.ok', at: 2_000 } as EventObject,
      ...[0, 1].map((epoch) => ({ type: 'attempt.throttled', epoch, at: 2_000, inflight: 20 })),
      ...[40_000, 400_000, 900_000].map((at) => ({ type: 'tick', at, inflight: 20 })),
      { type: 'clock.jumped', at: 3_000, inflight: 3 } as EventObject,
      { type: 'breaker.opened', at: 3_000 } as EventObject,
      { type: 'breaker.opened', at: 200_000 } as EventObject,
      { type: 'breaker.ramping', at: 200_000, inflight: 4 } as EventObject,
      { type: 'breaker.ramped', at: 200_000, earned: 12 } as EventObject,
      { type: 'ramp.limited', at: 3_000, retryAfterMs: 1_000 } as EventObject,
      { type: 'fleet.heard', at: 3_000, limit: 6, cut: true, inflight: 3 } as EventObject,
      { type: 'fleet.heard', at: 200_000, limit: 30, cut: false, inflight: 3 } as EventObject,
      { type: 'settings.changed', settings: { ...cases.limitInput.settings, ceiling: 9 }, at: 200_000 } as EventObject,
    ],
    key: ({ context }) => {
      const { aimd } = context as { aimd: { limit: number; best: number; epoch: number; ring: number[]; slowUntil: number } }
      return [aimd.limit, aimd.best, Math.min(2, aimd.epoch), aimd.ring.filter((one) => one < 0).length, aimd.slowUntil > 0]
    },
  },
} // prettier-ignore

describe.each(Object.entries(models))('%s, from its model', (_, model) => {
  const options = {
    events: model.events as never,
    input: model.input as never,
    serializeState: (s: AnyMachineSnapshot) => JSON.stringify([s.value, model.key(s)]),
    serializeEvent: (e: EventObject) => JSON.stringify(e),
    stopWhen: (s: AnyMachineSnapshot) => s.status !== 'active',
    limit: 20_000,
  }

  test('every transition of the chart can be taken', () => {
    const missing = new Set(
      Object.values(model.machine.root.states).flatMap((node) =>
        [...node.transitions.values()].flat(),
      ),
    )
    for (const { state, event } of adjacencyMapToArray(
      getAdjacencyMap(model.machine, options as never),
    ))
      for (const taken of model.machine.getTransitionData(state as never, event as never) ?? [])
        missing.delete(taken)
    expect([...missing].map((t) => `${t.source.key} ${t.eventType} ${String(t.guard)}`)).toEqual([])
  })

  test('actor and table reach every state of the model by its shortest path', () => {
    const paths = getShortestPaths(model.machine, options as never)
    expect(paths.length).toBeGreaterThan(5)
    const table = compile(model.machine)
    const never = () => () => {}
    for (const path of paths.slice(0, 400)) {
      const cell = table.start(model.input as never, never) as Cell<object, string>
      const actor = run(model.machine, {
        input: model.input as never,
        after: never,
        onError: (error) => {
          throw error
        },
      })
      for (const { event } of path.steps) {
        if (event.type === 'xstate.init') continue
        actor.send(event as never)
        table.send(cell, event as never, never)
      }
      expect(actor.getSnapshot().value).toBe(path.state.value)
      expect(cell.state).toBe(path.state.value)
      actor.stop()
    }
  })
})
