/** The picture of `headgate top` as lines of text, for a width and a height. What is wrong is said in words;
 *  colour only repeats it. */
import { runbook, type RunbookKind } from '#contracts/runbook'
import type { BucketSnapshot, Snapshot } from '#contracts/snapshot'
import { waitWords } from '#contracts/waiting'
import { jobLines } from './top-jobs.ts'
import type { Move, TopMemory } from './top-memory.ts'
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
  wrapped,
  type Cell,
  type Paint,
  type Tone,
} from './top-text.ts'

export interface PageOptions {
  snapshot: Snapshot
  memory: TopMemory
  /** Wall time. */
  now: number
  columns: number
  /** Infinity: as many as it takes. */
  rows: number
  paint: Paint
  /** False: one picture alone, without what only time tells. */
  live: boolean
  /** Why the picture is old, or what cannot be shown; one sentence. */
  trouble?: string | undefined
}

/** How much is listed at most. */
interface Room {
  troubles: number
  routes: number
  lanes: number
  tenants: number
  moves: number
  airy: boolean
}

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

type Drawing = PageOptions & { width: number; room: Room }

function drawn(of: Drawing): string[] {
  const sections = [routes(of), lanes(of), jobs(of), tenants(of), moves(of)].filter(
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
    sentence(`in flight ${number(global.inflight)} of ${number(global.limit)}`),
    sentence(`queued ${number(global.queued)}`),
    sentence(`back-off ${number(global.backoff)}`),
    sentence(`up ${duration(snapshot.uptime_ms)}`, 'faint'),
  ]
  return [who, state, totals].flatMap((sentences) => packed(sentences, width, paint))
}

// ---- what holds, since when, and what can be done ----

type Condition = Snapshot['conditions'][number]

/** Those that have no line of their own elsewhere. */
const TROUBLES: Readonly<
  Partial<
    Record<
      Condition['condition'],
      (about: string, of: Snapshot) => { said: string; kind: RunbookKind; tone: Tone }
    >
  >
> = {
  nats_lost: (_about, { doors }) => ({
    said: `NATS IS AWAY${doors.http?.ready === true ? ' (callers of the HTTP door are served)' : ''}`,
    kind: 'nats_lost',
    tone: 'bad',
  }),
  blocked(about, { routes }) {
    const block = routes.find(({ upstream }) => upstream === about)?.blocked ?? null
    const { said, kind } = BLOCKS[block?.reason ?? 'stopped']
    const status = block?.status == null ? '' : ` (${block.status})`
    return { said: `UPSTREAM ${shown(about)} ${said}${status}`, kind, tone: 'bad' }
  },
  no_answer: (about) => ({
    said: `NO ANSWER from ${shown(about)}`,
    kind: 'no_answer',
    tone: 'bad',
  }),
  breaker: (about) => ({
    said: `breaker of ${shown(about)} not closed`,
    kind: 'breaker',
    tone: 'bad',
  }),
  quota_pause: (about) => ({
    said: `429: quota ${shown(about)} used up`,
    kind: 'quota_used_up',
    tone: 'warn',
  }),
  overloaded: () => ({ said: 'degraded', kind: 'overloaded', tone: 'bad' }),
  emergency: () => ({ said: 'emergency block on', kind: 'emergency', tone: 'warn' }),
  config_refused: () => ({
    said: 'configuration file refused',
    kind: 'config_refused',
    tone: 'warn',
  }),
  lane_paused: (about) => ({
    said: `lane ${shown(about)} paused`,
    kind: 'lane_paused',
    tone: 'warn',
  }),
  draining: () => ({ said: 'draining', kind: 'draining', tone: 'warn' }),
  jobs_store_lost: () => ({
    said: 'THE STORE OF DURABLE JOBS DOES NOT ANSWER',
    kind: 'jobs_store_lost',
    tone: 'bad',
  }),
  jobs_store_full: () => ({
    said: 'THE STORE OF DURABLE JOBS IS FULL',
    kind: 'jobs_store_full',
    tone: 'bad',
  }),
  jobs_dead: (_about, { jobs }) => ({
    said: `dead letters grow (${number(jobs?.dead.kept ?? 0)} kept)`,
    kind: 'jobs_dead',
    tone: 'warn',
  }),
  jobs_old: (about, { jobs }) => ({
    said: `oldest job of ${shown(about)} is ${duration(oldestOf(jobs, about))} old`,
    kind: 'jobs_old',
    tone: 'warn',
  }),
}
const oldestOf = (jobs: Snapshot['jobs'], lane: string): number =>
  jobs?.lanes.find((one) => one.lane === lane)?.oldest_ms ?? 0
const BLOCKS = {
  key_refused: { said: 'REFUSES THE KEY', kind: 'key_refused' },
  spend_limit: { said: 'HAS REACHED ITS SPENDING LIMIT', kind: 'spend_limit' },
  stopped: { said: 'HAS STOPPED THE ACCOUNT', kind: 'account_stopped' },
} as const

function troubles({ snapshot, now, width, room, paint }: Drawing): string[] {
  const found = snapshot.conditions.flatMap((one) => {
    const told = TROUBLES[one.condition]?.(one.about ?? '', snapshot)
    return told === undefined ? [] : [{ ...told, since: one.since }]
  })
  const lines = found.slice(0, room.troubles).map(({ said, kind, tone, since }) => {
    const act = runbook[kind].act.replaceAll('`', '')
    const text = `${said} for ${duration(Math.max(0, now - since))}: ${act}`
    return wrapped(text, { width, lines: room.airy ? TROUBLE_LINES : 1 }).map((line) =>
      row([{ text: line, width, tone }], paint),
    )
  })
  const left = found.length - lines.length
  return left > 0
    ? [...lines.flat(), row([{ text: `and ${number(left)} matters more`, width }], paint)]
    : lines.flat()
}
/** What to do stands last, and it is what somebody looks for. */
const TROUBLE_LINES = 3

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

// ---- routes ----

type Route = Snapshot['routes'][number]

function routes({ snapshot, width, room, paint }: Drawing): string[] {
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

const words = (token: string): string => shown(token).replaceAll('_', ' ')
const breakerSaid = (state: string): string => (state === 'open' ? 'OPEN' : words(state))
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

/** The first ones, and how many are not listed. */
function most<T>(all: readonly T[], room: number, what: string): { listed: T[]; more: string[] } {
  const left = all.length - room
  return {
    listed: all.slice(0, room),
    more: left > 0 ? [`  and ${number(left)} ${what} more`] : [],
  }
}
