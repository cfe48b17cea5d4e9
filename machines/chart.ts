/** A machine as a drawing: chart -> directed graph -> layout -> static SVG, and as Mermaid text.
 *
 *  One `<g data-id>` per state and per edge; edge ids are those of `compile`, so that counts of edges taken
 *  colour the drawing. A move is an arrow, moves between the same two states share one; what a state hears
 *  without leaving it is a line in its box. The same machine gives the same bytes. */
import { Graph, layout, type Point } from '@dagrejs/dagre'
import type { AnyStateMachine } from 'xstate'
import { toDirectedGraph, type DirectedGraphEdge } from 'xstate/graph'

export interface ChartOptions {
  title: string
  /** For those who cannot see it. */
  description: string
  /** Top to bottom, or left to right. */
  direction?: 'TB' | 'LR'
}

export function drawChart(machine: AnyStateMachine, options: ChartOptions): string {
  const chart = chartOf(machine)
  const { width, height, boxes, arrows } = arrange(chart, options.direction ?? 'TB')
  const id = slug(machine.id)
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" class="headgate-chart" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-labelledby="${id}-title ${id}-desc">`,
    `<title id="${id}-title">${escape(options.title)}</title>`,
    `<desc id="${id}-desc">${escape(options.description)}</desc>`,
    `<style>${STYLE}</style>`,
    `<defs><marker id="${id}-head" class="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z"/></marker></defs>`,
    `<rect class="paper" width="${width}" height="${height}" rx="8"/>`,
    ...arrows.map(({ arrow, path }) => drawArrow(arrow, path, `${id}-head`)),
    ...boxes.map(drawBox),
    ...arrows.flatMap(({ arrow, at }) => drawLabels(arrow, at)),
    '</svg>',
    '',
  ].join('\n')
}

/** The moves as a Mermaid state diagram; what a state hears without leaving it is left out. */
export function mermaid(machine: AnyStateMachine): string {
  const { initial, states, arrows } = chartOf(machine)
  const name = new Map(states.map((state, i) => [state.id, `s${i}`]))
  return [
    'stateDiagram-v2',
    ...states.map((state) => `  state "${mermaidText(state.name)}" as ${name.get(state.id)}`),
    `  [*] --> ${name.get(initial)}`,
    ...arrows.flatMap(({ from, to, edges }) =>
      edges.map(
        ({ text }) => `  ${name.get(from)} --> ${name.get(to)} : ${mermaidText(plain(text))}`,
      ),
    ),
    ...states.filter(({ final }) => final).map(({ id }) => `  ${name.get(id)} --> [*]`),
    '',
  ].join('\n')
}

/** Every transition in words. */
export function transitions(
  machine: AnyStateMachine,
): { id: string; from: string; on: string; guard: string; to: string; does: string }[] {
  return toDirectedGraph(machine).children.flatMap((child) =>
    child.edges.map((edge) => ({
      id: edge.id,
      from: edge.source.key,
      on: eventText(edge),
      guard: guardText(edge),
      to: edge.target.key,
      does: actionText(edge),
    })),
  )
}

// ---- the chart ----

/** A label: the event, its guard in brackets, and what is done. */
interface Text {
  on: string
  guard: string
  does: string
}

interface Edge {
  id: string
  text: Text
}

interface State {
  id: string
  name: string
  initial: boolean
  final: boolean
  /** Heard without leaving. */
  hears: Edge[]
}

/** All moves from one state to another, or out of a state and in again. */
interface Arrow {
  from: string
  to: string
  edges: Edge[]
}

function chartOf(machine: AnyStateMachine): {
  initial: string
  states: State[]
  arrows: Arrow[]
} {
  const initial = machine.root.initial.target[0]?.id ?? ''
  const arrows = new Map<string, Arrow>()
  const states = toDirectedGraph(machine).children.map(({ id, stateNode, edges }) => {
    const hears: Edge[] = []
    for (const edge of edges) {
      const one = {
        id: edge.id,
        text: { on: eventText(edge), guard: guardText(edge), does: actionText(edge) },
      }
      const { source, target, transition } = edge
      if (source.id === target.id && !transition.reenter) {
        hears.push(one)
        continue
      }
      const key = JSON.stringify([source.id, target.id])
      const arrow = arrows.get(key) ?? { from: source.id, to: target.id, edges: [] }
      arrow.edges.push(one)
      arrows.set(key, arrow)
    }
    const final = stateNode.type === 'final'
    return { id, name: stateNode.key, initial: id === initial, final, hears }
  })
  return { initial, states, arrows: [...arrows.values()] }
}

function eventText({ source, transition }: DirectedGraphEdge): string {
  const type = String(transition.eventType)
  const after = /^xstate\.after\.(.*)$/s.exec(type)?.[1]
  if (after === undefined) return type
  return `after ${after.endsWith(`.${source.id}`) ? after.slice(0, -source.id.length - 1) : after}`
}

function guardText({ transition: { guard } }: DirectedGraphEdge): string {
  if (guard === undefined || guard === null) return ''
  return `[${named(guard)}]`
}

const actionText = ({ transition }: DirectedGraphEdge): string => {
  const names = (transition.actions as readonly unknown[]).map(named)
  return names.length === 0 ? '' : `/ ${names.join(', ')}`
}

/** A name, or a name with the values of its parameters. */
function named(thing: unknown): string {
  if (typeof thing === 'string') return thing
  if (typeof thing === 'function') return thing.name === '' ? 'inline' : thing.name
  const { type, params } = thing as { type: unknown; params?: unknown }
  const values = typeof params === 'object' && params !== null ? Object.values(params) : []
  return [named(type), ...values.map(String)].join(' ')
}

const plain = ({ on, guard, does }: Text): string =>
  [on, guard, does].filter((part) => part !== '').join(' ')

// ---- the layout ----

const CHAR = 6.7
const TITLE_CHAR = 8.6
const LINE = 15
const HEADER = 28
const PAD = 10
const MARGIN = 16
const START = 7

interface Box {
  state: State
  x: number
  y: number
  width: number
  height: number
}

const widest = (texts: readonly string[], char: number): number =>
  Math.max(0, ...texts.map((text) => text.length)) * char

function arrange(chart: ReturnType<typeof chartOf>, direction: 'TB' | 'LR') {
  const graph = new Graph({ multigraph: true })
  graph.setGraph({
    rankdir: direction,
    nodesep: 40,
    ranksep: 34,
    edgesep: 18,
    marginx: MARGIN,
    marginy: MARGIN,
  })
  for (const state of chart.states) {
    const rows = state.hears.map(({ text }) => plain(text))
    graph.setNode(state.id, {
      width: Math.ceil(
        Math.max(110, widest([state.name], TITLE_CHAR) + 44, widest(rows, CHAR) + 2 * PAD),
      ),
      height: HEADER + (rows.length === 0 ? 4 : rows.length * LINE + PAD),
    })
  }
  for (const { from, to, edges } of chart.arrows)
    graph.setEdge(from, to, {
      width: Math.ceil(widest(edges.map(({ text }) => plain(text)), CHAR)) + 12, // prettier-ignore
      height: edges.length * LINE + 6,
      labelpos: 'c',
    })
  layout(graph)
  const boxes = chart.states.map((state): Box => {
    const { x, y, width, height } = graph.node(state.id) as Required<Box>
    return { state, x: x - width / 2, y: y - height / 2, width, height }
  })
  const arrows = chart.arrows.map((arrow) => {
    const laid = graph.edge(arrow.from, arrow.to) as { points: Point[]; x: number; y: number }
    return { arrow, path: curve(laid.points), at: { x: laid.x, y: laid.y } }
  })
  const whole = graph.graph() as { width: number; height: number }
  return { width: Math.ceil(whole.width), height: Math.ceil(whole.height), boxes, arrows }
}

/** A line through the middles of the layout's points, bent at each: no corner, no overshoot. */
function curve(points: readonly Point[]): string {
  const [first, ...rest] = points
  const last = rest.at(-1)
  if (first === undefined || last === undefined) return ''
  const parts = [`M${at(first)}`]
  for (const [i, point] of rest.slice(0, -1).entries()) {
    const next = rest[i + 1]!
    const end = i === rest.length - 2 ? next : middle(point, next)
    parts.push(`Q${at(point)} ${at(end)}`)
  }
  if (rest.length === 1) parts.push(`L${at(last)}`)
  return parts.join('')
}

const middle = (a: Point, b: Point): Point => ({ x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 })
const at = ({ x, y }: Point): string => `${round(x)} ${round(y)}`
const round = (n: number): string => String(Math.round(n * 10) / 10)

// ---- the drawing ----

/** Plain colours and a media query: every viewer that draws SVG follows, also as an `<img>`. */
const STYLE = [
  '.headgate-chart{font:11px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}',
  '.headgate-chart .paper{fill:#fff;stroke:#d0d7de}',
  '.headgate-chart .state rect{fill:#f6f8fa;stroke:#57606a}',
  '.headgate-chart .state .name{font:600 14px system-ui,"Segoe UI",Helvetica,Arial,"DejaVu Sans",sans-serif;fill:#1f2328}',
  '.headgate-chart .state line{stroke:#d0d7de}',
  '.headgate-chart .state .start{fill:#1f2328;stroke:none}',
  '.headgate-chart .edge path{fill:none;stroke:#57606a;stroke-width:1.3}',
  '.headgate-chart .head path{fill:#57606a}',
  '.headgate-chart .label rect{fill:#fff}',
  '.headgate-chart .on{fill:#1f2328}',
  '.headgate-chart .guard{fill:#0550ae}',
  '.headgate-chart .does{fill:#6e7781}',
  '@media(prefers-color-scheme:dark){',
  '.headgate-chart .paper{fill:#0d1117;stroke:#30363d}',
  '.headgate-chart .state rect{fill:#161b22;stroke:#8b949e}',
  '.headgate-chart .state .name,.headgate-chart .on{fill:#e6edf3}',
  '.headgate-chart .state line{stroke:#30363d}',
  '.headgate-chart .state .start{fill:#e6edf3}',
  '.headgate-chart .edge path{stroke:#8b949e}',
  '.headgate-chart .head path{fill:#8b949e}',
  '.headgate-chart .label rect{fill:#0d1117}',
  '.headgate-chart .guard{fill:#79c0ff}',
  '.headgate-chart .does{fill:#8b949e}',
  '}',
].join('')

function drawBox({ state, x, y, width, height }: Box): string {
  const middleX = round(x + width / 2)
  const rule = y + HEADER
  const double = state.final
    ? `<rect x="${round(x + 3)}" y="${round(y + 3)}" width="${round(width - 6)}" height="${round(height - 6)}" rx="5"/>`
    : ''
  const start = state.initial
    ? `<circle class="start" cx="${round(x + 16)}" cy="${round(y + HEADER / 2)}" r="${START - 2}"><title>starts here</title></circle>`
    : ''
  const rows = state.hears.map(
    ({ id, text }, i) =>
      `<g class="hears" data-id="${escape(id)}">${lineOf(text, { x: x + PAD, y: rule + PAD + 6 + i * LINE, anchor: 'start' })}</g>`,
  )
  return [
    `<g class="state${state.final ? ' final' : ''}" data-id="${escape(state.id)}">`,
    `<rect x="${round(x)}" y="${round(y)}" width="${round(width)}" height="${round(height)}" rx="8"/>${double}${start}`,
    `<text class="name" x="${middleX}" y="${round(y + (rows.length === 0 ? height / 2 + 5 : 19))}" text-anchor="middle">${escape(state.name)}</text>`,
    ...(rows.length === 0
      ? []
      : [
          `<line x1="${round(x)}" y1="${round(rule)}" x2="${round(x + width)}" y2="${round(rule)}"/>`,
        ]),
    '</g>',
    ...rows,
  ].join('\n')
}
