/** A table whose rows stay put while their figures change. */
import { h, list, say } from './dom.ts'

export interface Column<Row> {
  title: string
  /** A number: at the right. */
  number?: boolean
  /** Left out where it is narrow. */
  optional?: boolean
  /** Text, always; markup in it stays text. */
  text: (row: Row) => string
  /** Makes the text a button. */
  press?: (row: Row) => void
  class?: string
}

export interface Table<Row> {
  element: HTMLElement
  head: HTMLTableRowElement
  draw(rows: readonly Row[]): void
}

export function table<Row>(of: {
  label: string
  columns: readonly Column<Row>[]
  key: (row: Row) => string
  none: string
}): Table<Row> {
  const head = h('tr', {}, ...of.columns.map(heading))
  const body = h('tbody')
  const none = h('p', { class: 'faint' }, of.none)
  const grid = h('table', {}, h('caption', { class: 'out' }, of.label), h('thead', {}, head), body)
  const wide = h('div', { class: 'wide', tabindex: 0, role: 'group', 'aria-label': of.label }, grid)
  const latest = new WeakMap<Element, Row>()
  return {
    element: h('div', {}, wide, none),
    head,
    draw(rows) {
      none.hidden = rows.length > 0
      wide.hidden = rows.length === 0
      list(body, rows, {
        key: of.key,
        make: () => h('tr', {}, ...of.columns.map((column, at) => cell(column, at === 0, latest))),
        draw: (line, row) => {
          latest.set(line, row)
          for (const [index, column] of of.columns.entries()) {
            const place = line.children[index]
            if (place !== undefined) say(place.firstElementChild ?? place, column.text(row))
          }
        },
      })
    },
  }
}

const classOf = (column: Column<never>): string =>
  [
    column.number === true ? 'n' : '',
    column.optional === true ? 'optional' : '',
    column.class ?? '',
  ]
    .filter((one) => one !== '')
    .join(' ')

const heading = (column: Column<never>): HTMLElement =>
  h('th', { scope: 'col', class: classOf(column) }, column.title)

function cell<Row>(
  column: Column<Row>,
  first: boolean,
  latest: WeakMap<Element, Row>,
): HTMLElement {
  const made = first
    ? h('th', { scope: 'row', class: classOf(column) })
    : h('td', { class: classOf(column) })
  const { press } = column
  if (press === undefined) return made
  const link = h('button', { type: 'button', class: 'link name' })
  link.addEventListener('click', () => {
    const line = made.closest('tr')
    const row = line === null ? undefined : latest.get(line)
    if (row !== undefined) press(row)
  })
  made.append(link)
  return made
}
