/** One thing that is wrong, and whom it concerns. Pure. */
import type { Frame, FrameRoute, Hello } from '#contracts/dashboard'
import type { RunbookKind } from '#contracts/runbook'
import { type View, routeName } from './view.ts'
import { listed, number, plural, shortened } from './words.ts'

export interface Finding {
  kind: RunbookKind
  level: 'warn' | 'bad'
  /** Said so that it is not said twice. */
  about?: 'queues'
  what: string
  /** Wall time; null: nobody knows. */
  since: number | null
  /** `what` says for how long already. */
  timed?: true
  whom: string
  doing: string
  /** What an operator can do, where it is not what the runbook says of the kind. */
  act?: string
}

export type Known = Pick<View, 'frame' | 'now' | 'seenSince'> & {
  hello?: Pick<Hello, 'wait_reasons'>
}
type Condition = Frame['conditions'][number]['condition']

/** When the first of them began, as the scheduler keeps it; a recording of an older one does not. */
export function sinceOf(
  { frame, seenSince }: Known,
  condition: Condition,
  about?: readonly (string | null)[],
): number {
  const held = conditionsOf(frame).filter(
    (one) => one.condition === condition && (about === undefined || about.includes(one.about)),
  )
  if (held.length > 0) return Math.min(...held.map(({ since }) => since))
  return seenSince(`${condition} ${about?.join(' ') ?? ''}`)
}

const conditionsOf = (frame: Frame): Frame['conditions'] =>
  (frame as Partial<Frame>).conditions ?? []
export const waitingOf = (frame: Frame): Frame['waiting'] => (frame as Partial<Frame>).waiting ?? []
export const holds = (frame: Frame, condition: Condition, about: string | null): boolean =>
  conditionsOf(frame).some((one) => one.condition === condition && one.about === about)

const NAMED_MAX = 2

export function namesOf(routes: readonly FrameRoute[], frame: Frame): string {
  const names = routes.map((one) => shortened(routeName(frame, one.id), 40))
  if (names.length <= NAMED_MAX) return listed(names)
  return `${names.slice(0, NAMED_MAX).join(', ')} and ${plural(names.length - NAMED_MAX, 'route')} more`
}

export function whomOf(routes: readonly FrameRoute[], frame: Frame): string {
  const queued = routes.reduce((sum, one) => sum + one.queued, 0)
  const inflight = routes.reduce((sum, one) => sum + one.inflight, 0)
  const all = routes.length === frame.routes.length
  // Of which routes they are is not in a frame.
  const { backoff } = frame.global
  const back = all && backoff > 0 ? `, ${number(backoff)} to be tried again` : ''
  if (queued + inflight === 0) return back === '' ? 'nobody at the moment' : back.slice(', '.length)
  const part = all ? '' : ` of ${plural(routes.length, 'model')}`
  return `${number(queued)} waiting and ${number(inflight)} running${part}${back}`
}

export function grouped<T>(items: readonly T[], by: (item: T) => string): [string, T[]][] {
  const found = new Map<string, T[]>()
  for (const item of items) found.set(by(item), [...(found.get(by(item)) ?? []), item])
  return [...found]
}
