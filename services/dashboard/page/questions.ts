/** The three questions with their dials, what they rest on, and what broke each guardrail and when. */
import type { Frame } from '#contracts/dashboard'
import { retriesControlled, waitInflating, whose429, type Answer } from './answers.ts'
import { drawBars, type Bar } from './bars.ts'
import { dial, type DialReading } from './dial.ts'
import { attr, byId, h, list, say } from './dom.ts'
import { routeName, type Page, type Section, type View } from './view.ts'
import { duration, elapsed, hourMinute, number, percent, plain, shortened } from './words.ts'

type Guardrail = Frame['guardrails'][number]
type Breach = Frame['breaches'][number]

interface Question {
  id: string
  asks: string
  guardrail: Guardrail['name']
  /** What the needle shows; 1 is the budget. */
  part(of: Guardrail): number
  says(value: number | null): string
  answer(view: View): Answer
  evidence: readonly { title: string; bars(view: View, page: Page): Bar[] | null; none: string }[]
}

const QUESTIONS: readonly Question[] = [
  {
    id: 'question-1',
    asks: 'Is the 429 concentrated in one model or tenant?',
    guardrail: 'ratio_429',
    part: ({ value, bound }) => (value ?? 0) / bound,
    says: percent,
    answer: ({ frame }) => whose429(frame),
    evidence: [
      { title: '429s by model', bars: modelsWith429, none: 'none' },
      { title: '429s by tenant', bars: tenantsWith429, none: 'none' },
    ],
  },
  {
    id: 'question-2',
    asks: 'Is queue wait inflating?',
    guardrail: 'p95_e2e_ms',
    part: ({ value, bound }) => (value ?? 0) / bound,
    says: duration,
    answer: ({ frame, trend }) => waitInflating(frame, trend.lanes(frame)),
    evidence: [
      {
        title: 'Queue wait by lane: P95, or the oldest where that is longer',
        bars: lanesThatWait,
        none: 'no lane',
      },
    ],
  },
  {
    id: 'question-3',
    asks: 'Is retry amplification under control?',
    guardrail: 'retry_amplification',
    // Nobody makes less than one attempt.
    part: ({ value, bound }) => ((value ?? 1) - 1) / Math.max(0.01, bound - 1),
    says: (value) => (value === null ? '–' : `× ${number(value)}`),
    answer: ({ frame }) => retriesControlled(frame),
    evidence: [
      { title: 'Retries by model', bars: modelsWithRetries, none: 'none lately' },
      { title: 'Retries by cause', bars: causesOfRetries, none: 'none lately' },
    ],
  },
]

export function questions(page: Page): Section {
  const drawn = QUESTIONS.map((question) => article(question, page))
  return {
    draw(view) {
      for (const one of drawn) one(view)
    },
  }
}

function article(question: Question, page: Page): (view: View) => void {
  const gauge = dial()
  const answer = h('p', { class: 'answer' })
  const verdict = h('p', { class: 'verdict' })
  const broke = h('div', { class: 'broke' })
  const evidence = question.evidence.map((one) => {
    const bars = h('ul', { class: 'bars' })
    const none = h('p', { class: 'faint small' }, one.none)
    return {
      ...one,
      host: bars,
      empty: none,
      box: h('div', {}, h('p', { class: 'label' }, one.title), bars, none),
    }
  })
  byId(question.id).replaceChildren(
    h('header', {}, gauge.element, h('div', {}, h('h3', {}, question.asks), answer, verdict)),
    ...evidence.map(({ box }) => box),
    broke,
  )
  const drawBreaches = breachesOf(question, broke)
  return (view) => {
    const found = view.frame.guardrails.find(({ name }) => name === question.guardrail)
    const said = question.answer(view)
    say(answer, said.text)
    attr(answer, 'data-tone', said.tone)
    const reading = readingOf(question, found)
    gauge.draw(reading)
    attr(verdict, 'data-met', judged(found) ? String(found?.met) : 'none')
    say(verdict, verdictOf(found, view.now))
    for (const one of evidence) {
      const bars = one.bars(view, page)
      one.box.hidden = bars === null
      drawBars(one.host, bars ?? [])
      one.empty.hidden = bars === null || bars.length > 0
    }
    drawBreaches(view)
  }
}

function readingOf(question: Question, found: Guardrail | undefined): DialReading {
  if (found === undefined)
    return { part: null, met: true, value: '–', bound: '', said: 'no reading' }
  const [value, bound] = [question.says(found.value), question.says(found.bound)]
  return {
    part: found.value === null ? null : question.part(found),
    met: found.met,
    value,
    bound: `budget ${bound}`,
    said: `${plain(found.name)}: ${value}, budget ${bound}, ${found.met ? 'met' : 'broken'}`,
  }
}

/** Too few samples say nothing. */
const judged = (found: Guardrail | undefined): boolean =>
  found?.value != null && !(found.met && found.value >= found.bound)

function verdictOf(found: Guardrail | undefined, now: number): string {
  if (found === undefined || found.value === null) return '○ no sample yet'
  const since = elapsed(now - found.since)
  if (found.met && found.value >= found.bound)
    return '○ over its budget, of too few samples to judge'
  return found.met ? `✓ within its budget for ${since}` : `✖ broken for ${since}`
}

/** What broke it and when: the last breach in a sentence, the others on demand. */
function breachesOf(question: Question, host: Element): (view: View) => void {
  const last = h('p')
  const rest = h('ul')
  const summary = h('summary')
  const details = h('details', {}, summary, rest)
  host.replaceChildren(last, details)
  return ({ frame, hello }) => {
    const all = frame.breaches.filter(({ name }) => name === question.guardrail).toReversed()
    const [newest, ...older] = all
    say(
      last,
      newest === undefined
        ? `Not broken since the start, ${hourMinute(hello.started_at)}`
        : breachSaid(question, newest, frame),
    )
    details.hidden = older.length === 0
    say(summary, `${number(older.length)} before that`)
    list(rest, older, {
      key: (one) => String(one.from_at),
      make: () => h('li'),
      draw: (row, one) => say(row, breachSaid(question, one, frame)),
    })
  }
}

function breachSaid(question: Question, one: Breach, frame: Frame): string {
  const when =
    one.until_at === null
      ? `Broken since ${hourMinute(one.from_at)}`
      : `Broken ${hourMinute(one.from_at)} to ${hourMinute(one.until_at)}`
  const by = [
    one.route === null ? '' : routeName(frame, one.route),
    one.tenant === null ? '' : `tenant ${shortened(one.tenant)}`,
  ].filter((part) => part !== '')
  return `${when} (${question.says(one.value)})${by.length === 0 ? '' : `, mostly ${by.join(', ')}`}`
}

// ---- what the answers rest on ----

const SHOWN_MAX = 4

function modelsWith429({ frame }: View, page: Page): Bar[] {
  return frame.concentration_429.routes.slice(0, SHOWN_MAX).map(({ name, part }) => ({
    key: name,
    name: routeName(frame, name),
    part,
    figure: percent(part),
    open: () => page.selectRoute(name),
  }))
}

function tenantsWith429({ frame, recorded }: View, page: Page): Bar[] {
  return frame.concentration_429.tenants.slice(0, SHOWN_MAX).map(({ name, part }) => ({
    key: name,
    name,
    part,
    figure: percent(part),
    ...(recorded ? {} : { open: () => page.openTenant(name) }),
  }))
}

const MOVES = { rising: '▲ rising', falling: '▼ falling', level: '=', unknown: '' } as const

function lanesThatWait({ frame, trend }: View): Bar[] {
  const trends = trend.lanes(frame)
  const rows = trends.map((one) => {
    const lane = frame.lanes.find(({ name }) => name === one.lane)
    const [p95, oldest] = [one.nowMs ?? 0, lane?.oldest_ms ?? 0]
    // A queue in which nothing starts has no fresh P95.
    return { ...one, queued: lane?.queued ?? 0, oldest, stuck: oldest > Math.max(STUCK_MS, p95) }
  })
  const longest = Math.max(1_000, ...rows.map(({ nowMs, oldest }) => Math.max(nowMs ?? 0, oldest)))
  return rows.map(({ lane, nowMs, beforeMs, moves, queued, oldest, stuck }) => {
    const before = beforeMs === null ? '' : ` (was ${duration(beforeMs)})`
    const p95 = nowMs === null ? '–' : `${MOVES[moves]} ${duration(nowMs)}${before}`
    return {
      key: lane,
      name: `${lane}${queued === 0 ? '' : `, ${number(queued)} waiting`}`,
      part: (stuck ? oldest : (nowMs ?? 0)) / longest,
      figure: stuck ? `▲ oldest ${duration(oldest)}` : p95,
      tone: stuck || moves === 'rising' ? 'bad' : 'plain',
    }
  })
}

/** Nobody asks about less. */
const STUCK_MS = 2_000

function modelsWithRetries({ frame }: View, page: Page): Bar[] | null {
  return (
    (retriesOf(frame)?.routes.slice(0, SHOWN_MAX) ?? null)?.map(({ name, part }) => ({
      key: name,
      name: routeName(frame, name),
      part,
      figure: percent(part),
      open: () => page.selectRoute(name),
    })) ?? null
  )
}

function causesOfRetries({ frame }: View): Bar[] | null {
  return (
    (retriesOf(frame)?.causes.slice(0, SHOWN_MAX) ?? null)?.map(({ name, part }) => ({
      key: name,
      name: plain(name),
      part,
      figure: percent(part),
    })) ?? null
  )
}

type Parts = readonly { name: string; part: number }[]

/** Absent from older recordings. */
const retriesOf = (frame: Frame): { routes: Parts; causes: Parts } | undefined =>
  (frame as { retries?: { routes: Parts; causes: Parts } }).retries
