/** Where one request stands, from queued to settled; one flat chart, compiled into a table.
 *  It decides nothing: the loop sends it an event for each effect it performs, and a move that the chart
 *  forbids is a bug that stops the step. */
import { assign, setup, type SnapshotFrom } from 'xstate'
import type { Millis } from '#contracts/units'

export interface LifecycleInput {
  at: Millis
}

type At = { at: Millis }
export type LifecycleEvent =
  | ({ type: 'attempt.started' } & At)
  | ({ type: 'stream.forwarding' } & At)
  | ({ type: 'attempt.retrying' } & At)
  | ({ type: 'attempt.rerouted' } & At)
  | ({ type: 'backoff.over' } & At)
  | ({ type: 'attempt.aborting' } & At)
  | ({ type: 'attempt.requeued' } & At)
  | ({ type: 'request.settled' } & At)

export interface LifecycleContext {
  /** When the present state began. */
  since: Millis
}

export const lifecycleMachine = setup({
  types: {
    input: {} as LifecycleInput,
    context: {} as LifecycleContext,
    events: {} as LifecycleEvent,
  },
  actions: {
    stamp: assign({ since: ({ context, event }) => event.at ?? context.since }),
  },
}).createMachine({
  id: 'request',
  initial: 'queued',
  context: ({ input }) => ({ since: input.at }),
  states: {
    queued: {
      on: {
        'attempt.started': { target: 'running', actions: ['stamp'] },
        'request.settled': { target: 'settled', actions: ['stamp'] },
      },
    },
    running: {
      on: {
        'stream.forwarding': { target: 'forwarding', actions: ['stamp'] },
        'attempt.retrying': { target: 'backoff', actions: ['stamp'] },
        'attempt.rerouted': { target: 'queued', actions: ['stamp'] },
        'attempt.aborting': { target: 'aborting', actions: ['stamp'] },
        'request.settled': { target: 'settled', actions: ['stamp'] },
      },
    },
    forwarding: {
      on: {
        'attempt.aborting': { target: 'aborting', actions: ['stamp'] },
        'request.settled': { target: 'settled', actions: ['stamp'] },
      },
    },
    backoff: {
      on: {
        'backoff.over': { target: 'queued', actions: ['stamp'] },
        'request.settled': { target: 'settled', actions: ['stamp'] },
      },
    },
    aborting: {
      on: {
        'attempt.requeued': { target: 'queued', actions: ['stamp'] },
        'attempt.retrying': { target: 'backoff', actions: ['stamp'] },
        'request.settled': { target: 'settled', actions: ['stamp'] },
      },
    },
    settled: { type: 'final' },
  },
})

export type LifecycleSnapshot = SnapshotFrom<typeof lifecycleMachine>
export type LifecycleState = LifecycleSnapshot['value']
