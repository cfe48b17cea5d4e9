/** The picture of `headgate top` as lines of text, for a width and a height. What is wrong is said in words;
 *  colour only repeats it. */
import type { Snapshot } from '#contracts/snapshot'
import { waitWords } from '#contracts/waiting'
import { fleetLines } from './top-fleet.ts'
import { jobLines } from './top-jobs.ts'
import type { Move } from './top-memory.ts'
import { most, words, type Drawing, type PageOptions, type Room } from './top-drawing.ts'
import {
  bar,
  clock,
  duration,
  middle,
  number,
  packed,
  percent,
  row,
  shown,
  spark,
  type Cell,
  type Paint,
  type Tone,
} from './top-text.ts'
import { breakerSaid, routes } from './top-routes.ts'
import { troubles } from './top-troubles.ts'

export type { PageOptions }

/** The first that fits is taken. */
const ROOMS: readonly Room[] = [
  { troubles: 20, routes: 50, lanes: 32, tenants: 10, moves: 10, airy: true },
  { troubles: 8, routes: 12, lanes: 8, tenants: 8, moves: 6, airy: true },
  { troubles: 5, routes: 6, lanes: 6, tenants: 5, moves: 5, airy: false },
  { troubles: 3, routes: 4, lanes: 4, tenants: 3, moves: 3, airy: false },
  { troubles: 2, routes: 3, lanes: 3, tenants: 1, moves: 1, airy: false },
  { troubles: 1, routes: 2, lanes: 3, tenants: 0, moves: 0, airy: false },
]
const WIDTH_MIN = 16
const LEVELS = ['normal', 'batch at its minimum', 'batch on what is left', 'arrivals are shed']

export function pageOf(of: PageOptions): string[] {
  const width = Math.max(WIDTH_MIN, of.columns)
  let lines: string[] = []
  for (const room of ROOMS) {
    lines = drawn({ ...of, width, room })
    if (lines.length <= of.rows) break
  }
  return lines.slice(0, Math.max(1, of.rows))
}

/** What is drawn before anything was heard. */
export const waitingPage = (of: { trouble: string; columns: number; paint: Paint }): string[] => [
  of.paint('strong', 'headgate top'),
  ...packed(
    [{ text: shown(of.trouble), width: 0, tone: 'bad' }],
    Math.max(WIDTH_MIN, of.columns),
    of.paint,
  ),
]

function drawn(of: Drawing): string[] {
  const sections = [routes(of), lanes(of), fleet(of), jobs(of), tenants(of), moves(of)].filter(
    (one) => one.length > 0,
  )
  const gap = of.room.airy ? [''] : []
  return [
    ...header(of),
    ...troubles(of),
    ...gap,
    ...guardrails(of),
    ...sections.flatMap((one) => [...gap, ...one]),
  ]
}

// ---- header ----

function header({ snapshot, width, paint, live, trouble }: Drawing): string[] {
  const { global, bus } = snapshot
  const missed = snapshot.guardrails.filter(({ met }) => !met).map(({ name }) => dialOf(name).title)
  const sentence = (text: string, tone?: Tone): Cell => ({ text, width: 0, tone })
  const level = `level ${global.level}: ${LEVELS[global.level] ?? 'unknown'}`
  const state = [
    ...(trouble === undefined ? [] : [sentence(`${shown(trouble)}; last seen:`, 'bad')]),
    missed.length === 0
      ? sentence('guardrails met', 'good')
      : sentence(`GUARDRAILS MISSED: ${missed.join(', ')}`, 'bad'),
    sentence(level, global.level === 0 ? undefined : global.level === 3 ? 'bad' : 'warn'),
    snapshot.emergency ? sentence('EMERGENCY BLOCK ON', 'bad') : sentence('emergency off', 'faint'),
    snapshot.draining ? sentence('DRAINING', 'warn') : sentence('not draining', 'faint'),
    ...(bus.connected ? [] : [sentence('NATS IS AWAY', 'bad')]),
  ]
  const who = [
    sentence('headgate top', 'strong'),
    sentence(`instance ${shown(snapshot.instance)}`),
    sentence(`version ${shown(snapshot.version)}`, 'faint'),
    ...(live ? [sentence('q ends', 'faint')] : []),
  ]
  const totals = [
    sentence(`in flight ${number(global.inflight)} of ${mostOf(snapshot)}`),
    sentence(`queued ${number(global.queued)}`),
    sentence(`back-off ${number(global.backoff)}`),
    sentence(`up ${duration(snapshot.uptime_ms)}`, 'faint'),
  ]
  return [who, state, totals].flatMap((sentences) => packed(sentences, width, paint))
}

/** Of a fleet it is a part, and of several configured limits the smallest holds. */
function mostOf({ global, fleet }: Snapshot): string {
  if (fleet === null || fleet.members.length < 2) return number(global.limit)
  return `${number(fleet.usable)}, its part of ${number(fleet.whole)}`
}

// ---- guardrails ----

interface Dial {
  title: string
  says(value: number): string
  /** Of its budget; 1 is all. */
  part(value: number, bound: number): number
}

const DIALS: Readonly<Record<string, Dial>> = {
  ratio_429: { title: '429 ratio', says: percent, part: (value, bound) => value / bound },
  p95_e2e_ms: { title: 'P95 end to end', says: duration, part: (value, bound) => value / bound },
  retry_amplification: {
    title: 'retries',
    says: (value) => `x ${number(value)}`,
    // Nobody makes less than one attempt.
    part: (value, bound) => (value - 1) / Math.max(0.01, bound - 1),
  },
}
const dialOf = (name: string): Dial =>
  (Object.hasOwn(DIALS, name) ? DIALS[name] : undefined) ?? {
    title: shown(name),
    says: number,
    part: (value, bound) => value / bound,
  }

function guardrails({ snapshot, memory, now, width, paint }: Drawing): string[] {
  return snapshot.guardrails.map(({ name, value, bound, met }) => {
    const dial = dialOf(name)
    const broken = snapshot.conditions.find(
      ({ condition, about }) => condition === 'guardrail' && about === name,
    )
    const since = broken?.since ?? memory.since(name)
    // What is not broken is told as long as we have looked.
    const more = broken === undefined ? ' or more' : ''
    const lasting =
      since === null || width < 72 ? '' : ` for ${duration(Math.max(0, now - since))}${more}`
    const few = value !== null && met && value >= bound
    const said = value === null ? 'no sample' : few ? 'too few samples' : met ? 'met' : 'MISSED'
    const tone: Tone | undefined =
      value === null ? 'faint' : !met ? 'bad' : few ? 'warn' : undefined
    const barWidth = Math.max(6, Math.min(24, width - 66))
    const cells: Cell[] = [
      { text: dial.title, width: 14 },
      { text: bar(value === null ? 0 : dial.part(value, bound), barWidth), width: barWidth, tone },
      { text: value === null ? '-' : dial.says(value), width: 8, right: true },
      { text: `of ${dial.says(bound)}`, width: 9 },
    ]
    const used = cells.reduce((sum, one) => sum + one.width + 1, 0)
    const rest = Math.max(6, width - used)
    const verdict = value === null || few ? said : `${said}${lasting}`
    return row([...cells, { text: verdict, width: rest, tone }], paint, width)
  })
}

// ---- lanes ----

function lanes({ snapshot, memory, width, room, paint, live }: Drawing): string[] {
  if (snapshot.lanes.length === 0) return []
  const [name, amount, guarantee, queued, oldest, note] = [12, 14, 9, 7, 8, 6]
  // Where there is little room, what happens is worth more than what is promised.
  const promises = !live || width >= 100
  const fixed = name + amount + queued + oldest + note + (promises ? guarantee + 1 : 0) + 6
  const seconds = Math.max(4, Math.floor((width - fixed) / 2))
  const trace = (text: string): Cell[] => (live ? [{ text, width: seconds }] : [])
  const promise = (text: string): Cell[] =>
    promises ? [{ text, width: guarantee, right: true }] : []
  const head = row(
    [
      { text: 'LANE', width: name },
      { text: 'in flight', width: amount },
      ...trace(`last ${seconds} s`),
      ...promise('guarantee'),
      { text: 'queued', width: queued, right: true },
      ...trace(`last ${seconds} s`),
      { text: 'oldest', width: oldest, right: true },
      { text: '', width: note },
    ].map((cell) => ({ ...cell, tone: 'strong' as const })),
    paint,
    width,
  )
  const { listed, more } = most(snapshot.lanes, room.lanes, 'lanes')
  const lines = listed.flatMap((lane) => {
    const past = memory.lane(lane.name)
    const why = waitsSaid(lane, snapshot)
    const line = row(
      [
        { text: shown(lane.name), width: name },
        { text: `${number(lane.inflight)} of ${number(lane.cap)}`, width: amount },
        ...trace(
          spark(past.inflight, seconds, Math.max(lane.cap, largest(past.inflight, seconds))),
        ),
        ...promise(number(lane.guarantee)),
        { text: number(lane.queued), width: queued, right: true },
        ...trace(spark(past.queued, seconds, largest(past.queued, seconds))),
        {
          text: lane.oldest_ms === null ? '-' : duration(lane.oldest_ms),
          width: oldest,
          right: true,
        },
        { text: lane.paused ? 'PAUSED' : '', width: note, tone: 'warn' },
      ],
      paint,
      width,
    )
    return why === '' ? [line] : [line, row([{ text: `  ${why}`, width, tone: 'warn' }], paint)]
  })
  return [head, ...lines, ...more]
}

/** Which bound holds most of those that wait, from a second on. */
function waitsSaid({ name, oldest_ms }: Snapshot['lanes'][number], { waiting }: Snapshot): string {
  if ((oldest_ms ?? 0) < WAIT_SAID_MS) return ''
  const rows = waiting.filter(({ lane }) => lane === name).toSorted((a, b) => b.count - a.count)
  const [first] = rows
  if (first === undefined) return ''
  const { reason, bound, until_ms: untilMs, tenant, count } = first
  const whose = tenant === null ? '' : ` [tenant ${shown(tenant)}]`
  return `${number(count)} wait: ${waitWords({ reason, bound, untilMs })}${whose}`
}
const WAIT_SAID_MS = 1_000

/** Of the last ones; at least 1. */
const largest = (values: readonly (number | null)[], last: number): number =>
  Math.max(1, ...values.slice(-last).map((one) => one ?? 0))

const fleet = ({ snapshot, whole = null, width, room, paint }: Drawing): string[] =>
  fleetLines(
    { fleet: snapshot.fleet, whole },
    { width, most: room.moves === 0 ? 2 : 10, rows: Math.min(room.tenants, 5), paint },
  )

const jobs = ({ snapshot, width, room, paint }: Drawing): string[] =>
  jobLines(snapshot, { width, lanes: room.lanes, brief: room.moves === 0, paint })

// ---- tenants ----

function tenants({ snapshot, width, room, paint }: Drawing): string[] {
  if (snapshot.tenants.length === 0 || room.tenants === 0) return []
  const [amount, waiting] = [9, 7]
  const name = Math.min(64, Math.max(20, Math.floor(width / 3)))
  const barWidth = Math.max(4, Math.min(24, width - name - amount - waiting - 3))
  const head = row(
    [
      { text: 'BUSIEST TENANTS', width: name },
      { text: 'in flight', width: amount, right: true },
      { text: 'of all in flight', width: barWidth },
      { text: 'queued', width: waiting, right: true },
    ].map((cell) => ({ ...cell, tone: 'strong' as const })),
    paint,
    width,
  )
  const all = Math.max(1, snapshot.global.inflight)
  const lines = snapshot.tenants.slice(0, room.tenants).map(({ tenant, inflight, queued }) =>
    row(
      [
        { text: shown(tenant), width: name },
        { text: number(inflight), width: amount, right: true },
        { text: bar(inflight / all, barWidth), width: barWidth },
        { text: number(queued), width: waiting, right: true },
      ],
      paint,
      width,
    ),
  )
  return [head, ...lines]
}

// ---- transitions ----

function moves({ memory, width, room, paint, live }: Drawing): string[] {
  if (!live || room.moves === 0) return []
  const said = memory.moves().slice(0, room.moves)
  const whose = Math.max(10, Math.min(36, Math.floor(width / 4)))
  const change = width >= 100 ? 22 : 16
  const head = row([{ text: 'LAST TRANSITIONS', width, tone: 'strong' }], paint, width)
  if (said.length === 0)
    return [head, row([{ text: 'none since top began', width, tone: 'faint' }], paint)]
  return [head, ...said.map((one) => moveLine(one, { width, whose, change, paint }))]
}

function moveLine(
  one: Move,
  at: { width: number; whose: number; change: number; paint: Paint },
): string {
  const tone: Tone | undefined =
    one.to === 'open' || one.to === 'MISSED' ? 'bad' : one.what === 'limit' ? undefined : 'warn'
  const owner = one.what === 'guardrail' ? dialOf(one.whose).title : shown(one.whose)
  const cells: Cell[] = [
    { text: clock(one.at), width: 8, tone: 'faint' },
    { text: one.times > 1 ? `${one.what} x${one.times}` : one.what, width: 9 },
    { text: middle(owner, at.whose), width: at.whose },
    { text: `${words(one.from)} -> ${breakerSaid(one.to)}`, width: at.change, tone },
  ]
  const used = cells.reduce((sum, cell) => sum + cell.width + 1, 0)
  const reason: Cell = { text: words(one.reason), width: Math.max(1, at.width - used) }
  return row([...cells, reason], at.paint, at.width)
}
