/** What every part of the page is drawn from, and what each part may ask of the page. */
import type { Chart, ChartName, Frame, FrameRoute, Hello } from '#contracts/dashboard'
import type { Trend } from './wait-trend.ts'

export interface View {
  hello: Hello
  frame: Frame
  /** The frame drawn before, of the same process; null at first. */
  before: Frame | null
  /** Wall time of the scheduler, now. */
  now: number
  /** The route that machines and plots show. */
  route: FrameRoute | null
  trend: Trend
  /** Since when a thing without a time of its own has been seen, by a name of ours. */
  seenSince: (thing: string) => number
  /** True: a recording plays; nothing can be asked of a scheduler. */
  recorded: boolean
  /** Null: frames come. Else why they do not. */
  stale: string | null
}

export interface Page {
  selectRoute(id: string): void
  openRequests(of: { state?: string; route?: string; tenant?: string }): void
  openLife(of: { tenant: string; id: string }): void
  openTenant(name: string): void
}

export interface Section {
  /** Once for each process or recording. */
  begin?(hello: Hello, recorded: boolean): void
  draw(view: View): void
}

export const chartOf = (hello: Hello, name: ChartName): Chart | undefined =>
  hello.charts.find((one) => one.name === name)

/** With one upstream its name says nothing. */
export function routeName(frame: Frame, id: string): string {
  const route = frame.routes.find((one) => one.id === id)
  if (route === undefined) return id
  const upstreams = new Set(frame.routes.map((one) => one.upstream))
  return upstreams.size === 1 ? route.model : `${route.model} at ${route.upstream}`
}

export type Tone = 'good' | 'warn' | 'bad'

export const toneOf = (route: FrameRoute): Tone => {
  const { state } = route.breaker_machine
  if (route.blocked_ms > 0 || state === 'open') return 'bad'
  return state !== 'closed' || route.paused_ms > 0 || route.limit_machine.state !== 'steady'
    ? 'warn'
    : 'good'
}

/** One or two words for a route that is not as usual, else `steady`. */
export function wordOf(route: FrameRoute): string {
  const { state } = route.breaker_machine
  if (route.blocked_ms > 0) return 'blocked'
  if (state === 'open') return 'breaker open'
  if (state === 'halfOpen' || state === 'probing') return 'probing'
  if (state === 'ramp') return 'ramp'
  if (route.paused_ms > 0) return 'quota pause'
  return route.limit_machine.state
}
