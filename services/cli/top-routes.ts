/** A line for each route: limit, breaker, what keeps it, and its scarcest quota. */
import type { BucketSnapshot, Snapshot } from '#contracts/snapshot'
import { most, words, type Drawing } from './top-drawing.ts'
import { bar, duration, middle, number, row, shown, type Cell, type Tone } from './top-text.ts'

type Route = Snapshot['routes'][number]

export function routes({ snapshot, width, room, paint }: Drawing): string[] {
  if (snapshot.routes.length === 0) return []
  const wide = width >= 100
  const roomy = width >= 72
  const [amount, state, breaker, queued, scarce] = [wide ? 14 : 12, 10, 9, 6, 10]
  const rest = (only: Cell): Cell[] => (roomy ? [only] : [])
  const left = width - (amount + breaker + queued) - 4 - (roomy ? state + scarce + 2 : 0)
  const barWidth = Math.max(4, Math.min(24, Math.floor(left / (wide ? 2 : 4))))
  const name = Math.max(8, left - barWidth)
  const head = row(
    [
      { text: 'ROUTE', width: name },
      { text: 'in flight of limit', width: barWidth + 1 + amount },
      ...rest({ text: 'limit is', width: state }),
      { text: 'breaker', width: breaker },
      { text: 'queued', width: queued, right: true },
      ...rest({ text: 'scarcest', width: scarce, right: true }),
    ].map((cell) => ({ ...cell, tone: 'strong' as const })),
    paint,
    width,
  )
  const { listed, more } = most([...snapshot.routes].toSorted(byTrouble), room.routes, 'routes')
  const lines = listed.flatMap((one) => {
    const short = scarcest(one.buckets)
    const line = row(
      [
        { text: middle(shown(one.id), name), width: name },
        { text: bar(one.inflight / one.limit, barWidth), width: barWidth },
        { text: `${number(one.inflight)} of ${number(one.limit)}`, width: amount },
        ...rest({ text: words(one.limit_state), width: state }),
        { text: breakerSaid(one.breaker), width: breaker, tone: breakerTone(one.breaker) },
        { text: number(one.queued), width: queued, right: true },
        ...rest({
          text: short.said,
          width: scarce,
          right: true,
          tone: short.part <= 0 ? 'warn' : undefined,
        }),
      ],
      paint,
      width,
    )
    const held = holding(one)
    return held === '' ? [line] : [line, row([{ text: `  ${held}`, width, tone: 'warn' }], paint)]
  })
  return [head, ...lines, ...more]
}

/** What holds a route back, besides its limit. */
function holding({ paused_ms, blocked_ms, blocked, breaker_cap, silent_ms }: Route): string {
  return [
    ...(blocked_ms > 0
      ? [`upstream blocked for ${duration(blocked_ms)} more`]
      : blocked === null
        ? []
        : ['upstream blocked: the next call tests it']),
    ...(silent_ms === null ? [] : [`no answer for ${duration(silent_ms)}`]),
    ...(paused_ms > 0 ? [`paused for ${duration(paused_ms)} more`] : []),
    ...(breaker_cap === null ? [] : [`breaker permits ${number(breaker_cap)} at once`]),
  ].join(', ')
}

const TROUBLE = ['closed', 'ramp', 'half_open', 'open']
const byTrouble = (a: Route, b: Route): number =>
  TROUBLE.indexOf(b.breaker) - TROUBLE.indexOf(a.breaker) ||
  b.inflight + b.queued - (a.inflight + a.queued)

export const breakerSaid = (state: string): string => (state === 'open' ? 'OPEN' : words(state))
const breakerTone = (state: string): Tone =>
  state === 'closed' ? 'good' : state === 'open' ? 'bad' : 'warn'

/** The dimension of which least is left, in the words of the configuration, as a share of its burst. */
function scarcest(of: Route['buckets']): { said: string; part: number } {
  const shares = [
    { name: 'rpm', part: partOf(of.requests) },
    { name: 'itpm', part: partOf(of.input_tokens) },
    { name: 'otpm', part: partOf(of.output_tokens) },
  ]
  const { name, part } = shares.reduce((least, one) => (one.part < least.part ? one : least))
  return { said: part === Infinity ? '-' : `${name} ${Math.round(part * 100)}%`, part }
}

const partOf = (bucket: BucketSnapshot): number =>
  bucket === null ? Infinity : bucket.level / bucket.burst
