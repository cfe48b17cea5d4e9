/** Durable jobs: how many wait, by lane and tenant, now and over time; what became of some; and one job's life. */
import type { Frame, History } from '#contracts/dashboard'
import { get, messageOf } from './api.ts'
import { drawBars } from './bars.ts'
import { button, byId, h, list, say } from './dom.ts'
import { jobsOf, megabytes } from './job-findings.ts'
import { openJob } from './job-dialog.ts'
import { jobSeries, type JobSeries } from './job-series.ts'
import { plot, type Columns, type Plot, type PlotOptions } from './plot.ts'
import { table } from './table.ts'
import type { Page, Section, View } from './view.ts'
import { clock, duration, number, plain } from './words.ts'

type Jobs = NonNullable<Frame['jobs']>
type Move = Frame['job_moves'][number]

export interface JobsRoom extends Section {
  /** A recording's frames, all of them; null: live. */
  recorded(frames: readonly Frame[] | null): void
  /** Colours have changed. */
  repaint(): void
}

const BARS_MAX = 10
/** As many as there are colours. */
const LINES_MAX = 6
const NEAR = { rootMargin: '600px' }

export function jobs(page: Page): JobsRoom {
  const own = { instance: '' }
  const open = (of: { tenant: string; id: string }): void => openJob(of, page, own)
  const none = h(
    'p',
    { class: 'faint' },
    'No durable jobs are kept: the server has no JetStream, or jobs.enabled is false.',
  )
  const facts = h('dl', { class: 'facts' })
  const tenants = h('ul', { class: 'bars' })
  const lanes = h('ul', { class: 'bars' })
  const moves = movesTable(open)
  const find = lookUp(open)
  const over = overTime()
  // Until a frame says that there are any: what nobody sees draws nothing.
  const body = h(
    'div',
    { hidden: true },
    facts,
    h('div', { class: 'grid two' }, titled('By lane', lanes), titled('By tenant', tenants)),
    over.element,
    titled('Changed hands, or given up', moves.element),
    find.element,
  )
  byId('jobs-body').replaceChildren(none, body)
  return {
    begin: (hello, recorded) => {
      own.instance = hello.instance
      over.begin(recorded)
    },
    draw(view) {
      const now = jobsOf(view.frame)
      none.hidden = now !== null
      body.hidden = now === null
      if (now === null) return
      drawFacts(facts, now)
      drawLanes(lanes, now)
      drawTenants(tenants, now, view.recorded ? null : page)
      moves.draw((view.frame.job_moves ?? []).toReversed())
      find.live(!view.recorded)
      over.draw(view)
    },
    recorded: over.recorded,
    repaint: over.repaint,
  }
}

const titled = (title: string, body: Element): HTMLElement => h('div', {}, h('h3', {}, title), body)

// ---- now ----

function drawFacts(host: Element, of: Jobs): void {
  const { states, counts, dead, store } = of
  const room = store.bytes_max === null ? '' : ` of ${megabytes(store.bytes_max)}`
  const facts: [string, string, boolean][] = [
    ['not ended', number(of.stored), false],
    ['oldest', duration(of.oldest_ms), false],
    ['nobody has them yet', number(states.stored), false],
    ['wait here for a slot', number(states.waiting), false],
    ['under way here', number(states.calling), false],
    ['result being stored', number(states.settling), false],
    ['at other instances', number(states.elsewhere), false],
    ['not yet due', number(states.delayed), false],
    ['taken over', number(counts.taken_over), counts.taken_over > 0],
    ['returned', number(counts.returned), false],
    ['may have run twice', number(counts.ambiguous), counts.ambiguous > 0],
    ['dead letters', number(dead.kept), dead.kept > 0],
    [
      'store',
      store.reachable ? `${megabytes(store.bytes)}${room}` : 'does not answer',
      !store.reachable || store.full,
    ],
  ]
  list(host, facts, {
    key: ([name]) => name,
    make: ([name]) => h('div', {}, h('dt', {}, name), h('dd')),
    draw: (box, [, value, warn]) => say(box.lastElementChild ?? box, `${warn ? '▲ ' : ''}${value}`),
  })
}

function drawLanes(host: Element, { lanes }: Jobs): void {
  const most = Math.max(1, ...lanes.map(({ stored }) => stored))
  drawBars(
    host,
    lanes.map(({ lane, stored, oldest_ms, expected_ms }) => {
      const late = oldest_ms !== null && oldest_ms > expected_ms
      const age = oldest_ms === null ? '' : `, oldest ${duration(oldest_ms)}`
      const over = late ? ` ▲ over ${duration(expected_ms)}` : ''
      return {
        ...{ key: lane, name: lane, part: stored / most },
        figure: `${number(stored)}${age}${over}`,
        tone: late ? 'warn' : 'plain',
      }
    }),
  )
}

/** Null as page: nothing can be asked. */
function drawTenants(host: Element, { tenants }: Jobs, page: Page | null): void {
  const shown = tenants.slice(0, BARS_MAX)
  const most = Math.max(1, ...shown.map(({ stored, taken }) => stored + taken))
  drawBars(
    host,
    shown.map(({ tenant, lane, stored, taken, oldest_ms }) => ({
      key: `${tenant}\u0000${lane}`,
      name: `${tenant}, ${lane}`,
      part: (stored + taken) / most,
      figure: `${number(stored + taken)}${oldest_ms === null ? '' : `, next ${duration(oldest_ms)}`}`,
      ...(page === null ? {} : { open: () => page.openTenant(tenant) }),
    })),
  )
}

// ---- what became of some ----

function movesTable(open: (of: { tenant: string; id: string }) => void) {
  return table<Move>({
    label: 'Jobs that changed hands or were given up',
    none: 'None since this instance started.',
    key: ({ seq }) => String(seq),
    columns: [
      { title: 'job', text: ({ id }) => id, press: open, class: 'name mono' },
      { title: 'at', text: ({ at }) => clock(at), number: true },
      { title: 'tenant', text: ({ tenant }) => tenant, class: 'name' },
      { title: 'lane', text: ({ lane }) => lane },
      { title: 'what', text: moveSaid },
    ],
  })
}

function moveSaid({ what, detail, ambiguous }: Move): string {
  if (what === 'dead') return `✖ given up: ${plain(detail)}`
  if (what === 'returned') return `↩ put back by ${detail}`
  return `▲ taken over from ${detail}${ambiguous ? ', may run twice' : ''}`
}

function lookUp(open: (of: { tenant: string; id: string }) => void) {
  const field = (id: string) =>
    h('input', { id, autocomplete: 'off', spellcheck: 'false', maxlength: 64, required: true })
  const [tenant, id] = [field('job-tenant'), field('job-id')]
  const press = button('Show its life', () => {}, { type: 'submit', id: 'job-open' })
  const element = h(
    'form',
    { class: 'row' },
    h('label', { class: 'row' }, 'Tenant', tenant),
    h('label', { class: 'row' }, 'Job', id),
    press,
  )
  element.addEventListener('submit', (event) => {
    event.preventDefault()
    open({ tenant: tenant.value.trim(), id: id.value.trim() })
  })
  return { element, live: (on: boolean) => void (press.disabled = !on) }
}

// ---- over time ----

interface Drawn {
  plot: Plot
  columns: () => Columns
}

/** Plots are made anew when other lanes or tenants come: a plot's lines stay what they are. */
function overTime() {
  const series = jobSeries()
  const element = h('div', { class: 'plots' })
  const trouble = h('p', { class: 'small faint', role: 'status' })
  let frames: readonly Frame[] | null = null
  let names = ''
  let drawn: Drawn[] = []
  let visible = false
  new IntersectionObserver(([entry]) => {
    visible = entry?.isIntersecting ?? false
    if (visible) paint()
  }, NEAR).observe(element)

  const learn = (): void => {
    get<History>('/api/history')
      .then((history) => {
        if (frames !== null) return
        series.learn(history)
        say(trouble, '')
        paint()
      })
      .catch((error: unknown) => say(trouble, `no history: ${messageOf(error)}`))
  }
  const paint = (): void => {
    if (!visible) return
    const lanes = series.lanes().map(({ name }) => name)
    const tenants = series
      .tenants(LINES_MAX)
      .map(({ name }) => name)
      .toSorted()
    const wanted = [...lanes, '', ...tenants].join('\n')
    if (wanted !== names || drawn.length === 0) {
      for (const one of drawn) one.plot.destroy()
      drawn = plotsOf(series, { lanes, tenants })
      element.replaceChildren(...drawn.map((one) => one.plot.element), trouble)
      names = wanted
    }
    for (const one of drawn) one.plot.draw(one.columns(), null)
  }
  return {
    element,
    begin(recorded: boolean) {
      series.forget()
      if (!recorded) learn()
    },
    draw({ frame }: View) {
      if (frames === null) series.add(frame)
      for (const one of drawn) one.plot.mark(frames === null ? null : frame.at / 1_000)
      paint()
    },
    recorded(all: readonly Frame[] | null) {
      frames = all
      series.forget()
      for (const frame of all ?? []) series.add(frame, Infinity)
    },
    repaint: () => drawn.forEach((one) => one.plot.repaint()),
  }
}

function plotsOf(
  series: JobSeries,
  of: { lanes: readonly string[]; tenants: readonly string[] },
): Drawn[] {
  const made = (
    options: Pick<PlotOptions, 'title' | 'about'>,
    lines: readonly string[],
    from: () => readonly { name: string; stored: (number | null)[] }[],
  ): Drawn => ({
    plot: plot(
      { ...options, leastTop: 5, lines: lines.map((label, color) => ({ label, color })) },
      () => {},
    ),
    columns: () => {
      const now = new Map(from().map(({ name, stored }) => [name, stored]))
      return [series.t, ...lines.map((name) => now.get(name) ?? [])]
    },
  })
  return [
    made(
      {
        title: 'Backlog by lane',
        about: 'Jobs of all instances that have not ended, without those not yet due.',
      },
      of.lanes,
      () => series.lanes(),
    ),
    made(
      {
        title: 'Backlog by tenant',
        about: 'Those with most now, as this instance last read them.',
      },
      of.tenants,
      () => series.tenants(Infinity),
    ),
  ]
}
