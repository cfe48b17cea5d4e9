/** A machine as an actor on a clock of your own, for who runs one without a Headgate; in Headgate its table runs. */
import { createActor, type Actor, type AnyStateMachine, type InputFrom } from 'xstate'
import type { Millis } from '#contracts/units'
import type { MachineEvent } from './xstate-5.ts'

/** Calls once, later; the answer cancels it. */
export type After = (ms: Millis, call: () => void) => () => void

export function run<M extends AnyStateMachine>(
  machine: M,
  options: {
    input: InputFrom<M>
    after: After
    /** Hears an action that threw; the actor is stopped then. */
    onError: (error: unknown) => void
    inspect?: (event: MachineEvent) => void
  },
): Actor<M> {
  const cancels = new Map<number, () => void>()
  let next = 1
  const clock = {
    setTimeout(call: (...args: never[]) => void, ms: number) {
      const id = next++
      const cancel = options.after(ms, () => {
        cancels.delete(id)
        call()
      })
      cancels.set(id, cancel)
      return id
    },
    clearTimeout(id: number) {
      cancels.get(id)?.()
      cancels.delete(id)
    },
  }
  const actor = createActor(machine as AnyStateMachine, {
    input: options.input,
    clock,
    ...(options.inspect === undefined ? {} : { inspect: options.inspect }),
  }) as Actor<M>
  // Without an error observer a throw would be rethrown from a timer and kill the process.
  actor.subscribe({ error: options.onError })
  return actor.start()
}
