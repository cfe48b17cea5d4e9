/** A flat machine as a transition table: the same chart at a thousandth of an actor's cost.
 *
 *  Built from public properties only, once, at start. Whatever it cannot honour it refuses then, naming
 *  the state and the reason: compound, parallel and history states, always, invoke, wildcards, built-in
 *  actions but assign, composed guards, and any raise or cancel that is not a state's own `after`. A
 *  random walk holds table and actor equal (test/machines). */
import type { AnyStateMachine, EventFromLogic, InputFrom, SnapshotFrom, StateNode } from 'xstate'
import type { Millis } from '#contracts/units'

type Loose = { type: string } & Record<string, unknown>
type Run = (args: { context: object; event: Loose }) => object | undefined
type Guard = (args: { context: object; event: Loose }) => boolean

interface Edge {
  /** source:transition index:target index, as `toDirectedGraph` counts. */
  readonly id: string
  readonly guard: Guard | null
  readonly to: State | null
  /** Assigns give the new context, other actions undefined. */
  readonly acts: readonly Run[]
  /** How often it was taken, by all cells. */
  taken: number
}

interface Timer {
  readonly event: string
  readonly delay: (args: { context: object; event: Loose }) => Millis
}

interface State {
  readonly name: string
  readonly final: boolean
  readonly timers: readonly Timer[]
  readonly row: Map<string, readonly Edge[]>
}

/** One running instance: the state's name, its context, and the cancels of its timers. */
export interface Cell<C, S extends string> {
  state: S
  context: C
  timers: (() => void)[] | null
}

export interface Table<M extends AnyStateMachine> {
  readonly edges: readonly string[]
  /** How often each edge was taken by all cells so far, by edge id. */
  readonly taken: ReadonlyMap<string, number>
  start(
    input: InputFrom<M>,
    after?: After,
  ): Cell<SnapshotFrom<M>['context'], SnapshotFrom<M>['value'] & string>
  /** False when the chart has no such move from here, or no guard of it holds. */
  send(
    cell: Cell<SnapshotFrom<M>['context'], SnapshotFrom<M>['value'] & string>,
    event: EventFromLogic<M>,
    after?: After,
  ): boolean
}

type After = (ms: Millis, call: () => void) => () => void

export function compile<M extends AnyStateMachine>(machine: M): Table<M> {
  const states = new Map<string, State>()
  const all: Edge[] = []
  refuseRoot(machine)
  for (const [name, node] of Object.entries(machine.root.states)) {
    refuseNode(name, node)
    states.set(name, {
      name,
      final: node.type === 'final',
      timers: timersOf(machine, node),
      row: new Map(),
    })
  }
  for (const [name, node] of Object.entries(machine.root.states))
    fillRow(machine, states, name, node, all)
  const initial = states.get(machine.root.initial.target[0]?.key ?? '')
  if (initial === undefined) throw new Error(`${machine.id}: no initial state`)
  const initialActs = actsOf(machine, entryOf(machine.root.states[initial.name]!), initial.name)

  const send = (cell: LooseCell, event: Loose, after: After | undefined): boolean => {
    const state = states.get(cell.state)!
    const candidates = state.row.get(event.type)
    if (candidates === undefined) return false
    const args = { context: cell.context, event }
    for (const edge of candidates) {
      if (edge.guard !== null && !edge.guard(args)) continue
      if (edge.to !== null) clearTimers(cell)
      perform(cell, edge.acts, event)
      edge.taken++
      if (edge.to !== null) {
        cell.state = edge.to.name
        arm(cell, edge.to, event, after)
      }
      return true
    }
    return false
  }
  const arm = (cell: LooseCell, state: State, event: Loose, after: After | undefined): void => {
    if (state.timers.length === 0 || after === undefined) return
    cell.timers = state.timers.map(({ event: type, delay }) =>
      after(delay({ context: cell.context, event }), () => send(cell, { type }, after)),
    )
  }
  const start = (input: InputFrom<M>, after?: After): LooseCell => {
    const { context } = machine.config
    const made = typeof context === 'function' ? context({ input } as never) : { ...context }
    const cell: LooseCell = { state: initial.name, context: made as object, timers: null }
    const event: Loose = { type: 'xstate.init', input }
    perform(cell, initialActs, event)
    arm(cell, initial, event, after)
    return cell
  }
  const table = {
    edges: all.map((edge) => edge.id),
    get taken() {
      return new Map(all.map((edge) => [edge.id, edge.taken]))
    },
    start,
    send,
  }
  return table as unknown as Table<M>
}

type LooseCell = Cell<object, string>

function perform(cell: LooseCell, acts: readonly Run[], event: Loose): void {
  for (const act of acts) {
    const next = act({ context: cell.context, event })
    if (next !== undefined) cell.context = next
  }
}

/** A cell that is left behind must not be called back. */
export function clearTimers(cell: { timers: (() => void)[] | null }): void {
  if (cell.timers === null) return
  for (const cancel of cell.timers) cancel()
  cell.timers = null
}

// ---- building ----

function fillRow(
  machine: AnyStateMachine,
  states: Map<string, State>,
  name: string,
  node: StateNode,
  all: Edge[],
): void {
  // `toDirectedGraph` numbers the transitions of a node in this order.
  let index = -1
  for (const [event, transitions] of node.transitions) {
    if (event.includes('*')) refuse(machine, name, `the wildcard event ${event}`)
    const edges: Edge[] = []
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
      edges.push({
        id: `${node.id}:${index}:0`,
        guard: guardOf(machine, transition.guard, name),
        to: to ?? null,
        acts: actsOf(machine, actions, name),
        taken: 0,
      })
    }
    all.push(...edges)
    states.get(name)!.row.set(event, edges)
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

function guardOf(machine: AnyStateMachine, guard: unknown, at: string): Guard | null {
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

function actsOf(machine: AnyStateMachine, actions: readonly unknown[], at: string): Run[] {
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
function assignOf(machine: AnyStateMachine, action: object, params: unknown, at: string): Run {
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

const paramsOf = (params: unknown, args: { context: object; event: Loose }): unknown =>
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
