/** The report is one page that needs nothing else, draws everything and believes no text. */
import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { reportPage, type Asset } from '../../services/simulator/report-page.ts'
import type { Plot } from '../../services/simulator/report-plots.ts'
import { runResult } from '../support/simulation.ts'
import { read } from '../support/tree.ts'

const asset = (path: string): Asset => {
  const text = read(path)
  return { text, sha256: createHash('sha256').update(text).digest('base64') }
}
const assets = {
  scripts: [
    asset('node_modules/uplot/dist/uPlot.iife.min.js'),
    asset('services/simulator/report-charts.js'),
  ],
  styles: [
    asset('node_modules/uplot/dist/uPlot.min.css'),
    asset('services/simulator/report-page.css'),
  ],
}
const page = (...results: ReturnType<typeof runResult>[]) => reportPage(results, assets)

/** What the page's scripts read. */
function plotsIn(html: string): Plot[] {
  const [, text = ''] =
    /<script type="application\/json" id="plots">(.*?)<\/script>/s.exec(html) ?? []
  return JSON.parse(text) as Plot[]
}

describe('the report of a simulation', () => {
  test('draws every list of the series, for every run', () => {
    const runs = [runResult(), runResult({ label: 'naive', policy: 'naive' })]
    const plots = plotsIn(page(...runs))
    const { t, lanes, ...whole } = runResult().series
    const wanted = [...Object.values(whole), ...Object.values(lanes).flatMap(Object.values)]
    for (const run of [0, 1]) {
      const drawn = plots.flatMap(({ charts }) => charts[run]?.lines.map(({ values }) => values))
      for (const list of wanted) expect(drawn).toContainEqual(list)
      expect(drawn).toHaveLength(wanted.length)
    }
    for (const { charts } of plots) expect(charts.map((chart) => chart.t)).toEqual([t, t])
  })

  test('has one scale for all runs of a plot, with room for the highest', () => {
    const high = runResult()
    high.series.limit = [500, 500, 500]
    const limit = plotsIn(page(runResult(), high)).find(({ title }) => title.startsWith('Limit'))
    expect(limit?.top).toBeCloseTo(525)
    const jain = plotsIn(page(runResult())).find(({ title }) => title.startsWith('Fairness'))
    expect(jain?.top).toBe(1)
  })

  test('tells lanes apart by more than colour, and by the same in every plot and run', () => {
    const without = runResult()
    delete without.series.lanes.premium
    const of = (label: string) =>
      plotsIn(page(without, runResult()))
        .flatMap(({ charts }) => charts.flatMap(({ lines }) => lines))
        .filter((line) => line.label.startsWith(label))
        .map(({ color }) => color)
    expect(new Set(of('interactive')).size).toBe(1)
    expect(new Set(of('batch')).size).toBe(1)
    expect(of('batch')[0]).not.toBe(of('interactive')[0])
  })

  test('loads nothing, and its policy allows only what is in it', () => {
    const html = page(runResult())
    expect(html).not.toMatch(/\b(src|href|action|srcset)\s*=\s*["']?[^"'\s>]/i)
    expect(html).not.toMatch(/@import|url\(|\bfetch\(|XMLHttpRequest|import\(/)
    expect(html).not.toMatch(/ style=| on[a-z]+=/)
    const [, policy = ''] = /Content-Security-Policy" content="([^"]*)"/.exec(html) ?? []
    expect(policy).toMatch(/^default-src 'none'; script-src /)
    expect(policy).not.toContain('unsafe')
    const inline = [...html.matchAll(/<(script|style)>(.*?)<\/\1>/gs)].map(
      ([, , text = '']) => text,
    )
    expect(inline).toHaveLength(4)
    for (const text of inline)
      expect(policy).toContain(createHash('sha256').update(text).digest('base64'))
  })

  test('believes no text: names of runs, lanes, figures, files and findings are escaped', () => {
    const evil = `</script><img src=x onerror="alert('1')">&`
    const { premium } = runResult().lanes
    const bad = runResult({
      label: evil,
      scenario: null,
      trace: evil,
      trace_hash: evil,
      figures: { [evil]: 1 },
      lanes: premium === undefined ? {} : { [evil]: premium },
      acceptance: [{ figure: evil, must: evil, value: 1, met: true }],
      violations: 1,
      findings: [evil],
      said: [evil],
    })
    const lane = bad.series.lanes.premium
    bad.series.lanes = lane === undefined ? {} : { [evil]: lane }
    const html = page(bad, runResult())
    expect(html).not.toContain('<img')
    expect(html.match(/<\/script>/g)).toHaveLength(3)
    expect(html).toContain(
      '&lt;/script&gt;&lt;img src=x onerror=&quot;alert(&#39;1&#39;)&quot;&gt;&amp;',
    )
    expect(plotsIn(html)[0]?.charts[0]?.run).toBe(evil)
  })

  test('says what was asked beside the traffic, of each run where there are several', () => {
    expect(page(runResult())).not.toContain('Beside the traffic')
    const said = { said: ['one', 'two'] }
    expect(page(runResult(said))).toContain('<h2>Beside the traffic</h2><ul><li>one</li><li>two')
    const other = runResult({ label: 'b', said: ['three'] })
    expect(page(runResult(said), other)).toContain('<h3>b</h3><ul><li>three</li></ul>')
  })

  test('says met and missed in words, and broken laws where there are some', () => {
    const html = page(runResult({ violations: 2, findings: ['I3: a slot was held twice'] }))
    expect(html).toContain('67 <span class="met">✓ met</span>')
    expect(html).toContain('44.12 <span class="missed">✗ missed</span>')
    expect(html).toContain('<li>headgate: I3: a slot was held twice</li>')
    expect(page(runResult())).not.toContain('Broken laws')
  })
})
