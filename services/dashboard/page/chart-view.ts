/** A machine's own drawing, lit: which state is active, how often each edge was taken, what can be clicked.
 *  The drawing is the server's, parsed as XML and admitted only if it holds nothing but shapes and text. */
import type { Chart } from '#contracts/dashboard'
import { attr, h, s, say } from './dom.ts'

export interface ChartView {
  element: HTMLElement
  light(of: {
    /** By name of state; `lamp` is a short word beside it. */
    states: ReadonlyMap<string, { tone: 'good' | 'warn' | 'bad'; lamp: string; said: string }>
    /** In the order of `chart.edges`; empty texts show nothing. */
    tallies: readonly { text: string; fresh: boolean; said: string }[]
  }): void
}

const SHAPES = new Set(
  'svg title desc defs marker g rect path circle line text tspan use'.split(' '),
)
const ATTRIBUTES =
  /^(xmlns|class|viewBox|width|height|role|aria-labelledby|id|refX|refY|markerWidth|markerHeight|orient|d|x|y|x1|y1|x2|y2|cx|cy|r|rx|data-id|marker-end|text-anchor|href)$/

/** Null: no drawing that may be shown. */
export function trusted(svg: string): SVGSVGElement | null {
  const parsed = new DOMParser().parseFromString(svg, 'image/svg+xml')
  const root = parsed.documentElement
  if (!(root instanceof SVGSVGElement)) return null
  for (const element of [root, ...root.querySelectorAll('*')]) {
    if (element.namespaceURI !== root.namespaceURI || !SHAPES.has(element.localName)) return null
    for (const { name, value } of element.attributes) {
      if (!ATTRIBUTES.test(name)) return null
      if (name === 'href' && !value.startsWith('#')) return null
      if (name === 'marker-end' && !/^url\(#[\w-]+\)$/.test(value)) return null
    }
  }
  return document.importNode(root, true)
}

export function chartView(
  chart: Chart,
  of: { label: string; press?: (state: string) => void },
): ChartView {
  const box = h('div', { class: 'chart-box', tabindex: 0, role: 'group', 'aria-label': of.label })
  const svg = trusted(chart.svg)
  if (svg === null) {
    box.append(h('p', { class: 'problem' }, 'The drawing of this machine cannot be shown.'))
    return { element: box, light: () => {} }
  }
  // What is inside is read one by one, so it is no single image.
  attr(svg, 'role', 'group')
  svg.querySelector(':scope > title')?.remove()
  attr(svg, 'aria-labelledby', null)
  attr(svg, 'aria-label', chart.title)
  liftLabels(svg)
  box.append(svg)
  const states = new Map(
    chart.states.map((state) => [state.name, stateOf(svg, state, of.press)] as const),
  )
  const tallies = chart.edges.map((edge) => tallyOf(svg, edge.id))
  return {
    element: box,
    light(lit) {
      for (const [name, draw] of states) draw(lit.states.get(name) ?? null)
      for (const [index, draw] of tallies.entries())
        draw(lit.tallies[index] ?? { text: '', fresh: false, said: '' })
    },
  }
}

/** The drawing shows its labels once more, above the lines, by `<use>`; such copies take no style from
 *  their ancestors. Here the labels themselves go above. */
function liftLabels(svg: SVGSVGElement): void {
  for (const copy of svg.querySelectorAll(':scope > use')) copy.remove()
  for (const edge of svg.querySelectorAll(':scope > .edge')) {
    const label = edge.querySelector(':scope > g')
    if (label === null) continue
    attr(label, 'class', 'label-of')
    attr(label, 'data-id', edge.getAttribute('data-id'))
    svg.append(label)
  }
}

type Lit = { tone: 'good' | 'warn' | 'bad'; lamp: string; said: string } | null

function stateOf(
  svg: SVGSVGElement,
  state: Chart['states'][number],
  press: ((state: string) => void) | undefined,
): (lit: Lit) => void {
  const group = find(svg, 'state', state.id)
  const rect = group?.querySelector('rect')
  if (group === null || group === undefined || rect === null || rect === undefined) return () => {}
  const { x, y, width } = boxOf(rect)
  const lamp = s('text', { class: 'lamp', x: x + width, y: y - 5, 'text-anchor': 'end' })
  group.append(lamp)
  const title = s('title', {}, state.means)
  group.prepend(title)
  if (press !== undefined) {
    attr(group, 'role', 'button')
    attr(group, 'tabindex', 0)
    group.addEventListener('click', () => press(state.name))
    group.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' && event.key !== ' ') return
      event.preventDefault()
      press(state.name)
    })
  }
  attr(group, 'data-state', state.name)
  return (lit) => {
    attr(group, 'data-lit', lit?.tone ?? null)
    say(lamp, lit?.lamp ?? '')
    if (press !== undefined) attr(group, 'aria-label', lit?.said ?? state.name)
    else attr(group, 'aria-current', lit === null ? null : 'true')
  }
}

/** A small plate at the end of the edge's label. */
function tallyOf(
  svg: SVGSVGElement,
  id: string,
): (of: { text: string; fresh: boolean; said: string }) => void {
  const place = placeOf(svg, id)
  if (place === null) return () => {}
  const plate = s('rect', { x: place.x, y: place.y, height: 14, rx: 4 })
  const text = s('text', { x: place.x + 4, y: place.y + 10.5 })
  const title = s('title')
  const tally = s('g', { class: 'tally', 'data-edge': id }, title, plate, text)
  svg.append(tally)
  const edge = find(svg, 'edge', id)
  return (of) => {
    attr(tally, 'visibility', of.text === '' ? 'hidden' : null)
    say(text, of.text)
    say(title, of.said)
    attr(plate, 'width', of.text.length * 6.2 + 8)
    attr(tally, 'data-fresh', of.fresh)
    if (edge !== null) attr(edge, 'data-fresh', of.fresh)
  }
}

function placeOf(svg: SVGSVGElement, id: string): { x: number; y: number } | null {
  const label = find(svg, 'label-of', id)?.querySelector('rect')
  if (label !== null && label !== undefined) {
    const { x, y, width } = boxOf(label)
    return { x: x + width - 1, y: y + 0.5 }
  }
  // A line inside a state's box: its plate stands outside, at the same height.
  const text = find(svg, 'hears', id)?.querySelector('text')
  const rect = find(svg, 'state', id.replace(/:\d+:\d+$/, ''))?.querySelector('rect')
  if (text === null || text === undefined || rect === null || rect === undefined) return null
  const { x, width } = boxOf(rect)
  return { x: x + width + 3, y: Number(text.getAttribute('y')) - 10.5 }
}

function boxOf(rect: Element): { x: number; y: number; width: number } {
  const of = (name: string): number => Number(rect.getAttribute(name) ?? 0)
  return { x: of('x'), y: of('y'), width: of('width') }
}

const find = (svg: SVGSVGElement, kind: string, id: string): SVGGElement | null =>
  svg.querySelector(`.${kind}[data-id="${CSS.escape(id)}"]`)
