/** Ten thousand tenants, a page at a time: the server searches, sorts and cuts. And one tenant's own page. */
import type {
  SettledRow,
  TenantPage,
  TenantRow,
  TenantSort,
  TenantsPage,
} from '#contracts/dashboard'
import { get, messageOf } from './api.ts'
import { drawBars } from './bars.ts'
import { keepFresh, openDialog } from './dialog.ts'
import { attr, button, byId, h, list, say } from './dom.ts'
import { requestColumns, requestKey } from './requests.ts'
import { after } from './system.ts'
import { table, type Column } from './table.ts'
import type { Page, Section } from './view.ts'
import { whileSeen } from './while-seen.ts'
import { clock, duration, elapsed, number, percent, plain } from './words.ts'

const PAGE_ROWS = 50
const FRESH_MS = 2_000
const TYPED_MS = 180

interface Asked {
  search: string
  sort: TenantSort
  dir: 'asc' | 'desc'
  offset: number
}

export function tenants(page: Page, now: () => number): Section {
  const host = byId('tenants-body')
  const asked: Asked = { search: '', sort: 'inflight', dir: 'desc', offset: 0 }
  let latest = 0

  const about = h('span', { role: 'status', class: 'faint', id: 'tenants-said' })
  const columns = tenantColumns(page, now)
  const rows = table<TenantRow>({
    label: 'Table of tenants',
    columns: columns.map(({ column }) => column),
    key: ({ tenant }) => tenant,
    none: 'No tenant fits.',
  })
  const load = async (): Promise<void> => {
    const mine = ++latest
    try {
      const found = await get<TenantsPage>('/api/tenants', { ...asked, limit: PAGE_ROWS })
      if (mine !== latest || seen.recorded()) return
      rows.draw(found.rows)
      paging.draw(found)
      say(about, saidOf(found, asked))
    } catch (error) {
      if (mine === latest) say(about, `not renewed: ${messageOf(error)}`)
    }
  }
  const change = (to: Partial<Asked>): void => {
    Object.assign(asked, { offset: 0, ...to })
    drawHeads(rows.head, columns, asked)
    void load()
  }
  const paging = pager((by) => change({ offset: Math.max(0, asked.offset + by * PAGE_ROWS) }))
  const search = searchField((text) => change({ search: text }))
  sortable(rows.head, columns, (sort) =>
    change({
      sort,
      dir:
        sort === asked.sort && asked.dir === 'desc'
          ? 'asc'
          : sort === asked.sort
            ? 'desc'
            : sort === 'tenant'
              ? 'asc'
              : 'desc',
    }),
  )
  drawHeads(rows.head, columns, asked)
  const live = h('div', {}, h('div', { class: 'row' }, search, about, paging.element), rows.element)
  const silent = h(
    'p',
    { class: 'faint' },
    'A recording holds no table of tenants; the busiest stand under Lanes and slots.',
  )
  const seen = whileSeen({
    ...{ host, live, silent, everyMs: FRESH_MS },
    load: () => void load(),
  })
  return {
    begin(_, isRecorded) {
      seen.begin(isRecorded)
      if (!isRecorded) void load()
    },
    draw() {},
  }
}

function saidOf(found: TenantsPage, { search }: Asked): string {
  if (found.total === 0) return 'no tenant yet'
  const range =
    found.rows.length === 0
      ? '0'
      : `${number(found.offset + 1)} to ${number(found.offset + found.rows.length)}`
  const of =
    search === ''
      ? number(found.total)
      : `${number(found.matching)} that fit, ${number(found.total)} in all`
  return `${range} of ${of}`
}

function tenantColumns(
  page: Page,
  now: () => number,
): { sort: TenantSort | null; column: Column<TenantRow> }[] {
  const figure = (
    sort: TenantSort,
    title: string,
    text: (row: TenantRow) => string,
    optional = false,
  ) => ({ sort, column: { title, text, number: true, optional } })
  return [
    {
      sort: 'tenant',
      column: {
        title: 'tenant',
        text: ({ tenant }) => tenant,
        press: ({ tenant }) => page.openTenant(tenant),
        class: 'name',
      },
    },
    figure('inflight', 'in flight', ({ inflight }) => number(inflight)),
    figure('queued', 'waiting', ({ queued }) => number(queued)),
    figure('share', 'share', ({ share }) => percent(share)),
    figure('settled', 'ended', ({ settled }) => number(settled), true),
    figure('refused', 'refused', ({ refused }) => number(refused)),
    figure('http_429', '429s', ({ http_429 }) => number(http_429)),
    figure('tokens', 'tokens', ({ tokens }) => number(tokens), true),
    {
      sort: null,
      column: {
        title: 'last seen',
        text: ({ last_at }) => `${elapsed(now() - last_at)} ago`,
        number: true,
        optional: true,
      },
    },
  ]
}

type Heads = readonly { sort: TenantSort | null; column: Column<TenantRow> }[]

function sortable(head: Element, columns: Heads, press: (sort: TenantSort) => void): void {
  for (const [index, { sort, column }] of columns.entries()) {
    const cell = head.children[index]
    if (cell === undefined || sort === null) continue
    cell.replaceChildren(button(column.title, () => press(sort), { 'data-sort': sort }))
  }
}

const ARROW = { asc: ' ▲', desc: ' ▼' } as const

function drawHeads(head: Element, columns: Heads, { sort: by, dir }: Asked): void {
  for (const [index, { sort, column }] of columns.entries()) {
    const cell = head.children[index]
    if (cell === undefined || sort === null) continue
    const here = sort === by
    attr(cell, 'aria-sort', here ? (dir === 'asc' ? 'ascending' : 'descending') : null)
    say(cell.firstElementChild ?? cell, `${column.title}${here ? ARROW[dir] : ''}`)
  }
}

function searchField(changed: (text: string) => void): HTMLElement {
  const input = h('input', {
    type: 'search',
    id: 'tenants-search',
    autocomplete: 'off',
    spellcheck: 'false',
    maxlength: 128,
  })
  let cancel = (): void => {}
  input.addEventListener('input', () => {
    cancel()
    cancel = after(TYPED_MS, () => changed(input.value.trim()))
  })
  return h('label', { class: 'row' }, 'Search', input)
}

function pager(turn: (by: -1 | 1) => void) {
  const back = button('← Before', () => turn(-1))
  const on = button('Next →', () => turn(1))
  return {
    element: h('span', { class: 'row', role: 'group', 'aria-label': 'Pages' }, back, on),
    draw({ offset, rows, matching }: TenantsPage) {
      back.disabled = offset === 0
      on.disabled = offset + rows.length >= matching
    },
  }
}

// ---- one tenant ----

export function openTenant(name: string, page: Page, now: () => number): void {
  const dialog = openDialog({ title: `Tenant ${name}` })
  attr(dialog.element, 'data-tenant', name)
  const about = h('p', { class: 'faint small', role: 'status' }, 'asking…')
  const facts = h('dl', { class: 'facts' })
  const outcomes = h('ul', { class: 'bars' })
  const codes = h('ul', { class: 'bars' })
  const lanes = h('ul', { class: 'bars' })
  const live = table({
    label: 'Requests alive',
    columns: requestColumns(page, now),
    key: requestKey,
    none: 'None alive.',
  })
  const settled = settledTable(page)
  dialog.body.append(
    about,
    facts,
    h(
      'div',
      { class: 'grid two' },
      titled('Outcomes', outcomes),
      titled('Refusals and failures', codes),
      titled('Lanes', lanes),
    ),
    titled('Requests alive', live.element),
    titled('Ended lately', settled.element),
  )
  keepFresh(
    dialog,
    async () => {
      try {
        const found = await get<TenantPage>(`/api/tenants/${encodeURIComponent(name)}`)
        say(
          about,
          'Counts are since the start, or since the tenant was last forgotten for idleness.',
        )
        drawFacts(facts, found.row, now())
        drawCounts(outcomes, Object.entries(found.outcomes))
        drawCounts(codes, Object.entries(found.codes))
        drawCounts(
          lanes,
          found.lanes.map((one) => [one.name, one.settled] as const),
        )
        live.draw(found.live)
        settled.draw(found.settled)
      } catch (error) {
        say(about, messageOf(error))
      }
      return 'again'
    },
    (call) => after(FRESH_MS, call),
  )
}

const titled = (title: string, body: Element): HTMLElement => h('div', {}, h('h3', {}, title), body)

function drawFacts(host: Element, row: TenantRow, now: number): void {
  const facts: [string, string][] = [
    ['in flight', number(row.inflight)],
    ['waiting', number(row.queued)],
    ['share lately', percent(row.share)],
    ['ended', number(row.settled)],
    ['refused', number(row.refused)],
    ['429s', number(row.http_429)],
    ['tokens', number(row.tokens)],
    ['last seen', `${elapsed(now - row.last_at)} ago`],
  ]
  list(host, facts, {
    key: ([label]) => label,
    make: ([label]) => h('div', {}, h('dt', {}, label), h('dd')),
    draw: (box, [, value]) => say(box.lastElementChild ?? box, value),
  })
}

function drawCounts(
  host: Element,
  counts: readonly (readonly [string, number | undefined])[],
): void {
  const all = Math.max(
    1,
    counts.reduce((sum, [, count]) => sum + (count ?? 0), 0),
  )
  drawBars(
    host,
    counts.map(([name, count = 0]) => ({
      key: name,
      name: plain(name),
      part: count / all,
      figure: number(count),
    })),
  )
}

function settledTable(page: Page) {
  return table<SettledRow>({
    label: 'Requests ended lately',
    none: 'None that are kept.',
    key: ({ id, at }) => `${at} ${id}`,
    columns: [
      {
        title: 'request',
        text: ({ id }) => id,
        press: (row) => page.openLife(row),
        class: 'name mono',
      },
      { title: 'at', text: ({ at }) => clock(at), number: true },
      { title: 'lane', text: ({ lane }) => lane },
      {
        title: 'outcome',
        text: ({ outcome, code }) => (code === null ? outcome : `${outcome}: ${plain(code)}`),
      },
      { title: 'took', text: ({ total_ms }) => duration(total_ms), number: true },
      { title: 'attempts', text: ({ attempts }) => number(attempts), number: true, optional: true },
    ],
  })
}
