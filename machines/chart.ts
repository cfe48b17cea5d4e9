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
}

export function drawChart(machine: AnyStateMachine, options: ChartOptions): string {
  const chart = chartOf(machine)
  const { width, height, boxes, arrows } = arrange(chart)
  const id = slug(machine.id)
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" class="headgate-chart" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-labelledby="${id}-title ${id}-desc">`,
    `<title id="${id}-title">${escape(options.title)}</title>`,
    `<desc id="${id}-desc">${escape(options.description)}</desc>`,
    `<style>${CHART_STYLE}</style>`,
    `<defs><marker id="${id}-head" class="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z"/></marker></defs>`,
    `<rect class="paper" width="${width}" height="${height}" rx="8"/>`,
    ...arrows.map((arrow, i) => drawArrow(arrow, { of: id, i })),
    ...boxes.map(drawBox),
    // Labels once more, above the lines of others.
    ...arrows.flatMap(({ edges }, i) => edges.map((_, j) => `<use href="#${id}-${i}-${j}"/>`)),
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

export interface Transition {
  id: string
  from: string
  on: string
  guard: string
  to: string
  does: string
  /** False: heard without leaving the state. */
  moves: boolean
}

/** Every transition in words. */
export function transitions(machine: AnyStateMachine): Transition[] {
  return toDirectedGraph(machine).children.flatMap((child) =>
    child.edges.map((edge) => ({
      id: edge.id,
      from: edge.source.key,
      on: eventText(edge),
      guard: guardText(edge),
      to: edge.target.key,
      does: actionText(edge),
      moves: edge.source !== edge.target || Boolean(edge.transition.reenter),
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
  const everywhere = doneEverywhere(machine)
  const arrows = new Map<string, Arrow>()
  const states = toDirectedGraph(machine).children.map(({ id, stateNode, edges }) => {
    const hears: Edge[] = []
    for (const edge of edges) {
      const does = actionText(edge)
      const one = {
        id: edge.id,
        text: {
          on: eventText(edge),
          guard: guardText(edge),
          does: does === everywhere ? '' : does,
        },
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

/** What every transition does is not said at each. */
function doneEverywhere(machine: AnyStateMachine): string {
  const said = new Set(transitions(machine).map(({ does }) => does))
  return said.size === 1 ? [...said][0]! : ''
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
const LOOP = 36

interface Box {
  state: State
  x: number
  y: number
  width: number
  height: number
}

interface Laid {
  points: Point[]
  x: number
  y: number
}

interface LaidArrow extends Arrow {
  path: string
  /** Middle of its labels. */
  x: number
  y: number
}

const widest = (texts: readonly string[], char: number): number =>
  Math.max(0, ...texts.map((text) => text.length)) * char

const widestOf = ({ edges }: Arrow): number =>
  widest(
    edges.map(({ text }) => plain(text)),
    CHAR,
  )

function arrange(chart: ReturnType<typeof chartOf>) {
  const graph = new Graph({ multigraph: true })
  graph.setGraph({
    rankdir: 'TB',
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
  for (const arrow of chart.arrows) {
    const { from, to, edges } = arrow
    graph.setEdge(from, to, {
      width: Math.ceil(widestOf(arrow)) + 12 + (from === to ? LOOP : 0),
      height: edges.length * LINE + 6,
      labelpos: 'c',
    })
  }
  layout(graph)
  const boxes = chart.states.map((state): Box => {
    const { x, y, width, height } = graph.node(state.id) as Required<Box>
    return { state, x: x - width / 2, y: y - height / 2, width, height }
  })
  const arrows = chart.arrows.map((arrow): LaidArrow => {
    const { points, x, y } = graph.edge(arrow.from, arrow.to) as Laid
    if (arrow.from !== arrow.to) return { ...arrow, path: curve(points), x, y }
    const box = boxes.find(({ state }) => state.id === arrow.from)!
    const right = box.x + box.width
    const width = widestOf(arrow)
    return { ...arrow, path: loop({ x: right, y }), x: right + LOOP + width / 2, y }
  })
  const whole = graph.graph() as { width: number; height: number }
  return { width: Math.ceil(whole.width), height: Math.ceil(whole.height), boxes, arrows }
}

/** Through every point; upright at each but the ends, where it meets the boxes as it comes. */
function curve(points: readonly Point[]): string {
  const [first, ...rest] = points
  if (first === undefined) return ''
  const parts = [`M${at(first)}`]
  let from = first
  for (const [i, to] of rest.entries()) {
    const [out, into] = [i > 0, i < rest.length - 1]
    const y = (from.y + to.y) / 2
    if (out && into) parts.push(`C${at({ x: from.x, y })} ${at({ x: to.x, y })} ${at(to)}`)
    else if (out || into) parts.push(`Q${at({ x: out ? from.x : to.x, y })} ${at(to)}`)
    else parts.push(`L${at(to)}`)
    from = to
  }
  return parts.join('')
}

/** Out of a box at its right side and in again. */
const loop = ({ x, y }: Point): string =>
  `M${round(x)} ${round(y - 14)}C${round(x + LOOP)} ${round(y - 22)} ${round(x + LOOP)} ${round(y + 22)} ${round(x)} ${round(y + 14)}`

const at = ({ x, y }: Point): string => `${round(x)} ${round(y)}`
const round = (n: number): string => String(Math.round(n * 10) / 10)

// ---- the drawing ----

/** Plain colours and a media query: every viewer that draws SVG follows, also as an `<img>`. Labels are drawn
 *  again over all lines by `<use>`, whose copies know nothing of what stands around the original: their
 *  classes match by themselves. */
export const CHART_STYLE = [
  '.headgate-chart{font:11px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}',
  '.headgate-chart .paper{fill:#fff;stroke:#d0d7de}',
  '.headgate-chart .state rect{fill:#f6f8fa;stroke:#57606a}',
  '.headgate-chart .state .name{font:600 14px system-ui,"Segoe UI",Helvetica,Arial,"DejaVu Sans",sans-serif;fill:#1f2328}',
  '.headgate-chart .state line{stroke:#d0d7de}',
  '.headgate-chart .state .start{fill:#1f2328;stroke:none}',
  '.headgate-chart .edge path{fill:none;stroke:#57606a;stroke-width:1.3}',
  '.headgate-chart .head{fill:#57606a}',
  '.plate{fill:#fff}',
  '.on{fill:#1f2328}',
  '.guard{fill:#0550ae}',
  '.does{fill:#6e7781}',
  '@media(prefers-color-scheme:dark){',
  '.headgate-chart .paper{fill:#0d1117;stroke:#30363d}',
  '.headgate-chart .state rect{fill:#161b22;stroke:#8b949e}',
  '.headgate-chart .state .name,.on{fill:#e6edf3}',
  '.headgate-chart .state line{stroke:#30363d}',
  '.headgate-chart .state .start{fill:#e6edf3}',
  '.headgate-chart .edge path{stroke:#8b949e}',
  '.headgate-chart .head{fill:#8b949e}',
  '.plate{fill:#0d1117}',
  '.guard{fill:#79c0ff}',
  '.does{fill:#8b949e}',
  '}',
].join('')

function drawBox({ state, x, y, width, height }: Box): string {
  const middleX = round(x + width / 2)
  const rule = y + HEADER
  const double = state.final
    ? `<rect x="${round(x + 3)}" y="${round(y + 3)}" width="${round(width - 6)}" height="${round(height - 6)}" rx="5"/>`
    : ''
  const start = state.initial
    ? `<circle class="start" cx="${round(x + 16)}" cy="${round(y + (state.hears.length === 0 ? height : HEADER) / 2)}" r="5"><title>starts here</title></circle>`
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

function drawArrow({ edges, path, x, y }: LaidArrow, at: { of: string; i: number }): string {
  return edges
    .map(({ id, text }, j) => {
      const width = widest([plain(text)], CHAR) + 6
      const top = y + (j - edges.length / 2) * LINE
      return [
        `<g class="edge" data-id="${escape(id)}">`,
        `<path d="${path}" marker-end="url(#${at.of}-head)"/>`,
        `<g id="${at.of}-${at.i}-${j}">`,
        `<rect class="plate" x="${round(x - width / 2)}" y="${round(top)}" width="${round(width)}" height="${LINE}"/>`,
        lineOf(text, { x, y: top + 11, anchor: 'middle' }),
        '</g></g>',
      ].join('')
    })
    .join('\n')
}

function lineOf(text: Text, of: { x: number; y: number; anchor: 'start' | 'middle' }): string {
  const parts = (['on', 'guard', 'does'] as const)
    .filter((part) => text[part] !== '')
    .map((part) => `<tspan class="${part}">${escape(text[part])}</tspan>`)
  return `<text x="${round(of.x)}" y="${round(of.y)}" text-anchor="${of.anchor}">${parts.join(' ')}</text>`
}

const ENTITY: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

/** Also takes out what no XML may hold. */
const escape = (text: string): string =>
  text
    // oxlint-disable-next-line no-control-regex
    .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|\p{Surrogate}/gu, '\ufffd')
    .replace(/[&<>"']/g, (char) => ENTITY[char]!)

const slug = (text: string): string => text.replace(/[^A-Za-z0-9_-]/g, '_')

/** Mermaid ends a label at a line's end or a semicolon, and reads quotes and tags. */
const mermaidText = (text: string): string =>
  text.replace(/[^\w .,/()[\]-]/gu, (char) => `#${char.codePointAt(0)};`)
