import { describe, expect, test } from 'vitest'
import { setup, type AnyStateMachine } from 'xstate'
import { charts, renderChartsPage, renderReadmeBlock, renderSvg } from '#machines/chart-pages'
import { drawChart, mermaid, transitions } from '#machines/chart'
import { compile } from '#machines/compile'

const ids = (svg: string): string[] => [...svg.matchAll(/data-id="([^"]*)"/g)].map(([, id]) => id!)

describe.each(charts.map((chart) => [chart.name, chart] as const))('%s', (name, chart) => {
  const { machine } = chart
  const svg = renderSvg(name)

  test('every state and every edge of the table stands in the drawing exactly once', () => {
    const states = Object.values(machine.root.states).map(({ id }) => id)
    expect(ids(svg).sort()).toEqual([...states, ...compile(machine).edges].sort())
  })

  test('every state is told what it means', () => {
    expect(Object.keys(chart.states).sort()).toEqual(Object.keys(machine.root.states).sort())
    for (const means of Object.values(chart.states)) {
      expect(renderReadmeBlock()).toContain(means)
      expect(svg).toContain(means)
    }
  })

  test('the drawing is the same each time and holds nothing but itself', () => {
    expect(renderSvg(name)).toBe(svg)
    expect(svg).not.toMatch(/<script|<foreignObject|href="(?!#)|url\((?!#)|NaN|undefined/)
    expect(unclosed(svg)).toEqual([])
  })

  test('a delay reads as one, and nothing lies outside the paper', () => {
    expect(svg).not.toContain('xstate.after')
    const [width = 0, height = 0] = /viewBox="0 0 (\d+) (\d+)"/.exec(svg)!.slice(1).map(Number)
    const boxes = [
      ...svg.matchAll(/<rect (?:class="plate" )?x="(\S+)" y="(\S+)" width="(\S+)" height="(\S+)"/g),
    ]
    expect(boxes.length).toBeGreaterThan(5)
    for (const [, ...numbers] of boxes) {
      const [x = 0, y = 0, w = 0, h = 0] = numbers.map(Number)
      expect(Math.min(x, y)).toBeGreaterThanOrEqual(0)
      expect(x + w).toBeLessThanOrEqual(width)
      expect(y + h).toBeLessThanOrEqual(height)
    }
  })

  test('the text form has every move and every transition', () => {
    const moves = transitions(machine).filter(({ from, to }) => from !== to)
    const lines = mermaid(machine).split('\n')
    expect(lines.filter((line) => / s\d+ --> s\d+ : /.test(line)).length).toBeGreaterThanOrEqual(
      moves.length,
    )
    const page = renderChartsPage()
    for (const edge of compile(machine).edges) expect(page).toContain(`\`${edge}\``)
  })
})

test('hostile text is text, in the drawing and in Mermaid', () => {
  const hostile = `a"><script>x</script>&'\u0000\n]]>; %% --> b`
  const machine: AnyStateMachine = setup({
    guards: { [hostile]: () => true },
    actions: { [hostile]: () => {} },
  }).createMachine({
    id: hostile,
    initial: 'one',
    states: {
      one: {
        on: {
          [hostile]: { guard: hostile, target: hostile, actions: [hostile] },
          stay: { guard: hostile, actions: [] },
        },
      },
      [hostile]: { type: 'final' },
    },
  })
  const svg = drawChart(machine, { title: hostile, description: hostile })
  expect(svg).not.toContain('<script')
  // oxlint-disable-next-line no-control-regex
  expect(svg).not.toMatch(/\u0000|&(?!(amp|lt|gt|quot|#39);)/)
  expect(unclosed(svg)).toEqual([])
  expect(ids(svg)).toHaveLength(2 + 2)
  const text = mermaid(machine)
  expect(text).not.toMatch(/[<&'%]/)
  for (const line of text.trim().split('\n').slice(1))
    expect(line).toMatch(
      /^ {2}(state "[^"]*" as s\d|\[\*\] --> s\d|s\d --> (s\d : [^:;]*(#\d+;[^:;]*)*|\[\*\]))$/,
    )
})

/** Tags that are opened and not closed, or closed and not open; attribute values must be quoted. */
function unclosed(svg: string): string[] {
  const open: string[] = []
  const wrong: string[] = []
  const rest = svg.replace(
    /<(\/?)([A-Za-z]+)((?:\s[\w:-]+="[^"<]*")*)(\/?)>/g,
    (_, close: string, name: string, __, self: string) => {
      if (self === '/') return ''
      if (close === '') open.push(name)
      else if (open.pop() !== name) wrong.push(name)
      return ''
    },
  )
  if (rest.includes('<')) wrong.push(rest.slice(rest.indexOf('<'), rest.indexOf('<') + 40))
  return [...wrong, ...open]
}
