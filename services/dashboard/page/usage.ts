/** What was used and what it costs, by tenant and by model: a line of days for the dearest, and a table. */
import type { UsageReport, UsageReportRow } from '#contracts/usage-report'
import { get, messageOf } from './api.ts'
import { attr, button, byId, h, say } from './dom.ts'
import { plot, type Columns, type Plot } from './plot.ts'
import { table } from './table.ts'
import type { Section } from './view.ts'
import { whileSeen } from './while-seen.ts'
import { number, shortened } from './words.ts'

const FRESH_MS = 15_000
const DAY_MS = 86_400_000
const SPANS = { Today: 1, '7 days': 7, '30 days': 30 } as const
type Span = keyof typeof SPANS
/** Lines of one plot; the others are one more. */
const LINES_MAX = 5
const OTHERS = 'others'

type Whose = 'tenant' | 'model'

export function usage(now: () => number): Section & { repaint(): void } {
  const host = byId('usage-body')
  const about = h('span', { role: 'status', class: 'faint' })
  const plots = { tenant: pair('tenant'), model: pair('model') }
  const rows = usageTable()
  let span: Span = '7 days'
  let latest = 0

  const load = async (): Promise<void> => {
    const mine = ++latest
    const to = dayOf(now())
    const from = dayOf(now() - (SPANS[span] - 1) * DAY_MS)
    try {
      const ask = (by: string) => get<UsageReport>('/api/usage', { from, to, by })
      const [tenants, models, all] = await Promise.all([
        ask('tenant,day'),
        ask('model,day'),
        ask('tenant,model'),
      ])
      if (mine !== latest || seen.recorded()) return
      const days = daysOf(from, to)
      plots.tenant.draw(tenants.rows, days)
      plots.model.draw(models.rows, days)
      rows.draw(all.rows)
      say(about, saidOf(all))
    } catch (error) {
      if (mine === latest) say(about, `not renewed: ${messageOf(error)}`)
    }
  }
  const spans = spanButtons(span, (chosen) => {
    span = chosen
    void load()
  })
  const live = h(
    'div',
    {},
    h('div', { class: 'row' }, spans, about),
    h('div', { class: 'grid two' }, ...plots.tenant.elements, ...plots.model.elements),
    rows.element,
  )
  const silent = h('p', { class: 'faint' }, 'A recording holds nothing of what was used.')
  const seen = whileSeen({
    ...{ host, live, silent, everyMs: FRESH_MS },
    load: () => void load(),
  })
  return {
    begin(_, isRecorded) {
      seen.begin(isRecorded)
    },
    draw() {},
    repaint() {
      for (const one of [plots.tenant, plots.model]) one.repaint()
    },
  }
}

function spanButtons(first: Span, choose: (span: Span) => void): HTMLElement {
  const group = h('span', { class: 'row', role: 'group', 'aria-label': 'Days' })
  const press = (span: Span): void => {
    for (const one of group.children) attr(one, 'aria-pressed', String(one.textContent === span))
  }
  for (const name of Object.keys(SPANS) as Span[])
    group.append(
      button(name, () => {
        press(name)
        choose(name)
      }),
    )
  press(first)
  return group
}

/** Tokens and cost of one kind of name. Plots are made anew where the names change. */
function pair(whose: Whose) {
  const elements = [h('div'), h('div')] as const
  let names: readonly string[] = []
  let made: Plot[] = []
  return {
    elements,
    draw(rows: readonly UsageReportRow[], days: readonly string[]) {
      const billed = rows.filter((row) => row.billed)
      const dearest = topOf(billed, whose)
      if (made.length === 0 || dearest.join('\n') !== names.join('\n')) {
        for (const one of made) one.destroy()
        names = dearest
        made = [tokensPlot(whose, names), costPlot(whose, names)]
        for (const [at, one] of made.entries()) elements[at]?.replaceChildren(one.element)
      }
      made[0]?.draw(columnsOf(billed, { whose, names, days, of: tokensOf }), null)
      made[1]?.draw(columnsOf(billed, { whose, names, days, of: (row) => row.cost_usd ?? 0 }), null)
    },
    repaint() {
      for (const one of made) one.repaint()
    },
  }
}

const tokensOf = (row: UsageReportRow): number =>
  row.input_tokens +
  row.cache_write_5m_tokens +
  row.cache_write_1h_tokens +
  row.cache_read_tokens +
  row.output_tokens

function topOf(rows: readonly UsageReportRow[], whose: Whose): string[] {
  const sums = new Map<string, { cost: number; tokens: number }>()
  for (const row of rows) {
    const name = row[whose] ?? ''
    const sum = sums.get(name) ?? { cost: 0, tokens: 0 }
    sums.set(name, { cost: sum.cost + (row.cost_usd ?? 0), tokens: sum.tokens + tokensOf(row) })
  }
  const sorted = [...sums].sort(([, a], [, b]) => b.cost - a.cost || b.tokens - a.tokens)
  const top = sorted.slice(0, LINES_MAX).map(([name]) => name)
  return sorted.length > LINES_MAX ? [...top, OTHERS] : top
}

function columnsOf(
  rows: readonly UsageReportRow[],
  {
    whose,
    names,
    days,
    of,
  }: {
    whose: Whose
    names: readonly string[]
    days: readonly string[]
    of: (row: UsageReportRow) => number
  },
): Columns {
  const lines = names.map(() => days.map(() => 0))
  for (const row of rows) {
    const named = names.indexOf(row[whose] ?? '')
    const line = lines[named === -1 ? names.length - 1 : named]
    const at = days.indexOf(row.day ?? '')
    if (line !== undefined && at >= 0) line[at] = (line[at] ?? 0) + of(row)
  }
  return [days.map((day) => Date.parse(`${day}T00:00:00Z`) / 1_000), ...lines]
}

const never = (): void => {}

const tokensPlot = (whose: Whose, names: readonly string[]): Plot =>
  plot(
    {
      title: `Tokens by ${whose}`,
      about: 'Of a day in UTC: input, caches and output together.',
      lines: linesOf(names),
      days: true,
    },
    never,
  )

const costPlot = (whose: Whose, names: readonly string[]): Plot =>
  plot(
    {
      title: `Cost by ${whose}`,
      about: 'USD of a day in UTC, where a price is known.',
      lines: linesOf(names),
      leastTop: 0.01,
      days: true,
      says: (value) => usd(value).replace('$', ''),
    },
    never,
  )

const linesOf = (names: readonly string[]) =>
  names.map((name, color) => ({ label: shortened(name), color }))

const usd = (value: number | null): string =>
  value === null ? '–' : `$${value.toFixed(value !== 0 && value < 1 ? 4 : 2)}`

function usageTable() {
  return table<UsageReportRow>({
    label: 'What was used',
    none: 'Nothing was used.',
    key: (row) => `${row.billed} ${row.tenant} ${row.model}`,
    columns: [
      {
        title: 'tenant',
        text: ({ tenant, billed }) => (billed ? (tenant ?? '') : 'preempted, billed to nobody'),
        class: 'name',
      },
      { title: 'model', text: ({ model }) => model ?? '', class: 'name' },
      { title: 'calls', text: ({ calls }) => number(calls), number: true, optional: true },
      { title: 'input', text: (row) => number(row.input_tokens), number: true },
      {
        title: 'cache written',
        text: (row) => number(row.cache_write_5m_tokens + row.cache_write_1h_tokens),
        ...{ number: true, optional: true },
      },
      { title: 'cache read', text: (row) => number(row.cache_read_tokens), number: true },
      { title: 'output', text: (row) => number(row.output_tokens), number: true },
      {
        title: 'cost',
        text: ({ cost_usd: cost, unpriced_tokens: none }) =>
          cost === null ? 'no price' : `${usd(cost)}${none > 0 ? ', and more' : ''}`,
        number: true,
      },
    ],
  })
}

function saidOf({ rows, shared, reason }: UsageReport): string {
  const billed = rows.filter((row) => row.billed)
  const cost = billed.reduce((sum, row) => sum + (row.cost_usd ?? 0), 0)
  const none = billed.reduce((sum, row) => sum + row.unpriced_tokens, 0)
  const said = [`${usd(cost)} in all`]
  if (none > 0) said.push(`${number(none)} tokens of models without a price`)
  said.push(
    shared ? 'of the whole fleet' : `of this instance, since it was started: ${reason ?? ''}`,
  )
  return said.join(', ')
}

const dayOf = (at: number): string => new Date(at).toISOString().slice(0, 10)

function daysOf(from: string, to: string): string[] {
  const days: string[] = []
  for (let at = Date.parse(`${from}T00:00:00Z`); dayOf(at) <= to; at += DAY_MS) days.push(dayOf(at))
  return days
}
