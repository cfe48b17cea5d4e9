/** The list of requests in a state, and one request's life as a waterfall. */
import type { Life, RequestRow, RequestsPage, Span } from '#contracts/dashboard'
import { get, messageOf } from './api.ts'
import { keepFresh, openDialog } from './dialog.ts'
import { attr, h, list, s, say } from './dom.ts'
import { after, wallNow } from './system.ts'
import { table, type Column } from './table.ts'
import type { Page } from './view.ts'
import { clock, duration, elapsed, number, plain, plural } from './words.ts'

const FRESH_MS = 1_000
const LISTED_MAX = 100
const again = (call: () => void): (() => void) => after(FRESH_MS, call)

export function requestColumns(page: Page, now: () => number): Column<RequestRow>[] {
  return [
    {
      title: 'request',
      text: (row) => row.id,
      press: (row) => page.openLife(row),
      class: 'name mono',
    },
    { title: 'tenant', text: (row) => row.tenant, class: 'name' },
    { title: 'lane', text: (row) => row.lane },
    { title: 'model', text: (row) => row.model, class: 'name', optional: true },
    { title: 'state', text: (row) => row.state },
    { title: 'in it', text: (row) => elapsed(now() - row.since), number: true },
    { title: 'age', text: (row) => elapsed(now() - row.arrived_at), number: true, optional: true },
    { title: 'attempts', text: (row) => number(row.attempts), number: true },
    { title: 'waits', text: (row) => row.waits_for?.text ?? '' },
  ]
}
export const requestKey = (row: RequestRow): string => `${row.tenant}\u0000${row.id}`

export function openRequests(
  of: { state?: string; route?: string; tenant?: string },
  page: Page,
  now: () => number,
): void {
  const dialog = openDialog({
    title: of.state === undefined ? 'Requests' : `Requests: ${of.state}`,
  })
  const about = h('p', { class: 'faint small', role: 'status' }, 'asking…')
  const rows = table<RequestRow>({
    label: 'Requests',
    columns: requestColumns(page, now),
    key: requestKey,
    none:
      of.state === 'settled'
        ? 'A settled request stays here only while something of it is still held. Find answered ones through their tenant.'
        : 'None at this moment.',
  })
  dialog.body.append(about, rows.element)
  keepFresh(
    dialog,
    async () => {
      try {
        const found = await get<RequestsPage>('/api/requests', { ...of, limit: LISTED_MAX })
        rows.draw(found.rows)
        const shown =
          found.matching > found.rows.length ? `, ${number(found.rows.length)} of them here` : ''
        say(about, `${plural(found.matching, 'request')}${shown}; renewed every second`)
      } catch (error) {
        say(about, `not renewed: ${messageOf(error)}`)
      }
      return 'again'
    },
    again,
  )
}

// ---- one life ----

export function openLife(of: { tenant: string; id: string }): void {
  const dialog = openDialog({ title: `The life of ${of.id}` })
  attr(dialog.element, 'data-life', of.id)
  const facts = h('dl', { class: 'facts' })
  const about = h('p', { class: 'faint small', role: 'status' }, 'asking…')
  const lines = h('ol', { class: 'life' })
  dialog.body.append(hatches(), facts, about, lines)
  const path = `/api/requests/${encodeURIComponent(of.tenant)}/${encodeURIComponent(of.id)}`
  keepFresh(
    dialog,
    async () => {
      try {
        const life = await get<Life>(path)
        drawFacts(facts, life)
        say(about, saidOf(life))
        drawSpans(lines, life)
        return life.outcome === null ? 'again' : 'enough'
      } catch (error) {
        say(about, messageOf(error))
        return 'again'
      }
    },
    again,
  )
}

function drawFacts(host: Element, life: Life): void {
  const tokens =
    life.input_tokens === null && life.output_tokens === null
      ? '–'
      : `${number(life.input_tokens)} in, ${number(life.output_tokens)} out`
  const facts: [string, string][] = [
    ['tenant', life.tenant],
    ['lane', life.lane],
    ['model', life.model ?? '–'],
    ['state', life.state],
    [
      'outcome',
      life.outcome === null
        ? 'none yet'
        : [life.outcome, life.code ?? ''].filter(Boolean).join(': '),
    ],
    ['arrived', clock(life.arrived_at)],
    ['deadline', life.deadline_ms === null ? "its lane's" : duration(life.deadline_ms)],
    ['wait expected', duration(life.predicted_wait_ms)],
    ['answer', life.stream ? 'streamed' : 'whole'],
    ['tokens', tokens],
  ]
  list(host, facts, {
    key: ([name]) => name,
    make: ([name]) => h('div', {}, h('dt', {}, plain(name)), h('dd')),
    draw: (box, [, value]) => say(box.lastElementChild ?? box, value),
  })
}

function saidOf(life: Life): string {
  const cut = life.cut ? 'It had more stretches than are kept; the earliest are missing. ' : ''
  return `${cut}${life.outcome === null ? 'It lives; renewed every second.' : 'It is settled.'}`
}

const PHASE: Readonly<Record<Span['kind'], string>> = {
  queued: 'queued',
  attempt: 'running',
  streaming: 'forwarding',
  backoff: 'backoff',
  preempted: 'aborting',
  settled: 'settled',
}
const SAID: Readonly<Record<Span['kind'], (span: Span) => string>> = {
  queued: () => '○ queued',
  attempt: ({ attempt }) => `▶ attempt ${attempt ?? ''}`,
  streaming: () => '» streamed',
  backoff: () => '↻ back-off',
  preempted: () => '↩ preempted',
  settled: () => '■ settled',
}

function drawSpans(host: Element, life: Life): void {
  const now = Math.max(0, wallNow() - life.arrived_at)
  const ends = life.spans.map((span) => span.to_ms ?? (life.outcome === null ? now : span.from_ms))
  const whole = Math.max(1, ...ends)
  const spans = life.spans.map((span, index) => ({ span, index, to: ends[index] ?? span.from_ms }))
  list(host, spans, {
    key: ({ index, span }) => `${index} ${span.kind}`,
    make: () =>
      h(
        'li',
        {},
        h('span', {}),
        s(
          'svg',
          { viewBox: '0 0 1000 16', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
          s('rect', { class: 'meter-track', y: 7, width: 1000, height: 2 }),
          s('rect', { class: 'lapse', y: 1, height: 14 }),
        ),
        h('span', { class: 'n small' }),
        h('span', { class: 'why' }),
      ),
    draw: (line, { span, to }) => {
      attr(line, 'data-phase', PHASE[span.kind])
      attr(line, 'data-kind', span.kind)
      const [name, , took, why] = line.children
      const lapse = line.querySelector('.lapse')
      const instant = span.kind === 'preempted' || span.kind === 'settled'
      if (lapse !== null) {
        const x = Math.min(990, (span.from_ms / whole) * 1_000)
        attr(lapse, 'x', x.toFixed(1))
        attr(
          lapse,
          'width',
          Math.max(instant ? 8 : 3, ((to - span.from_ms) / whole) * 1_000).toFixed(1),
        )
      }
      if (name !== undefined) say(name, SAID[span.kind](span))
      if (took !== undefined)
        say(
          took,
          instant
            ? `at ${duration(span.from_ms)}`
            : `${duration(to - span.from_ms)}${span.to_ms === null ? '…' : ''}`,
        )
      if (why !== undefined) say(why, reasonOf(span))
    },
  })
}

const reasonOf = ({ verdict, status, reason }: Span): string =>
  [
    verdict === null ? '' : plain(verdict),
    status === null ? '' : `HTTP ${status}`,
    reason === null || reason === verdict ? '' : plain(reason),
  ]
    .filter((part) => part !== '')
    .join(', ')

/** Patterns, so that stretches are told apart without colours. */
function hatches(): SVGSVGElement {
  const hatch = (id: string, d: string): SVGPatternElement =>
    s(
      'pattern',
      { id, width: 8, height: 8, patternUnits: 'userSpaceOnUse' },
      s('path', { d, class: id }),
    )
  return s(
    'svg',
    { width: 0, height: 0, class: 'hatches', 'aria-hidden': 'true' },
    s('defs', {}, hatch('hatch-queued', 'M0 8L8 0'), hatch('hatch-backoff', 'M0 4H8M4 0V8')),
  )
}
