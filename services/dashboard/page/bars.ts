/** Named parts of a whole as bars, each with its figure beside it. */
import { attr, h, list, s, say } from './dom.ts'

export interface Bar {
  key: string
  /** Other people's text. */
  name: string
  /** 0 to 1. */
  part: number
  figure: string
  tone?: 'plain' | 'warn' | 'bad'
  open?: () => void
}

export function drawBars(host: Element, bars: readonly Bar[]): void {
  list(host, bars, {
    key: (one) => one.key,
    make: (one) => {
      const name = h('span', { class: 'name' })
      const label = one.open === undefined ? name : opener(name)
      return h('li', {}, label, h('span', { class: 'figure' }), meter())
    },
    draw: (row, one) => {
      attr(row, 'data-tone', one.tone ?? 'plain')
      const name = row.querySelector('.name')
      if (name !== null) {
        say(name, one.name)
        attr(name, 'title', one.name)
      }
      const press = row.querySelector('button')
      if (press !== null) openers.set(press, one.open ?? (() => {}))
      say(row.querySelector('.figure') ?? row, one.figure)
      const fill = row.querySelector('.meter-fill')
      if (fill !== null) attr(fill, 'width', (Math.min(1, Math.max(0, one.part)) * 100).toFixed(1))
    },
  })
}

const openers = new WeakMap<Element, () => void>()

function opener(name: Element): HTMLButtonElement {
  const made = h('button', { type: 'button', class: 'link name' }, name)
  made.addEventListener('click', () => openers.get(made)?.())
  return made
}

const meter = (): SVGSVGElement =>
  s(
    'svg',
    { class: 'bar', viewBox: '0 0 100 7', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    s('rect', { class: 'meter-track', width: 100, height: 7 }),
    s('rect', { class: 'meter-fill', width: 0, height: 7 }),
  )
