/** What a report draws, as plain data: for each plot one chart per run, all of a plot on one scale, so that
 *  what looks higher is higher. */
import type { RunResult, Series } from './job.ts'

export interface Plot {
  title: string
  /** One sentence: how it is read. */
  about: string
  unit: string
  /** Linear up to 1 and logarithmic above, since a wait is 0.1 s here and 1,000 s there. */
  curved: boolean
  /** The lines lie upon each other; their values are still each its own. */
  stacked: boolean
  /** Top of every chart's scale; the bottom is 0. */
  top: number
  charts: Chart[]
}

export interface Chart {
  run: string
  t: number[]
  lines: Line[]
}

export interface Line {
  label: string
  values: (number | null)[]
  /** Of the palette; what it stands for also has a dash pattern of the same number. */
  color: number
  thin: boolean
  filled: boolean
  /** Holds its value until the next. */
  stepped: boolean
}

type LaneSeries = Series['lanes'][string]

export function plotsOf(results: readonly RunResult[]): Plot[] {
  const lanes = [...new Set(results.flatMap(({ series }) => Object.keys(series.lanes)))]
  /** One line for each lane; a run that lacks it has none. */
  const byLane =
    (values: (lane: LaneSeries) => (number | null)[], more: Partial<Line> & { suffix?: string }) =>
    (series: Series): Line[] =>
      lanes.flatMap((name, color) => {
        const lane = series.lanes[name]
        const { suffix = '', ...rest } = more
        return lane === undefined
          ? []
          : [line({ label: name + suffix, values: values(lane), color, ...rest })]
      })
  const p95 = byLane((lane) => lane.wait_p95_s, { suffix: ' P95' })
  const p50 = byLane((lane) => lane.wait_p50_s, { suffix: ' P50', thin: true })
  const plot = (of: Omit<Plot, 'curved' | 'stacked' | 'top' | 'charts'> & Partial<Plot>) =>
    drawn({ curved: false, stacked: false, top: 0, charts: [], ...of }, results)

  return [
    plot({ title: 'Queue wait', unit: 's', about: WAIT, curved: true })((series) => [
      ...p95(series),
      ...p50(series),
    ]),
    plot({ title: 'Limit, capacity, in flight', unit: 'slots', about: LIMIT })((series) => [
      line({ label: 'limit', values: series.limit, color: 0, stepped: true }),
      line({ label: 'capacity (hidden)', values: series.capacity, color: 1, stepped: true }),
      line({ label: 'in flight', values: series.inflight, color: 2, filled: true }),
    ]),
    plot({ title: 'What the provider answered', unit: 'per s', about: ANSWERS })((series) => [
      line({ label: 'attempts', values: series.attempts_per_s, color: 0, thin: true }),
      line({ label: '429', values: series.answers_429_per_s, color: 1 }),
      line({ label: '529', values: series.answers_529_per_s, color: 3 }),
    ]),
    plot({ title: 'In flight by lane', unit: 'slots', about: STACK, stacked: true })(
      byLane((lane) => lane.inflight, { filled: true }),
    ),
    plot({ title: 'Queued by lane', unit: 'requests', about: QUEUED })(
      byLane((lane) => lane.queued, {}),
    ),
    plot({ title: "Fairness between tenants (Jain's index)", unit: '', about: JAIN, top: 1 })(
      (series) => [line({ label: 'Jain', values: series.jain, color: 0 })],
    ),
  ]
}

const WAIT =
  'From arrival to first start. Thick: 95 of 100 waited less; thin: half of them did. Linear up to 1 s, logarithmic above.'
const LIMIT =
  'The limit follows a capacity that nobody tells it; what is in flight should stay under both.'
const ANSWERS = 'Attempts that started, and those that were answered 429 and 529.'
const STACK = 'Lanes upon each other; the upper edge is all of them.'
const QUEUED = 'Requests that wait for their turn.'
const JAIN = '1: every tenant has been served alike. 1/n: one of n has had everything.'

const line = (
  of: Pick<Line, 'label' | 'values' | 'color'> & Partial<Omit<Line, 'label' | 'values' | 'color'>>,
): Line => ({
  thin: false,
  filled: false,
  stepped: false,
  ...of,
  values: of.values.map(short),
})

/** Five digits are more than a screen shows. */
const short = (value: number | null): number | null =>
  value === null || !Number.isFinite(value) ? null : Number(value.toPrecision(5))

const ROOM_ABOVE = 1.05

function drawn(plot: Plot, results: readonly RunResult[]) {
  return (lines: (series: Series) => Line[]): Plot => {
    const charts = results.map(({ label, series }) => ({
      run: label,
      t: series.t.map((at) => short(at) ?? 0),
      lines: lines(series),
    }))
    const highest = Math.max(0, ...charts.map((chart) => peak(chart, plot.stacked)))
    const top = plot.top > 0 ? plot.top : highest > 0 ? highest * ROOM_ABOVE : 1
    return { ...plot, charts, top }
  }
}

function peak({ t, lines }: Chart, stacked: boolean): number {
  let highest = 0
  for (const at of t.keys()) {
    const values = lines.map(({ values }) => values[at] ?? 0)
    const here = stacked ? values.reduce((sum, one) => sum + one, 0) : Math.max(0, ...values)
    highest = Math.max(highest, here)
  }
  return highest
}
