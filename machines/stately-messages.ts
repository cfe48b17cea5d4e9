/** Running cells as Stately's inspector hears of them: its three messages, in its words (@statelyai/inspect 0.7).
 *  Source: @statelyai/inspect, `createInspector`. Difference: that package's server listens on every interface,
 *  asks no page where it comes from, and keeps its last 200 messages; here is neither server nor memory. */
import type { Inspection, Subject } from './inspection.ts'

const PROTOCOL = '0.7.2'

/** What Stately's inspector takes. */
export interface StatelyMessage {
  type: '@xstate.actor' | '@xstate.event' | '@xstate.snapshot'
  sessionId: string
  rootId: string
  createdAt: string
  id: null
  _version: string
  [more: string]: unknown
}

export interface StatelySource {
  /** Hears of every cell there is, then of what happens; the answer ends it. */
  listen(tell: (message: StatelyMessage) => void): () => void
}

export function statelyMessages(inspection: Inspection, of: { wall: () => number }): StatelySource {
  const message = (
    { session }: Subject,
    type: StatelyMessage['type'],
    more: object,
  ): StatelyMessage => ({
    type,
    sessionId: session,
    rootId: session,
    createdAt: String(Math.round(of.wall())),
    id: null,
    _version: PROTOCOL,
    ...more,
  })
  return {
    listen: (tell) =>
      inspection.listen({
        began: (subject) => tell(message(subject, '@xstate.actor', introduction(subject))),
        heard(subject, event) {
          tell(message(subject, '@xstate.event', { event }))
          tell(message(subject, '@xstate.snapshot', { event, snapshot: shown(subject) }))
        },
        ended: () => {},
      }),
  }
}

/** The chart as its source says it; functions have no text. */
const introduction = (subject: Subject) => ({
  name: subject.name,
  definition: JSON.stringify(subject.table.machine.config),
  snapshot: shown(subject),
})

function shown({ table, cell }: Subject): object {
  const final = table.machine.root.states[cell.state]?.type === 'final'
  return { status: final ? 'done' : 'active', value: cell.state, context: cell.context }
}
