/** Control over time: plots of one route and of all, 15 minutes by the second or 24 hours by the minute. */
import type { Frame, History } from '#contracts/dashboard'
import { get, messageOf } from './api.ts'
import { button, byId, h, list, say } from './dom.ts'
import { plot, type Plot, type Range } from './plot.ts'
import { plotsOf, type Plotted } from './control-plots.ts'
import { historyOf, series } from './series.ts'
import { wallNow } from './system.ts'
import { routeName, type Page, type Section, type View } from './view.ts'
import type { Trend } from './wait-trend.ts'

export interface Control extends Section {
  /** A recording's frames, all of them; null: live. */
  recorded(frames: readonly Frame[] | null): void
  /** Colours have changed. */
  repaint(): void
  /** Frames were missed. */
  learn(): void
}

interface Drawn extends Plotted {
  plot: Plot
}

type SpanName = History['span']
const DAY_FRESH_MS = 60_000
/** Drawn a little before it comes into view. */
const NEAR = { rootMargin: '600px' }

export function control(page: Page, trend: Trend): Control {
  const host = byId('control-body')
  const kept = series()
  let span: SpanName = 'live'
  let route: string | null = null
  let frames: readonly Frame[] | null = null
  let learnt: { span: SpanName; route: string | null; at: number } | null = null
  let asking = false
  let zoom: Range | null = null
  let drawnLanes = ''
  let plots: Drawn[] = []
  let visible = false

  const bar = controlBar({
    page,
    onSpan(to) {
      span = to
      zoom = null
      learnt = null
      learn()
    },
    onZoom(change) {
      const t = kept.history()?.t ?? []
      zoom = change(zoom, { min: t[0] ?? 0, max: t.at(-1) ?? 0 })
      paint()
    },
  })
  const grid = h('div', { class: 'plots' })
  host.replaceChildren(bar.element, grid)
  new IntersectionObserver(([entry]) => {
    visible = entry?.isIntersecting ?? false
    if (visible) paint()
  }, NEAR).observe(host)

  const learn = (): void => {
    if (frames !== null) {
      kept.learn(historyOf(frames, route))
      return paint()
    }
    if (asking) return
    asking = true
    const asked = { span, route, at: wallNow() }
    get<History>('/api/history', { span, route: route ?? undefined })
      .then((history) => {
        learnt = asked
        kept.learn(history)
        if (history.span === 'live') trend.learn(history)
        bar.say('')
        paint()
      })
      .catch((error: unknown) => {
        learnt = asked
        bar.say(`no history: ${messageOf(error)}`)
      })
      .finally(() => {
        asking = false
        if (span !== asked.span || route !== asked.route) learn()
      })
  }
  const paint = (): void => {
    const history = kept.history()
    if (history === null || !visible) return
    const lanes = history.lanes.map(({ name }) => name)
    if (lanes.join('\n') !== drawnLanes || plots.length === 0) {
      for (const one of plots) one.plot.destroy()
      plots = plotsOf(lanes).map((one) => ({ ...one, plot: plot(one.options, zoomed) }))
      grid.replaceChildren(...plots.map((one) => one.plot.element))
      drawnLanes = lanes.join('\n')
    }
    for (const one of plots) {
      one.plot.element.hidden = one.ofRoute && history.route === null
      if (!one.plot.element.hidden) one.plot.draw(one.columns(history), zoom)
    }
  }
  const zoomed = (range: Range | null): void => {
    const t = kept.history()?.t ?? []
    const whole = range !== null && range.min <= (t[0] ?? 0) && range.max >= (t.at(-1) ?? 0)
    const to = whole ? null : range
    if (to?.min === zoom?.min && to?.max === zoom?.max) return
    zoom = to
    requestAnimationFrame(paint)
  }
  return {
    draw(view: View) {
      bar.draw(view)
      const chosen = view.route?.id ?? null
      if (chosen !== route || learnt === null) {
        route = chosen
        if (frames === null || chosen !== kept.history()?.route?.id) learn()
      }
      if (frames !== null) {
        for (const one of plots) one.plot.mark(view.frame.at / 1_000)
        return paint()
      }
      if (!kept.add(view.frame)) return learn()
      if (span === 'day' && learnt !== null && wallNow() - learnt.at > DAY_FRESH_MS) learn()
      paint()
    },
    recorded(all) {
      frames = all
      learnt = all === null ? null : { span: 'live', route, at: wallNow() }
      zoom = null
      span = 'live'
      bar.live(all === null)
      for (const one of plots) one.plot.mark(null)
      kept.forget()
      if (all !== null) learn()
    },
    repaint: () => plots.forEach((one) => one.plot.repaint()),
    learn,
  }
}

// ---- the bar above ----

function controlBar(of: {
  page: Page
  onSpan: (span: SpanName) => void
  onZoom: (change: (now: Range | null, whole: Range) => Range | null) => void
}) {
  const select = h('select', { id: 'control-route' })
  select.addEventListener('change', () => of.page.selectRoute(select.value))
  const spans = (
    [
      ['live', '15 min'],
      ['day', '24 h'],
    ] as const
  ).map(([span, text]) =>
    button(
      text,
      (pressed) => {
        for (const one of spans) one.setAttribute('aria-pressed', String(one === pressed))
        of.onSpan(span)
      },
      { 'aria-pressed': String(span === 'live'), 'data-span': span },
    ),
  )
  const zooms = [
    button('Zoom in', () => of.onZoom((now, whole) => scaled(now ?? whole, 0.5))),
    button('Zoom out', () => of.onZoom((now, whole) => within(scaled(now ?? whole, 2), whole))),
    button('Earlier', () => of.onZoom((now, whole) => moved(now, whole, -0.5))),
    button('Later', () => of.onZoom((now, whole) => moved(now, whole, 0.5))),
    button('All', () => of.onZoom(() => null)),
  ]
  const said = h('span', { class: 'small', role: 'status' })
  const element = h(
    'div',
    {},
    h(
      'div',
      { class: 'row' },
      h('label', { class: 'row' }, 'Route', select),
      h('span', { class: 'row', role: 'group', 'aria-label': 'Span' }, ...spans),
      h('span', { class: 'row', role: 'group', 'aria-label': 'Zoom' }, ...zooms),
      said,
    ),
    h(
      'p',
      { class: 'small faint' },
      'Drag over a plot to look closer, double-click to see all of it; every plot follows.',
    ),
  )
  return {
    element,
    say: (text: string) => say(said, text),
    live: (on: boolean) => spans.forEach((one) => (one.disabled = !on)),
    draw({ frame, route }: View) {
      list(select, frame.routes, {
        key: ({ id }) => id,
        make: ({ id }) => h('option', { value: id }),
        draw: (option, { id }) => say(option, routeName(frame, id)),
      })
      select.disabled = frame.routes.length === 0
      if (route !== null && select.value !== route.id) select.value = route.id
    },
  }
}

const LEAST_S = 5

function scaled({ min, max }: Range, by: number): Range {
  const [middle, half] = [(min + max) / 2, Math.max(LEAST_S, (max - min) * by) / 2]
  return { min: middle - half, max: middle + half }
}

const within = (range: Range, whole: Range): Range | null =>
  range.max - range.min >= whole.max - whole.min ? null : range

function moved(now: Range | null, whole: Range, by: number): Range | null {
  if (now === null) return null
  const width = now.max - now.min
  const min = Math.min(whole.max - width, Math.max(whole.min, now.min + width * by))
  return { min, max: min + width }
}
