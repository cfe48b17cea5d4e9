/* global uPlot */
/** Draws the plots of a report into its page. Runs in a browser; uPlot stands before it. */
{
  const HEIGHT = 230
  const DASHES = [[], [9, 4], [3, 3], [12, 4, 3, 4], [6, 2, 1, 2], [1, 3]]
  const TIME_STEPS = [1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 28800, 86400]
  const WAIT_TICKS = [0, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 1e4, 1e5, 1e6]
  const TICKS_MAX = 9

  const plots = JSON.parse(document.getElementById('plots').textContent)
  let drawn = []

  function draw() {
    for (const { chart, observer } of drawn) {
      observer.disconnect()
      chart.destroy()
    }
    const style = getComputedStyle(document.documentElement)
    const color = (name) => style.getPropertyValue(`--${name}`).trim()
    drawn = plots.flatMap((plot, index) => {
      const place = document.querySelector(`[data-plot="${index}"]`)
      place.replaceChildren()
      return plot.charts.map((chart) => drawChart(plot, chart, place, color))
    })
  }

  function drawChart(plot, of, place, color) {
    const figure = element('figure', 'chart')
    if (plot.charts.length > 1) figure.append(element('figcaption', '', of.run))
    const canvas = element('div', '')
    canvas.setAttribute('role', 'img')
    canvas.setAttribute(
      'aria-label',
      `${plot.title}: ${of.lines.map((one) => one.label).join(', ')}`,
    )
    const legend = element('ul', 'legend')
    const outputs = of.lines.map((line) => entry(legend, line, color))
    const time = element('output', '')
    legend.append(element('li', ''))
    legend.lastChild.append(time)
    figure.append(canvas, legend)
    place.append(figure)
    const show = (at) => {
      for (const [index, output] of outputs.entries())
        output.value = at === null ? '' : said(of.lines[index].values[at])
      time.value = at === null ? '' : `at ${exactly(of.t[at])}`
    }
    const chart = new uPlot(
      options({ plot, of, color, show, width: canvas.clientWidth }),
      [of.t, ...heights(plot, of)],
      canvas,
    )
    const observer = new ResizeObserver(() =>
      chart.setSize({ width: canvas.clientWidth, height: HEIGHT }),
    )
    observer.observe(canvas)
    return { chart, observer }
  }

  function options({ plot, of, color, show, width }) {
    const grid = { stroke: color('edge'), width: 1 }
    const axis = { stroke: color('faint'), grid, ticks: grid, font: '12px system-ui, sans-serif' }
    const span = (of.t.at(-1) ?? 0) - (of.t[0] ?? 0)
    return {
      width,
      height: HEIGHT,
      legend: { show: false },
      cursor: { sync: { key: 'report', scales: ['x', null] }, drag: { x: true, y: false } },
      scales: {
        x: { time: false },
        y: { range: [0, plot.top], ...(plot.curved ? { distr: 4, asinh: 1 } : {}) },
      },
      axes: [
        { ...axis, incrs: TIME_STEPS, values: (_, at) => at.map((one) => clock(one, span)) },
        { ...axis, size: 56, ...(plot.curved ? curvedTicks(plot.top) : {}) },
      ],
      series: [{}, ...of.lines.map((line, at) => series(line, { plot, color, lowest: at === 0 }))],
      bands: plot.stacked ? bands(of.lines, color) : [],
      hooks: { setCursor: [(chart) => show(chart.cursor.idx ?? null)] },
    }
  }

  function series(line, { plot, color, lowest }) {
    const stroke = color(`line-${line.color % DASHES.length}`)
    return {
      label: line.label,
      stroke,
      dash: DASHES[line.color % DASHES.length],
      width: line.thin ? 1 : 2,
      points: { show: true, size: 4, fill: stroke, filter: () => lonely(line.values) },
      spanGaps: false,
      ...(line.filled && !plot.stacked ? { fill: `${stroke}22` } : {}),
      ...(plot.stacked && lowest ? { fill: `${stroke}44` } : {}),
      ...(line.stepped ? { paths: uPlot.paths.stepped({ align: 1 }) } : {}),
    }
  }

  /** Where a value has none beside it, no line shows it. */
  const lonely = (values) =>
    values.flatMap((value, at) => {
      const alone = value !== null && (values[at - 1] ?? null) === null
      return alone && (values[at + 1] ?? null) === null ? [at] : []
    })

  /** Each line on top of those before it. */
  function heights(plot, of) {
    if (!plot.stacked) return of.lines.map((line) => line.values)
    const sums = of.t.map(() => 0)
    return of.lines.map((line) => line.values.map((value, at) => (sums[at] += value ?? 0)))
  }

  /** What lies between two lines of a stack; the lowest lies on the ground. */
  const bands = (lines, color) =>
    lines.slice(1).map((line, index) => ({
      series: [index + 2, index + 1],
      fill: `${color(`line-${line.color % DASHES.length}`)}44`,
    }))

  function curvedTicks(top) {
    const all = WAIT_TICKS.filter((one) => one <= top)
    const few = all.filter((one) => one === 0 || Number.isInteger(Math.log10(one)))
    const ticks = all.length > TICKS_MAX ? few : all
    return { splits: () => ticks, filter: (_, at) => at, values: (_, at) => at.map(String) }
  }

  function entry(legend, line, color) {
    const item = element('li', '')
    const output = element('output', '')
    item.append(swatch(line, color), element('span', '', line.label), output)
    legend.append(item)
    return output
  }

  function swatch(line, color) {
    const template = document.createElement('template')
    template.innerHTML =
      '<svg width="30" height="10" aria-hidden="true"><line x2="30" y1="5" y2="5"/></svg>'
    const stroke = template.content.querySelector('line')
    stroke.setAttribute('stroke', color(`line-${line.color % DASHES.length}`))
    stroke.setAttribute('stroke-width', line.thin ? '1.2' : '2.5')
    stroke.setAttribute('stroke-dasharray', DASHES[line.color % DASHES.length].join(' '))
    return template.content
  }

  function element(name, className, text = '') {
    const made = document.createElement(name)
    if (className !== '') made.className = className
    made.textContent = text
    return made
  }

  function said(value) {
    if (value === null || value === undefined) return '-'
    return String(Number(value.toPrecision(3)))
  }

  const two = (of) => String(Math.floor(of)).padStart(2, '0')
  const exactly = (s) => `${Math.floor(s / 3600)}:${two((s % 3600) / 60)}:${two(s % 60)}`

  /** Virtual time on an axis. */
  function clock(s, span) {
    if (span <= 300) return `${s} s`
    if (span <= 7200)
      return s % 60 === 0 ? `${Math.floor(s / 60)} min` : `${Math.floor(s / 60)}:${two(s % 60)}`
    return `${Math.floor(s / 3600)}:${two((s % 3600) / 60)} h`
  }

  draw()
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw)
}
