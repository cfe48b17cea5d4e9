/** A guardrail as a dial: half a circle, the budget marked at two thirds. */
import { attr, s, say } from './dom.ts'

const RADIUS = 52
const CENTER = { x: 66, y: 64 }
/** Where the budget stands. */
const BUDGET_AT = 2 / 3

export interface DialReading {
  /** 0 at the left end, 1 at the budget; null: no sample. */
  part: number | null
  met: boolean
  value: string
  bound: string
  /** For those who cannot see it. */
  said: string
}

export function dial(): { element: SVGSVGElement; draw(of: DialReading): void } {
  const fill = s('path', { class: 'fill' })
  const needle = s('line', { class: 'needle', x1: CENTER.x, y1: CENTER.y })
  const value = s('text', { class: 'value', x: CENTER.x, y: 84, 'text-anchor': 'middle' })
  const bound = s('text', { class: 'bound', x: CENTER.x, y: 98, 'text-anchor': 'middle' })
  const [inner, outer] = [at(BUDGET_AT, RADIUS - 10), at(BUDGET_AT, RADIUS + 10)]
  const element = s(
    'svg',
    { class: 'dial', viewBox: '0 0 132 102', role: 'img' },
    s('path', { class: 'track', d: arc(0, 1, RADIUS) }),
    s('path', { class: 'over', d: arc(BUDGET_AT, 1, RADIUS + 9) }),
    fill,
    s('line', { class: 'budget', x1: inner.x, y1: inner.y, x2: outer.x, y2: outer.y }),
    needle,
    value,
    bound,
  )
  return {
    element,
    draw(of) {
      const place = Math.min(1, Math.max(0, (of.part ?? 0) * BUDGET_AT))
      attr(element, 'aria-label', of.said)
      attr(element, 'data-met', String(of.met))
      attr(fill, 'd', place < 0.005 ? '' : arc(0, place, RADIUS))
      const tip = at(place, RADIUS - 12)
      attr(needle, 'x2', tip.x)
      attr(needle, 'y2', tip.y)
      say(value, of.value)
      say(bound, of.bound)
    },
  }
}

function at(part: number, radius: number): { x: number; y: number } {
  const angle = Math.PI * (1 - part)
  return {
    x: round(CENTER.x + radius * Math.cos(angle)),
    y: round(CENTER.y - radius * Math.sin(angle)),
  }
}

function arc(from: number, to: number, radius: number): string {
  const [a, b] = [at(from, radius), at(to, radius)]
  return `M${a.x} ${a.y}A${radius} ${radius} 0 0 1 ${b.x} ${b.y}`
}

const round = (value: number): number => Math.round(value * 10) / 10
