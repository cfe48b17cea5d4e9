/** Running machines as Stately's inspector hears of them: its three messages, in its words
 *  (@statelyai/inspect 0.7). Nothing is made while nobody listens; who joins late hears of every actor first.
 *  Source: @statelyai/inspect, `createInspector`. Difference: that package's server listens on every interface,
 *  asks no page where it comes from, and keeps its last 200 messages; here is neither server nor memory.
 *  Bound: `ACTORS_MAX` actors. */
import type { AnyActorRef, AnyStateMachine, InspectionEvent } from 'xstate'

export const ACTORS_MAX = 500
const PROTOCOL = '0.7.2'

/** What Stately's inspector takes. */
export interface InspectorMessage {
  type: '@xstate.actor' | '@xstate.event' | '@xstate.snapshot'
  sessionId: string
  rootId: string
  createdAt: string
  id: null
  _version: string
  [more: string]: unknown
}

export interface Inspection {
  /** For an actor that is about to start; null: there are too many. */
  watch(name: string): Watched | null
  /** Hears of every actor there is, then of what happens; the answer ends it. */
  listen(tell: (message: InspectorMessage) => void): () => void
}

export interface Watched {
  readonly inspect: (event: InspectionEvent) => void
  end(): void
}

export function inspection(of: { wall: () => number }): Inspection {
  const listeners = new Set<(message: InspectorMessage) => void>()
  /** `ref` is null until its actor is there to be asked: it is announced from inside its own making. */
  const actors = new Set<{ name: string; ref: AnyActorRef | null }>()

  const message = (
    ref: AnyActorRef,
    type: InspectorMessage['type'],
    more: object,
  ): InspectorMessage => ({
    type,
    sessionId: ref.sessionId,
    rootId: ref.sessionId,
    createdAt: String(Math.round(of.wall())),
    id: null,
    _version: PROTOCOL,
    ...more,
  })
  const introduction = (name: string, ref: AnyActorRef): InspectorMessage =>
    message(ref, '@xstate.actor', {
      name,
      definition: definitionOf(ref),
      snapshot: shown(ref.getSnapshot()),
    })
  const tellAll = (make: () => InspectorMessage): void => {
    if (listeners.size === 0) return
    const made = make()
    for (const tell of listeners) tell(made)
  }

  return {
    watch(name) {
      if (actors.size >= ACTORS_MAX) return null
      const own: { name: string; ref: AnyActorRef | null } = { name, ref: null }
      actors.add(own)
      return {
        inspect(event) {
          const ref = event.actorRef as AnyActorRef | undefined
          if (ref === undefined) return
          if (event.type === '@xstate.actor') return
          if (own.ref === null) {
            own.ref = ref
            tellAll(() => introduction(name, ref))
          }
          if (event.type === '@xstate.event')
            tellAll(() => message(ref, '@xstate.event', { event: event.event }))
          else if (event.type === '@xstate.snapshot')
            tellAll(() =>
              message(ref, '@xstate.snapshot', {
                event: event.event,
                snapshot: shown(event.snapshot),
              }),
            )
        },
        end: () => void actors.delete(own),
      }
    },
    listen(tell) {
      for (const { name, ref } of actors) if (ref !== null) tell(introduction(name, ref))
      listeners.add(tell)
      return () => void listeners.delete(tell)
    },
  }
}

/** As its source says it; functions have no text. */
function definitionOf(ref: AnyActorRef): string {
  const { config } = (ref as unknown as { logic: AnyStateMachine }).logic
  return JSON.stringify(config)
}

function shown(snapshot: unknown): object {
  const { status, value, context } = snapshot as Record<string, unknown>
  return { status, value, context }
}
