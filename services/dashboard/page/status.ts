/** The first thing that is read: what is wrong, since when, for whom, and what is being done. */
import { waitInflating } from './answers.ts'
import type { Frame, Hello } from '#contracts/dashboard'
import { attr, byId, h, list, say } from './dom.ts'
import type { Finding } from './finding.ts'
import { calm, findings } from './findings.ts'
import type { Section, View } from './view.ts'
import { elapsed, hourMinute, number, plain, plural } from './words.ts'

const SHOWN_MAX = 6

export function status(): Section {
  const host = byId('state')
  const title = byId('state-title')
  const body = byId('state-body')
  const rows = h('div', { class: 'findings', id: 'findings' })
  const more = h('p', { class: 'faint small' })
  const totals = h('p', { class: 'totals', id: 'totals' })
  body.replaceChildren(rows, more, totals)
  return {
    draw(view) {
      const told = findings(view)
      const found = [...told, ...inflating(view, told)]
      host.dataset['level'] = found.some(({ level }) => level === 'bad')
        ? 'bad'
        : (found[0]?.level ?? 'good')
      host.toggleAttribute('data-stale', view.stale !== null)
      say(title, headline(found, view))
      list(rows, found.slice(0, SHOWN_MAX), {
        key: (one) => one.what.replace(/[\d.,]+/g, '#'),
        make: findingRow,
        draw: (row, one) => drawFinding(row, one, view),
      })
      more.hidden = found.length <= SHOWN_MAX
      say(more, `and ${plural(found.length - SHOWN_MAX, 'matter')} more`)
      drawTotals(totals, view)
    },
  }
}

/** The second question's yes, where no finding has said it: headline and answer agree. */
function inflating(view: View, told: readonly Finding[]): Finding[] {
  const { frame, trend } = view
  const { text } = waitInflating(frame, trend.lanes(frame))
  if (!text.startsWith('Yes: ') || told.some(({ about }) => about === 'queues')) return []
  return [
    {
      kind: 'wait_inflating',
      level: 'warn',
      about: 'queues',
      what: `Queue wait is inflating: ${text.slice('Yes: '.length, -1)}`,
      since: waitingSince(frame),
      whom: `${plural(frame.global.queued, 'request')} waiting`,
      doing: 'serving lanes by weight and guarantee as far as limits and quota of the routes allow',
    },
  ]
}

/** Since when somebody has waited in any lane, as the scheduler keeps it; null: nobody knows. */
function waitingSince(frame: Frame): number | null {
  const held = ((frame as Partial<Frame>).conditions ?? []).filter(
    (one) => one.condition === 'waiting',
  )
  return held.length === 0 ? null : Math.min(...held.map(({ since }) => since))
}

function headline(found: readonly Finding[], { frame, now, stale }: View): string {
  const [worst] = found
  const before = stale === null ? '' : `${stale} Last seen: `
  if (worst === undefined) return before + calm(frame)
  const since =
    worst.since === null || worst.timed === true ? '' : `, for ${elapsed(now - worst.since)}`
  const others = found.length === 1 ? '' : `; ${number(found.length - 1)} more below`
  return `${before}${worst.what}${since}${others}`
}

const COLUMNS = ['what', 'since', 'for whom', 'what Headgate does', 'what you can do'] as const
const LAST = COLUMNS.length - 1

function findingRow(): HTMLDListElement {
  return h(
    'dl',
    { class: 'finding' },
    ...COLUMNS.map((column, index) =>
      h(
        'div',
        {},
        h('dt', {}, column),
        index === LAST
          ? h('dd', { class: 'act' }, h('span'), ' ', h('a', { target: '_blank' }, 'runbook'))
          : h('dd', index === 0 ? { class: 'what' } : {}),
      ),
    ),
  )
}

function drawFinding(row: Element, one: Finding, { now, hello }: View): void {
  const since = one.since === null ? '–' : `${hourMinute(one.since)} (${elapsed(now - one.since)})`
  const cells = row.querySelectorAll('dd')
  const level = one.level === 'bad' ? '✖' : '▲'
  for (const [index, text] of [`${level} ${one.what}`, since, one.whom, one.doing].entries()) {
    const cell = cells[index]
    if (cell !== undefined) say(cell, text)
  }
  // A recording of an older scheduler has no such words.
  const act = one.act ?? (hello as Partial<Hello>).runbook?.[one.kind] ?? ''
  const [words, link] = cells[LAST]?.children ?? []
  if (words !== undefined) say(words, act.replaceAll('`', ''))
  if (link !== undefined) {
    attr(link, 'href', `/runbook#${one.kind}`)
    attr(link, 'aria-label', `runbook: ${plain(one.kind)}`)
  }
}

function drawTotals(host: Element, { frame }: View): void {
  const { global, rates } = frame
  const facts: [string, string][] = [
    ['slots in use', `${number(global.inflight)} of ${number(global.limit)}`],
    ['waiting', number(global.queued)],
    ['in back-off', number(global.backoff)],
    ['accepted/s', number(rates.accepted)],
    // Older recordings do not tell answers from the rest.
    ['answered/s', number((rates as Partial<typeof rates>).completed ?? rates.settled)],
    ['failed/s', number((rates as Partial<typeof rates>).failed)],
    ['refused/s', number(rates.refused)],
    ['429/s', number(rates.http_429)],
    ['529/s', number(rates.http_529)],
    ['retries/s', number(rates.retries)],
    ['preempted/s', number(rates.preempted)],
  ]
  list(host, facts, {
    key: ([name]) => name,
    make: ([name]) => h('span', {}, h('b'), ` ${name}`),
    draw: (element, [, value]) => say(element.firstElementChild ?? element, value),
  })
}
