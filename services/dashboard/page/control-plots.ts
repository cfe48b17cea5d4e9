/** Which columns of the history are plotted, and how. */
import type { History } from '#contracts/dashboard'
import { BAND_NAMES } from './bands.ts'
import type { Columns, PlotOptions } from './plot.ts'
import { duration, percent } from './words.ts'

export interface Plotted {
  /** Of one route, and not there without. */
  ofRoute: boolean
  options: PlotOptions
  columns: (history: History) => Columns
}

export const plotsOf = (lanes: readonly string[]): Plotted[] => [
  ...routePlots(),
  ...allPlots(lanes),
]

function routePlots(): Plotted[] {
  const routeColumns =
    (
      ...names: (
        | 'limit'
        | 'inflight'
        | 'band'
        | 'http_429'
        | 'http_529'
        | 'requests'
        | 'input_tokens'
        | 'output_tokens'
      )[]
    ) =>
    ({ t, route }: History): Columns => [t, ...names.map((name) => route?.[name] ?? [])]
  return [
    {
      ofRoute: true,
      options: {
        title: 'Limit and attempts in flight',
        about: 'Of this route: what the controller allows, and what is used of it.',
        lines: [
          { label: 'limit', color: 3, stepped: true },
          { label: 'in flight', color: 0, filled: true },
        ],
      },
      columns: routeColumns('limit', 'inflight'),
    },
    {
      ofRoute: true,
      options: {
        title: 'Breaker',
        about: 'Of this route: the band in which it stands.',
        lines: [{ label: 'band', color: 4, stepped: true, filled: true }],
        top: 3.2,
        names: BAND_NAMES,
        says: (value) => (value === null ? '–' : (BAND_NAMES[Math.round(value)] ?? '–')),
      },
      columns: routeColumns('band'),
    },
    {
      ofRoute: true,
      options: {
        title: '429 and 529 of this route',
        about: 'Per second. 429 is quota, 529 is overload.',
        leastTop: 5,
        lines: [
          { label: '429/s', color: 1 },
          { label: '529/s', color: 3, filled: true },
        ],
      },
      columns: routeColumns('http_429', 'http_529'),
    },
    {
      ofRoute: true,
      options: {
        title: 'Token buckets of this route',
        about:
          'What may start at once, as a part of the most it may be; below 0 is debt, no line: not paced.',
        lines: [
          { label: 'requests', color: 0 },
          { label: 'input tokens', color: 2 },
          { label: 'output tokens', color: 4 },
        ],
        says: percent,
      },
      columns: routeColumns('requests', 'input_tokens', 'output_tokens'),
    },
  ]
}

function allPlots(lanes: readonly string[]): Plotted[] {
  const total =
    (...names: (keyof History['total'])[]) =>
    ({ t, total: all }: History): Columns => [t, ...names.map((name) => all[name])]
  return [
    {
      ofRoute: false,
      options: {
        title: 'Queue wait by lane',
        about:
          'P95 thick, P50 thin, of first starts lately. The scale bends: short waits stay visible.',
        lines: lanes.flatMap((name, color) => [
          { label: `${name} P95`, color },
          { label: `${name} P50`, color, thin: true },
        ]),
        curved: true,
        leastTop: 1_000,
        says: duration,
      },
      columns: ({ t, lanes: all }) => [
        t,
        ...all.flatMap((lane) => [lane.wait_p95_ms, lane.wait_p50_ms]),
      ],
    },
    {
      ofRoute: false,
      options: {
        title: 'All routes: slots and queue',
        about: 'The limits of all routes together, attempts in flight, requests that wait.',
        lines: [
          { label: 'limit', color: 3, stepped: true },
          { label: 'in flight', color: 0, filled: true },
          { label: 'waiting', color: 5 },
        ],
      },
      columns: total('limit', 'inflight', 'queued'),
    },
    {
      ofRoute: false,
      options: {
        title: 'All routes: 429, 529 and answers',
        about: 'Per second.',
        lines: [
          { label: 'ended/s', color: 2 },
          { label: '429/s', color: 1 },
          { label: '529/s', color: 3, filled: true },
        ],
      },
      columns: total('settled', 'http_429', 'http_529'),
    },
  ]
}
