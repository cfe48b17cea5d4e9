/** What is left of a call that is asked again: of its time, and of its tries. Pure. */
import { DEADLINE_MAX_MS, HEADER } from '#contracts/messages'
import type { TransportHeaders } from './transport.ts'

/** Its headers with that; null: nothing is left. `attempts`: tries that it has had, as far as is known; one at
 *  least is reckoned. Null: none, and that is certain. */
export function leftOf(
  headers: TransportHeaders,
  of: { elapsedMs: number; laneMs: number | null; attempts: number | null },
): TransportHeaders | null {
  const said = whole(headers, HEADER.deadline)
  const deadlineMs = said ?? of.laneMs
  const tries = of.attempts === null ? null : whole(headers, HEADER.maxAttempts)
  const left: [name: string, value: number][] = []
  if (deadlineMs !== null)
    left.push([HEADER.deadline, Math.min(Math.floor(deadlineMs - of.elapsedMs), DEADLINE_MAX_MS)])
  if (tries !== null) left.push([HEADER.maxAttempts, tries - Math.max(1, of.attempts ?? 0)])
  if (left.some(([, value]) => value < 1)) return null
  const rest = headers.filter(([name]) => !left.some(([other]) => same(name, other)))
  return [...rest, ...left.map(([name, value]) => [name, String(value)] as const)]
}

/** Null: there is none, or none that means anything: that is the scheduler's to refuse. */
function whole(headers: TransportHeaders, name: string): number | null {
  const text = headers.find(([own]) => same(own, name))?.[1]
  return text === undefined || !/^[0-9]{1,12}$/.test(text) ? null : Number(text)
}

const same = (one: string, other: string): boolean => one.toLowerCase() === other.toLowerCase()
