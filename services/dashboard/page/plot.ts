/** One time series plot: uPlot, our palette, dash patterns and a legend that tells what lies under the cursor.
 *  All plots share cursor and zoom. */
import { h, s, say } from './dom.ts'
import { number } from './words.ts'

export interface Line {
  label: string
  /** Of the palette, and of the dash patterns: a colour never stands alone. */
  color: number
  thin?: boolean
  filled?: boolean
  stepped?: boolean
  says?: (value: number | null) => string
}

export interface PlotOptions {
  title: string
  about: string
  lines: readonly Line[]
  /** Fixed top of the scale. */
  top?: number
  /** Lowest top: what is small stays low. */
  leastTop?: number
  /** Linear near 0, logarithmic above. */
  curved?: boolean
  /** Names of whole numbers, instead of figures. */
  names?: readonly string[]
  says?: (value: number | null) => string
  /** A point is a day in UTC: it has a date and no time, and is no moment of the other plots. */
  days?: boolean
}

export interface Plot {
  element: HTMLElement
  /** Columns: time in seconds, then the lines. Null as range: all of it. */
  draw(data: Columns, range: Range | null): void
  /** Where a recording stands, in seconds; null: nowhere. */
  mark(at: number | null): void
  repaint(): void
  destroy(): void
}

export type Columns = readonly (readonly (number | null)[])[]
export interface Range {
  min: number
  max: number
}

const HEIGHT = 190
const DASHES = [[], [9, 4], [3, 3], [12, 4, 3, 4], [6, 2, 1, 2], [1, 3]]
const CURVED_TICKS = [0, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 1_000_000]

export function plot(of: PlotOptions, onZoom: (range: Range | null) => void): Plot {
  const { element, canvas, outputs, time } = figureOf(of)
  let chart: UPlotInstance | null = null
  let data: Columns = [[], ...of.lines.map(() => [])]
  let marked: number | null = null
  /** Set by us, not by a hand. */
  let ours = false

  const show = (index: number | null): void => {
    const at = index ?? (data[0]?.length ?? 0) - 1
    for (const [place, output] of outputs.entries()) {
      const says = of.lines[place]?.says ?? of.says ?? number
      say(output, says(data[place + 1]?.[at] ?? null))
    }
    const t = data[0]?.[at]
    const said = of.days === true ? dateSaid : timeSaid
    say(time, t == null ? '' : `${index === null ? 'last' : 'at'} ${said(t)}`)
  }
  const build = (): void => {
    chart?.destroy()
    chart = null
    if (typeof uPlot === 'undefined' || canvas.clientWidth === 0) return
    chart = new uPlot(
      optionsOf(of, {
        width: canvas.clientWidth,
        color: colorReader(canvas),
        show: (at) => show(at),
        marked: () => marked,
        zoomed(range) {
          if (!ours) onZoom(range)
        },
      }),
      data,
      canvas,
    )
  }
  const observer = new ResizeObserver(() => {
    if (chart === null) return build()
    chart.setSize({ width: canvas.clientWidth, height: HEIGHT })
  })
  observer.observe(canvas)
  return {
    element,
    draw(columns, range) {
      data = columns
      if (chart === null) build()
      if (chart !== null) {
        ours = true
        chart.setData(columns, range === null)
        if (range !== null) chart.setScale('x', range)
        // uPlot tells of a new scale in a microtask.
        queueMicrotask(() => (ours = false))
      }
      show(chart?.cursor.idx ?? null)
    },
    mark(at) {
      marked = at
    },
    repaint: build,
    destroy() {
      observer.disconnect()
      chart?.destroy()
    },
  }
}

/** What stands around the canvas: title, words, and a legend with a place for each value. */
function figureOf({ title, about, lines }: PlotOptions) {
  const canvas = h('div', { class: 'canvas', role: 'img' })
  canvas.setAttribute('aria-label', `${title}: ${lines.map(({ label }) => label).join(', ')}`)
  const outputs = lines.map(() => h('output'))
  const time = h('output')
  const legend = h(
    'ul',
    { class: 'legend' },
    ...lines.map((line, at) =>
      h('li', {}, swatch(line), h('span', {}, line.label), outputs[at] ?? null),
    ),
    h('li', {}, time),
  )
  const element = h(
    'figure',
    { class: 'card plot' },
    h('figcaption', {}, title),
    h('p', { class: 'small faint' }, about),
    canvas,
    legend,
  )
  return { element, canvas, outputs, time }
}

interface Drawn {
  width: number
  color: (name: string) => string
  show: (index: number | null) => void
  marked: () => number | null
  zoomed: (range: Range | null) => void
}

function optionsOf(of: PlotOptions, at: Drawn): Record<string, unknown> {
  const grid = { stroke: at.color('edge'), width: 1 }
  const axis = { stroke: at.color('faint'), grid, ticks: grid, font: '12px system-ui, sans-serif' }
  const says = of.says ?? number
  const named = of.names
  const top = (_: unknown, __: number, max: number | null): [number, number] => [
    0,
    of.top ?? Math.max(of.leastTop ?? 1, (max ?? 0) * 1.1),
  ]
  return {
    width: at.width,
    height: HEIGHT,
    legend: { show: false },
    cursor:
      of.days === true
        ? { drag: { x: false, y: false } }
        : { sync: { key: 'headgate', scales: ['x', null] }, drag: { x: true, y: false } },
    scales: {
      x: { time: true },
      y: { range: top, ...(of.curved === true ? { distr: 4, asinh: 100 } : {}) },
    },
    axes: [
      {
        ...axis,
        values: (_: unknown, ticks: number[]) => ticks.map(of.days === true ? dateSaid : axisTime),
        space: 70,
        size: 32,
      },
      {
        ...axis,
        size: named === undefined ? 58 : 74,
        ...(of.curved === true
          ? {
              splits: (_: unknown, __: number, ___: number, max: number) =>
                CURVED_TICKS.filter((one) => one <= max),
              filter: (_: unknown, all: number[]) => all,
            }
          : {}),
        ...(named === undefined ? {} : { splits: () => named.map((_, index) => index) }),
        values: (_: unknown, ticks: number[]) =>
          ticks.map((tick) => (named === undefined ? says(tick) : (named[tick] ?? ''))),
      },
    ],
    series: [
      {},
      ...of.lines.map((line) => ({
        ...seriesOf(line, at.color),
        ...(of.days === true ? { points: { show: true } } : {}),
      })),
    ],
    hooks: {
      setCursor: [(chart: UPlotInstance) => at.show(chart.cursor.idx ?? null)],
      setScale: [
        (chart: UPlotInstance, key: string) => {
          const { min, max } = chart.scales['x'] ?? {}
          if (key === 'x' && min != null && max != null) at.zoomed({ min, max })
        },
      ],
      draw: [(chart: UPlotInstance) => drawMark(chart, at.marked(), at.color('accent'))],
    },
  }
}

function seriesOf(line: Line, color: Drawn['color']): Record<string, unknown> {
  const stroke = color(`line-${line.color % DASHES.length}`)
  return {
    label: line.label,
    stroke,
    dash: DASHES[line.color % DASHES.length],
    width: line.thin === true ? 1 : 2,
    points: { show: false },
    spanGaps: false,
    ...(line.filled === true ? { fill: withAlpha(stroke) } : {}),
    ...(line.stepped === true && typeof uPlot !== 'undefined'
      ? { paths: uPlot.paths.stepped({ align: 1 }) }
      : {}),
  }
}

function drawMark(chart: UPlotInstance, at: number | null, color: string): void {
  if (at === null) return
  const x = chart.valToPos(at, 'x', true)
  const { ctx, bbox } = chart
  if (x < bbox.left || x > bbox.left + bbox.width) return
  ctx.save()
  ctx.strokeStyle = color
  ctx.lineWidth = 2
  ctx.beginPath()
  ctx.moveTo(x, bbox.top)
  ctx.lineTo(x, bbox.top + bbox.height)
  ctx.stroke()
  ctx.restore()
}

function swatch(line: Line): SVGSVGElement {
  return s(
    'svg',
    { width: 30, height: 10, 'aria-hidden': 'true', class: `lane-${line.color % DASHES.length}` },
    s('line', {
      class: 'swatch-line',
      x2: 30,
      y1: 5,
      y2: 5,
      'stroke-width': line.thin === true ? 1.2 : 2.5,
      'stroke-dasharray': (DASHES[line.color % DASHES.length] ?? []).join(' '),
    }),
  )
}

/** Resolves `light-dark()`, which a canvas does not know. */
function colorReader(host: HTMLElement): (name: string) => string {
  const probe = h('span', { hidden: true })
  host.append(probe)
  const found = new Map<string, string>()
  const names = ['edge', 'faint', 'accent', ...DASHES.map((_, index) => `line-${index}`)]
  for (const name of names) {
    probe.style.color = `var(--${name})`
    found.set(name, getComputedStyle(probe).color)
  }
  probe.remove()
  return (name) => found.get(name) ?? ''
}

/** `rgb(0, 103, 165)` as a veil. */
const withAlpha = (color: string): string => color.replace(/^rgb\((.*)\)$/, 'rgba($1, 0.13)')

const two = (of: number): string => String(of).padStart(2, '0')
function timeSaid(s: number): string {
  const date = new Date(s * 1_000)
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
}

const dateSaid = (s: number): string => new Date(s * 1_000).toISOString().slice(5, 10)

function axisTime(s: number): string {
  const date = new Date(s * 1_000)
  const seconds = date.getSeconds()
  return `${two(date.getHours())}:${two(date.getMinutes())}${seconds === 0 ? '' : `:${two(seconds)}`}`
}
