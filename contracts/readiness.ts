/** Whether requests are taken, door by door: what `/readyz` answers on each port. */

/** What keeps each door of a process from taking requests; nothing: it takes them. `nats`: programs that publish;
 *  `http`: callers of the HTTP door; `memory`: the process itself, where there is no NATS. */
export type Doors = Readonly<Partial<Record<Door, readonly string[]>>>
export const DOORS = ['nats', 'http', 'memory'] as const
export type Door = (typeof DOORS)[number]

export interface Readiness {
  /** Of the door that was asked for; else: one door is enough. */
  ready: boolean
  reasons: string[]
  doors: Partial<Record<Door, { ready: boolean; reasons: string[] }>>
}

/** `asked`: null for any. Null: this process has no such door. */
export function readinessOf(all: Doors, asked: string | null): Readiness | null {
  const known = Object.entries(all) as [Door, readonly string[]][]
  const wanted = asked === null ? known : known.filter(([door]) => door === asked)
  if (wanted.length === 0) return null
  const ready = wanted.some(([, reasons]) => reasons.length === 0)
  return {
    ready,
    reasons: ready ? [] : [...new Set(wanted.flatMap(([, reasons]) => reasons))],
    doors: Object.fromEntries(
      known.map(([door, reasons]) => [
        door,
        { ready: reasons.length === 0, reasons: [...reasons] },
      ]),
    ),
  }
}

export interface ReadinessAnswer {
  status: 200 | 400 | 503
  body: Readiness | { type: 'error'; error: { type: string; message: string } }
}

/** `GET /readyz` and `GET /readyz?door=<door>`. */
export function readyzAnswer(all: Doors, asked: unknown): ReadinessAnswer {
  const door = asked === undefined || asked === '' || asked === 'any' ? null : String(asked)
  const found = readinessOf(all, door)
  if (found !== null) return { status: found.ready ? 200 : 503, body: found }
  const message = `door: expected ${['any', ...Object.keys(all)].join(' or ')}, the doors of this process`
  return { status: 400, body: { type: 'error', error: { type: 'invalid_request_error', message } } }
}
