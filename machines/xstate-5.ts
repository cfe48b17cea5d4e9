/** All that Headgate knows of how XState 5 is made: where a chart keeps what it does, and what its inspectors
 *  hear. Another major version is another file beside this one; table, loop and dashboard know neither.
 *
 *  `readChart` takes a flat machine apart, from public properties only. Whatever a table cannot honour it refuses,
 *  naming the state and the reason: compound, parallel and history states, always, invoke, wildcards, built-in
 *  actions but assign, composed guards, and any raise or cancel that is not a state's own `after`.
 *  `xstateEvents` tells of running cells as XState tells of actors. */
import {
  createActor,
  type AnyActorRef,
  type AnyEventObject,
  type AnyMachineSnapshot,
  type AnyStateMachine,
  type InspectionEvent,
  type StateNode,
} from 'xstate'
import type { Millis } from '#contracts/units'
import type { Inspection, Subject } from './inspection.ts'

type Loose = { type: string } & Record<string, unknown>
type Args = { context: object; event: Loose }
/** Assigns give the new context, other actions undefined. */
export type Act = (args: Args) => object | undefined

export interface Edge {
  /** source:transition index:target index, as `toDirectedGraph` counts. */
  readonly id: string
  /** In the order of the chart. */
  readonly place: number
  readonly guard: ((args: Args) => boolean) | null
  /** Null: heard without leaving the state. */
  readonly to: State | null
  readonly acts: readonly Act[]
}

interface Timer {
  readonly event: string
  readonly delay: (args: Args) => Millis
}

export interface State {
  readonly name: string
  readonly timers: readonly Timer[]
  /** What may be done with an event, first come first served. */
  readonly row: Map<string, readonly Edge[]>
}

export interface Chart {
  readonly states: ReadonlyMap<string, State>
  readonly edges: readonly Edge[]
  readonly initial: State
  /** What entering the initial state does. */
  readonly initialActs: readonly Act[]
  readonly contextOf: (input: unknown) => object
}

export function readChart(machine: AnyStateMachine): Chart {
  const states = new Map<string, State>()
  const edges: Edge[] = []
  refuseRoot(machine)
  const nodes = Object.entries(machine.root.states)
  for (const [name, node] of nodes) {
    refuseNode(name, node)
    states.set(name, { name, timers: timersOf(machine, node), row: new Map() })
  }
  for (const [name, node] of nodes) fillRow({ machine, states, edges }, name, node)
  const initial = states.get(machine.root.initial.target[0]?.key ?? '')
  if (initial === undefined) throw new Error(`${machine.id}: no initial state`)
  const entry = entryOf(machine.root.states[initial.name]!)
  const { context } = machine.config
  return {
    ...{ states, edges, initial },
    initialActs: actsOf(machine, entry, initial.name),
    contextOf: (input) =>
      typeof context === 'function' ? context({ input } as never) : { ...context },
  }
}

function fillRow(
  of: { machine: AnyStateMachine; states: Map<string, State>; edges: Edge[] },
  name: string,
  node: StateNode,
): void {
  const { machine, states, edges } = of
  // `toDirectedGraph` numbers the transitions of a node in this order.
  let index = -1
  for (const [event, transitions] of node.transitions) {
    if (event.includes('*')) refuse(machine, name, `the wildcard event ${event}`)
    const row: Edge[] = []
    for (const transition of transitions) {
      index++
      const targets = transition.target ?? []
      if (targets.length > 1) refuse(machine, name, 'a transition with several targets')
      const target = targets[0]
      const moves = target !== undefined && (target !== node || transition.reenter)
      const to = moves ? states.get(target.key) : null
      if (to === undefined) refuse(machine, name, `a target that is not a flat state of it`)
      const actions = [
        ...(moves ? exitOf(node) : []),
        ...transition.actions,
        ...(moves ? entryOf(target) : []),
      ]
      row.push({
        id: `${node.id}:${index}:0`,
        place: edges.length + row.length,
        guard: guardOf(machine, transition.guard, name),
        to: to ?? null,
        acts: actsOf(machine, actions, name),
      })
    }
    edges.push(...row)
    states.get(name)!.row.set(event, row)
  }
}

/** A state's own `after` shows up as a raise at entry and a cancel at exit. */
function timersOf(machine: AnyStateMachine, node: StateNode): Timer[] {
  const timers: Timer[] = []
  for (const action of node.entry as unknown[]) {
    const raise = ownRaise(action, node)
    if (raise === null) continue
    timers.push({ event: raise.event, delay: delayOf(machine, raise.delay, node.key) })
  }
  return timers
}

function ownRaise(action: unknown, node: StateNode): { event: string; delay: unknown } | null {
  if (typeof action !== 'function' && typeof action !== 'object') return null
  const { type, event, delay } = action as { type?: string; event?: Loose; delay?: unknown }
  if (type !== 'xstate.raise' || event === undefined) return null
  const own = event.type.startsWith('xstate.after.') && event.type.endsWith(`.${node.id}`)
  return own ? { event: event.type, delay } : null
}

function ownCancel(action: unknown, node: StateNode): boolean {
  const { type, sendId } = action as { type?: string; sendId?: unknown }
  return (
    type === 'xstate.cancel' &&
    typeof sendId === 'string' &&
    sendId.startsWith('xstate.after.') &&
    sendId.endsWith(`.${node.id}`)
  )
}

const entryOf = (node: StateNode): unknown[] =>
  (node.entry as unknown[]).filter((action) => ownRaise(action, node) === null)

const exitOf = (node: StateNode): unknown[] =>
  (node.exit as unknown[]).filter((action) => !ownCancel(action, node))

function delayOf(machine: AnyStateMachine, delay: unknown, at: string): Timer['delay'] {
  const found = typeof delay === 'string' ? machine.implementations.delays[delay] : delay
  if (typeof found === 'number') return () => found
  if (typeof found === 'string' && /^\d+$/.test(found)) return () => Number(found)
  if (typeof found === 'function')
    return (args) => (found as (a: unknown, p: unknown) => Millis)(args, undefined)
  return refuse(machine, at, `the delay ${String(delay)}, which is not provided`)
}

function guardOf(machine: AnyStateMachine, guard: unknown, at: string): Edge['guard'] {
  if (guard === undefined || guard === null) return null
  const { type, params } =
    typeof guard === 'object'
      ? (guard as { type: string; params?: unknown })
      : { type: guard, params: undefined }
  const found = typeof type === 'string' ? machine.implementations.guards[type] : type
  if (typeof found !== 'function')
    return refuse(machine, at, `the guard ${String(type)}, which is not provided`)
  if ('check' in found) return refuse(machine, at, 'a composed guard (and, or, not, stateIn)')
  const test = found as (args: unknown, params: unknown) => boolean
  return (args) => test(args, paramsOf(params, args))
}

function actsOf(machine: AnyStateMachine, actions: readonly unknown[], at: string): Act[] {
  return actions.map((action) => {
    const { type, params } =
      typeof action === 'object' && action !== null
        ? (action as { type: string; params?: unknown })
        : { type: action, params: undefined }
    const found = typeof type === 'string' ? machine.implementations.actions[type] : type
    if (typeof found !== 'function')
      return refuse(machine, at, `the action ${String(type)}, which is not provided`)
    if ('resolve' in found) return assignOf(machine, found, params, at)
    const plain = found as unknown as (args: unknown, params: unknown) => void
    return (args) => {
      plain(args, paramsOf(params, args))
      return undefined
    }
  })
}

/** assign comes as a function, or as an object of functions and values. */
function assignOf(machine: AnyStateMachine, action: object, params: unknown, at: string): Act {
  const { type, assignment } = action as { type?: string; assignment?: unknown }
  if (type !== 'xstate.assign') return refuse(machine, at, `the built-in action ${String(type)}`)
  if (typeof assignment === 'function') {
    const whole = assignment as (args: unknown, params: unknown) => object
    return (args) => ({ ...args.context, ...whole(args, paramsOf(params, args)) })
  }
  const parts = Object.entries(assignment as Record<string, unknown>)
  return (args) => {
    const next: Record<string, unknown> = { ...args.context }
    for (const [key, part] of parts)
      next[key] = typeof part === 'function' ? part(args, paramsOf(params, args)) : part
    return next
  }
}

const paramsOf = (params: unknown, args: Args): unknown =>
  typeof params === 'function' ? params(args) : params

// ---- refusals ----

function refuseRoot(machine: AnyStateMachine): void {
  const { root } = machine
  if (root.type !== 'compound') refuse(machine, '(root)', `a root of type ${root.type}`)
  if (root.transitions.size > 0) refuse(machine, '(root)', 'transitions of the root')
  if (root.entry.length > 0 || root.exit.length > 0)
    refuse(machine, '(root)', 'actions of the root')
  if ((root.initial.actions ?? []).length > 0)
    refuse(machine, '(root)', 'actions on the initial transition')
  if (root.invoke.length > 0) refuse(machine, '(root)', 'invoke')
}

function refuseNode(name: string, node: StateNode): void {
  const { machine } = node
  if (node.type !== 'atomic' && node.type !== 'final')
    refuse(machine, name, `a state of type ${node.type}`)
  if ((node.always ?? []).length > 0) refuse(machine, name, 'always')
  if (node.invoke.length > 0) refuse(machine, name, 'invoke')
  for (const action of [...node.entry, ...node.exit] as unknown[]) {
    const { type } = action as { type?: string }
    if (type === 'xstate.raise' && ownRaise(action, node) === null)
      refuse(machine, name, "a raise that is not the state's own after")
    if (type === 'xstate.cancel' && !ownCancel(action, node))
      refuse(machine, name, "a cancel that is not the state's own after")
  }
}

function refuse(machine: AnyStateMachine, state: string, what: string): never {
  throw new Error(`${machine.id}, state ${state}: the compiler does not support ${what}`)
}

// ---- what inspectors hear ----

/** What XState says of an actor: its own inspection events, as they are. */
export type MachineEvent = InspectionEvent

/** Tells of every cell that is shown, as XState tells of an actor: first that it is there, then each event, the
 *  transitions it took and the snapshot after it. The answer ends it. What a listener throws is not heard. */
export function xstateEvents(
  inspection: Inspection,
  listener: (event: MachineEvent) => void,
): () => void {
  let open = true
  const tell = (event: MachineEvent): void => {
    if (!open) return
    try {
      listener(event)
    } catch {
      return
    }
  }
  const mirrors = new Map<Subject, ReturnType<typeof mirrorOf>>()
  const deaf = inspection.listen({
    began: (subject) => void mirrors.set(subject, mirrorOf(subject, tell)),
    heard: (subject, event, edge) => mirrors.get(subject)?.heard(event, edge),
    ended(subject) {
      mirrors.get(subject)?.stop()
      mirrors.delete(subject)
    },
  })
  return () => {
    open = false
    deaf()
    for (const mirror of mirrors.values()) mirror.stop()
    mirrors.clear()
  }
}

/** An actor that decides nothing: it stands where the cell stands, so that XState speaks for itself. It runs no
 *  guard and no action: chance is drawn once, and no delay runs twice. */
function mirrorOf({ table: { machine }, cell }: Subject, tell: (event: MachineEvent) => void) {
  const definitions = Object.values(machine.root.states).flatMap((node) =>
    [...node.transitions.values()].flat(),
  )
  let taken: number | null = null
  let status: 'active' | 'stopped' = 'active'
  const present = (): AnyMachineSnapshot =>
    machine.resolveState({ value: cell.state, context: cell.context, status })
  const logic = Object.assign(Object.create(machine) as AnyStateMachine, {
    getInitialSnapshot: present,
    transition(_: unknown, event: AnyEventObject, { self }: { self: AnyActorRef }) {
      const snapshot = present()
      const _transitions = taken === null ? [] : [definitions[taken]!]
      const of = { rootId: self.sessionId, actorRef: self, event, snapshot }
      tell({ type: '@xstate.microstep', ...of, _transitions })
      return snapshot
    },
  })
  const actor = createActor(logic, { inspect: tell, id: machine.id })
  actor.start()
  return {
    heard(event: AnyEventObject, edge: number | null): void {
      taken = edge
      actor.send(event)
    },
    stop(): void {
      taken = null
      status = 'stopped'
      actor.stop()
    },
  }
}
