/** One self-contained HTML page about runs that stand side by side. It loads nothing: scripts and styles are
 *  in it, and its Content-Security-Policy names them by hash. Every text is escaped. */
import {
  firstRows,
  hasBill,
  IN_FIRST,
  LANE_FIGURES,
  MEMBER_FIGURES,
  MONEY_FIGURES,
  MONEY_ROWS,
  type RunResult,
} from './job.ts'
import { plotsOf, type Plot } from './report-plots.ts'

export interface PageAssets {
  /** uPlot, then what draws with it. */
  scripts: Asset[]
  styles: Asset[]
}

export interface Asset {
  text: string
  /** Base 64. */
  sha256: string
}

export function reportPage(results: readonly RunResult[], assets: PageAssets): string {
  const plots = plotsOf(results)
  const title = titleOf(results)
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policyOf(assets)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escaped(title)}</title>
${assets.styles.map(({ text }) => `<style>${text}</style>`).join('\n')}
</head>
<body>
<header>
<h1>${escaped(title)}</h1>
${summaryOf(results)}
</header>
<main>
${saidOf(results)}
<div class="tables">
${firstOf(results)}
${acceptanceOf(results)}
${figuresOf(results)}
</div>
<p class="hint">Drag over a chart to look closer, double-click to see all of it; every chart follows.</p>
<noscript><p>The plots need JavaScript; the tables do not.</p></noscript>
${plots.map(plotOf).join('\n')}
${lanesOf(results)}
${billsOf(results)}
${instancesOf(results)}
</main>
<script type="application/json" id="plots">${inScript(plots)}</script>
${assets.scripts.map(({ text }) => `<script>${text}</script>`).join('\n')}
</body>
</html>
`
}

const policyOf = ({ scripts, styles }: PageAssets): string => {
  const hashes = (of: readonly Asset[]) => of.map(({ sha256 }) => `'sha256-${sha256}'`).join(' ')
  return `default-src 'none'; script-src ${hashes(scripts)}; style-src ${hashes(styles)}; base-uri 'none'; form-action 'none'`
}

function titleOf([first]: readonly RunResult[]): string {
  if (first === undefined) return 'Headgate simulation'
  const what = first.scenario === null ? `trace ${first.trace}` : `scenario ${first.scenario}`
  return `Headgate simulation: ${what}, seed ${first.seed}`
}

function summaryOf(results: readonly RunResult[]): string {
  const rows = results.map((run) => [
    run.label,
    run.policy,
    number(run.simulated_requests),
    number(run.simulated_s),
    number(run.wall_ms / 1_000),
    run.violations === 0
      ? '0'
      : { html: `<span class="missed">✗ ${number(run.violations)}</span>` },
    run.trace_hash,
  ])
  const head = ['run', 'policy', 'requests', 'virtual s', 'took s', 'broken laws', 'trace hash']
  const findings = results.flatMap(({ label, findings: found }) =>
    found.map((one) => `<li>${escaped(`${label}: ${one}`)}</li>`),
  )
  const list =
    findings.length === 0
      ? ''
      : `<section><h2>Broken laws</h2><ul>${findings.join('')}</ul></section>`
  return table({ caption: 'Runs', head, rows }) + list
}

/** What was asked beside the traffic, in words. */
function saidOf(results: readonly RunResult[]): string {
  const parts = results.flatMap(({ said, label }) => {
    if (said.length === 0) return []
    const head = results.length === 1 ? '' : `<h3>${escaped(label)}</h3>`
    return [`${head}<ul>${said.map((one) => `<li>${escaped(one)}</li>`).join('')}</ul>`]
  })
  return parts.length === 0 ? '' : `<section><h2>Beside the traffic</h2>${parts.join('')}</section>`
}

/** `rows` hold markup where `verdict` made it, else text that `cell` escapes. */
type Cell = string | Markup
interface Markup {
  html: string
}

const names = (results: readonly RunResult[], of: (run: RunResult) => object): string[] => [
  ...new Set(results.flatMap((run) => Object.keys(of(run)))),
]

function acceptanceOf(results: readonly RunResult[]): string {
  const musts = new Map(
    results.flatMap((run) => run.acceptance.map((one) => [one.figure, one.must] as const)),
  )
  const rows = [...musts].map(([figure, must]) => [
    figure,
    must,
    ...results.map((run): Cell => {
      const found = run.acceptance.find((one) => one.figure === figure)
      return found === undefined ? '-' : verdict(found.met, number(found.value))
    }),
  ])
  const head = ['figure', 'must be', ...results.map(({ label }) => label)]
  return table({ caption: 'Acceptance', head, rows })
}

function firstOf(results: readonly RunResult[]): string {
  const rows = firstRows(results).map(({ said, must, cells }) => [
    said,
    must ?? '',
    ...cells.map(({ value, met }): Cell => {
      if (value === null) return '-'
      return must === null ? number(value) : verdict(met === true, number(value))
    }),
  ])
  const head = ['', 'must be', ...results.map(({ label }) => label)]
  return table({ caption: 'Work in time, guardrails, fairness', head, rows })
}

function figuresOf(results: readonly RunResult[]): string {
  const judged = new Set(results.flatMap((run) => run.acceptance.map(({ figure }) => figure)))
  const others = names(results, (run) => run.figures).filter(
    (name) => !judged.has(name) && !IN_FIRST.has(name),
  )
  const rows = others.map((name) => [
    name,
    ...results.map((run) => number(run.figures[name] ?? null)),
  ])
  return table({
    caption: judged.size === 0 ? 'Figures' : 'Other figures',
    head: ['figure', ...results.map(({ label }) => label)],
    rows,
  })
}

function lanesOf(results: readonly RunResult[]): string {
  const rows = names(results, (run) => run.lanes).flatMap((lane) =>
    results.flatMap(({ label, lanes }) => {
      const found = lanes[lane]
      if (found === undefined) return []
      return [[lane, label, ...LANE_FIGURES.map(({ name }) => number(found[name]))]]
    }),
  )
  const head = ['lane', 'run', ...LANE_FIGURES.map(({ said }) => said)]
  return table({ caption: 'Lanes', head, rows })
}

/** By tenant, the dearest first, then all of them. */
function billsOf(results: readonly RunResult[]): string {
  const rows = results.flatMap(({ label, money }) => {
    if (!hasBill(money)) return []
    const tenants = money.tenants.slice(0, MONEY_ROWS)
    return [...tenants, { ...money, tenant: 'all' }].map((one) => [
      one.tenant,
      label,
      ...MONEY_FIGURES.map(({ name }) => number(one[name])),
    ])
  })
  const head = ['tenant', 'run', ...MONEY_FIGURES.map(({ said }) => said)]
  return table({ caption: 'Cost', head, rows })
}

function instancesOf(results: readonly RunResult[]): string {
  const rows = results.flatMap(({ label, fleet }) =>
    (fleet?.members ?? []).map((one) => [
      one.member,
      label,
      ...MEMBER_FIGURES.map(({ name }) => number(one[name])),
    ]),
  )
  const head = ['instance', 'run', ...MEMBER_FIGURES.map(({ said }) => said)]
  return table({ caption: 'Instances', head, rows })
}

/** The charts come into `.charts`, one per run. */
const plotOf = ({ title, unit, about }: Plot, index: number): string =>
  `<section class="plot"><h2>${escaped(unit === '' ? title : `${title}, ${unit}`)}</h2>` +
  `<p>${escaped(about)}</p><div class="charts" data-plot="${index}"></div></section>`

// ---- markup ----

function table(of: { caption: string; head: string[]; rows: Cell[][] }): string {
  if (of.rows.length === 0) return ''
  const head = of.head.map((one) => `<th scope="col">${escaped(one)}</th>`).join('')
  const rows = of.rows.map(([first = '', ...cells]) => {
    const rest = cells.map((one) => `<td>${cell(one)}</td>`).join('')
    return `<tr><th scope="row">${cell(first)}</th>${rest}</tr>`
  })
  return (
    `<section><h2>${escaped(of.caption)}</h2><div class="wide" tabindex="0">` +
    `<table><thead><tr>${head}</tr></thead><tbody>${rows.join('')}</tbody></table></div></section>`
  )
}

const cell = (of: Cell): string => (typeof of === 'string' ? escaped(of) : of.html)

const verdict = (met: boolean, said: string): Markup => ({
  html: `${escaped(said)} <span class="${met ? 'met' : 'missed'}">${met ? '✓ met' : '✗ missed'}</span>`,
})

/** Four digits that count. */
function number(value: number | null): string {
  if (value === null || !Number.isFinite(value)) return '-'
  if (Number.isInteger(value) || Math.abs(value) >= 1_000) return String(Math.round(value))
  return String(Number(value.toPrecision(4)))
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

const escaped = (text: string): string => text.replaceAll(/[&<>"']/g, (one) => ENTITIES[one] ?? one)

/** JSON that cannot end its element. */
const inScript = (value: unknown): string => JSON.stringify(value).replaceAll('<', '\\u003c')
