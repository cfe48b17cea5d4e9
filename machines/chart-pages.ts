/** What the charts are called and what their states mean, and the pages that show them. */
import type { AnyStateMachine } from 'xstate'
import type { Chart as ShownChart, ChartName } from '#contracts/dashboard'
import { breakerMachine, type BreakerState } from './breaker.ts'
import { CHART_STYLE, drawChart, mermaid, transitions } from './chart.ts'
import { limitMachine, type LimitState } from './concurrency-limit.ts'
import { lifecycleMachine, type LifecycleState } from './request-lifecycle.ts'

interface Chart {
  /** The file's name under docs/charts/. */
  name: string
  /** What the dashboard calls it. */
  shown: ChartName
  machine: AnyStateMachine
  title: string
  /** Who has one. */
  each: string
  states: Readonly<Record<string, string>>
}

const lifecycleStates: Record<LifecycleState, string> = {
  queued: 'accepted and waiting for its turn',
  running: 'an attempt is in flight, nothing has been passed on yet',
  forwarding: 'the first event has been passed on; from here on no retry and no preemption',
  backoff: 'an attempt failed and another will follow; no slot is held meanwhile',
  aborting:
    'an attempt was ended (cancel, deadline, preemption, drain); its socket is being closed',
  settled: 'answered, exactly once, and nothing is held any more',
}

const breakerStates: Record<BreakerState, string> = {
  closed: 'all is well: everything passes, verdicts are counted',
  open: 'too many failures lately: nothing starts for about 15 s',
  halfOpen: 'a few probes may start; none has, so no time runs',
  probing: 'probes are in flight: 5 successes decide, or 2 failures, or 60 s',
  ramp: 'back in steps: a quarter, a half, three quarters of the limit, 5 s each',
}

const limitStates: Record<LimitState, string> = {
  steady: 'grows by one per healthy window in which it is used',
  recovering: 'below what it had before a congestion event: halves the gap per healthy window',
  held: 'the upstream asked for a slower ramp: no growth for a while, then slowly',
}

export const charts: readonly Chart[] = [
  {
    name: 'request-lifecycle',
    shown: 'lifecycle',
    machine: lifecycleMachine,
    title: 'The life of a request',
    each: 'Every request has one.',
    states: lifecycleStates,
  },
  {
    name: 'breaker',
    shown: 'breaker',
    machine: breakerMachine,
    title: 'The circuit breaker',
    each: 'Every route (one model on one upstream) has one. Operators see `halfOpen` and `probing` as one state, `half_open`.',
    states: breakerStates,
  },
  {
    name: 'concurrency-limit',
    shown: 'limit',
    machine: limitMachine,
    title: 'The concurrency limit',
    each: 'Every route has one.',
    states: limitStates,
  },
]

export function renderSvg(name: string): string {
  const chart = charts.find((one) => one.name === name)
  if (chart === undefined) throw new Error(`no chart ${name}`)
  const meanings = Object.entries(chart.states).map(([state, means]) => `${state}: ${means}`)
  return drawChart(chart.machine, { title: chart.title, description: `${meanings.join('. ')}.` })
}

/** `contracts/generated/charts.ts`: the charts as data, for programs that see no machine.
 *  @public `npm run generate` calls it. */
export function renderChartsModule(): string {
  const all = charts.map(({ name, shown, machine, title, states }) => ({
    ...shownChart({ name, shown, machine, title, states }),
    mermaid: mermaid(machine),
    config: machine.config as unknown,
  }))
  return [
    '/** The machines as data and drawings, for programs that see no machine. Generated from machines/ by',
    ' *  machines/chart-pages.ts: `npm run generate`. Do not edit. */',
    "import type { Chart } from '#contracts/dashboard'",
    '',
    '/** Also as Mermaid text, and as the JSON that Stately imports. */',
    'export interface DrawnChart extends Chart {',
    '  mermaid: string',
    '  config: unknown',
    '}',
    '',
    '/** What a drawing wears where it stands alone. */',
    `export const CHART_STYLE = ${JSON.stringify(CHART_STYLE)}`,
    '',
    `export const charts: readonly DrawnChart[] = ${JSON.stringify(all)}`,
    '',
  ].join('\n')
}

function shownChart(of: Omit<Chart, 'each'>): ShownChart {
  const { shown, machine, states } = of
  return {
    name: shown,
    title: of.title,
    svg: renderSvg(of.name).replace(`<style>${CHART_STYLE}</style>\n`, ''),
    states: Object.entries(states).map(([name, means]) => ({
      id: `${machine.id}.${name}`,
      name,
      means,
    })),
    edges: transitions(machine).map(({ does: _, ...edge }) => edge),
  }
}

/** For the front page: what the states mean, and the drawings. */
export function renderReadmeBlock(): string {
  return charts
    .map(({ name, title, each, states }) =>
      [
        `### ${title}`,
        each,
        table(['state', 'means'], Object.entries(states).map(([s, means]) => [`\`${s}\``, means])),
        `![${title}, as a chart](docs/charts/${name}.svg)`,
      ].join('\n\n'),
    )
    .join('\n\n') // prettier-ignore
}

/** Every transition in words, for those who search or cannot see the drawing. */
export function renderChartsPage(): string {
  const sections = charts.map(({ name, machine, title, each, states }) =>
    [
      `## ${title}`,
      each,
      `![${title}](${name}.svg)`,
      table(['state', 'means'], Object.entries(states).map(([s, means]) => [`\`${s}\``, means])),
      'Its moves, as text:',
      `\`\`\`mermaid\n${mermaid(machine)}\`\`\``,
      'And every transition, those included that stay where they are:',
      table(
        ['edge', 'in', 'hears', 'if', 'goes to', 'does'],
        transitions(machine).map(({ id, from, on, guard, to, does }) =>
          [id, from, on, guard, to, does.replace(/^\/ /, '')].map(code),
        ),
      ),
    ].join('\n\n'),
  ) // prettier-ignore
  return [
    '# Charts',
    '<!-- Generated from machines/ by machines/chart-pages.ts. Do not edit. -->',
    'Drawn from the machines that run. A box is a state and lists what it hears without leaving; an arrow is a move, with its event, its guard in brackets and what is done.',
    ...sections,
    '',
  ].join('\n\n')
}

const code = (text: string): string => (text === '' ? '' : `\`${text.replaceAll('|', '\\|')}\``)

const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n')
