/** The charts of the machines as they run: breaker and limit of one route, and the life of all requests. */
import type { Frame, FrameRoute, Hello, Transition } from '#contracts/dashboard'
import { chartView, type ChartView } from './chart-view.ts'
import { attr, byId, h, list, say } from './dom.ts'
import { chartOf, routeName, toneOf, wordOf, type Page, type Section, type View } from './view.ts'
import { clock, elapsed, number, plain, plural } from './words.ts'

type Controller = 'breaker' | 'limit'

type Face = Controller | 'lifecycle' | 'all'

export function machines(page: Page): Section {
  const host = byId('machines-body')
  let parts: ((view: View) => void)[] = []
  let face: Face = 'breaker'
  return {
    begin(hello, recorded) {
      const routes = routesBar(page)
      const charts = {
        breaker: controller('breaker', hello),
        limit: controller('limit', hello),
        lifecycle: lifecycle(hello, page, recorded),
      }
      const show = (to: Face): void => {
        face = to
        for (const [name, { element }] of Object.entries(charts))
          element.classList.toggle('away', to !== 'all' && to !== name)
        faces.draw(null)
      }
      const faces = facesBar(() => face, show)
      host.replaceChildren(
        routes.element,
        faces.element,
        h('div', { class: 'machines' }, ...Object.values(charts).map(({ element }) => element)),
      )
      show(face)
      parts = [routes.draw, faces.draw, ...Object.values(charts).map(({ draw }) => draw)]
    },
    draw(view) {
      for (const draw of parts) draw(view)
    },
  }
}

/** Where each machine stands, in words; a press shows its chart. */
function facesBar(face: () => Face, show: (to: Face) => void) {
  const faces: [Face, string, (view: View) => string][] = [
    [
      'breaker',
      'Circuit breaker of the route',
      ({ route, now }) => (route === null ? '–' : stateSaid('breaker', route, now)),
    ],
    [
      'limit',
      'Concurrency limit of the route',
      ({ route, now }) => (route === null ? '–' : stateSaid('limit', route, now)),
    ],
    ['lifecycle', 'Requests', ({ frame }) => requestsSaid(frame)],
    ['all', 'Charts', () => 'all three'],
  ]
  const presses = faces.map(([to, title]) => {
    const made = h(
      'button',
      { type: 'button', 'data-face': to },
      h('span', { class: 'label' }, title),
      h('span', {}, '–'),
    )
    made.addEventListener('click', () => show(to))
    return made
  })
  return {
    element: h(
      'div',
      { class: 'faces', role: 'group', 'aria-label': 'Machine to look at' },
      ...presses,
    ),
    draw(view: View | null) {
      for (const [index, press] of presses.entries()) {
        const [to, , words] = faces[index] ?? faces[0]!
        attr(press, 'aria-pressed', String(to === face()))
        if (view !== null) say(press.lastElementChild ?? press, words(view))
      }
    },
  }
}

function requestsSaid({ lifecycle }: Frame): string {
  const said = Object.entries(lifecycle.states)
    .filter(([, count]) => count > 0)
    .map(([state, count]) => `${number(count)} ${state}`)
  return said.length === 0 ? 'none alive' : said.join(', ')
}

interface Part {
  element: HTMLElement
  draw(view: View): void
}

const RANK = { bad: 0, warn: 1, good: 2 } as const

/** Every route, the troubled first. */
function routesBar(page: Page): Part {
  const none = h(
    'p',
    { class: 'faint' },
    'No route yet: each model gets one with its first request.',
  )
  const bar = h('div', { class: 'routes', role: 'group', 'aria-label': 'Route to look at' })
  return {
    element: h('div', {}, bar, none),
    draw({ frame, route: chosen }) {
      none.hidden = frame.routes.length > 0
      bar.hidden = frame.routes.length === 0
      const sorted = frame.routes.toSorted((a, b) => RANK[toneOf(a)] - RANK[toneOf(b)])
      list(bar, sorted, {
        key: ({ id }) => id,
        make: ({ id }) => {
          const made = h(
            'button',
            { type: 'button', 'data-route': id },
            h('span', { class: 'name' }),
            h('span', { class: 'tag' }),
          )
          made.addEventListener('click', () => page.selectRoute(id))
          return made
        },
        draw: (made, route) => {
          const [name, tag] = made.children
          if (name !== undefined) say(name, routeName(frame, route.id))
          if (tag !== undefined) {
            say(tag, wordOf(route))
            attr(tag, 'data-tone', toneOf(route))
          }
          attr(made, 'aria-pressed', String(route.id === chosen?.id))
        },
      })
    },
  }
}

const TITLES = { breaker: 'Circuit breaker', limit: 'Concurrency limit' } as const

function controller(name: Controller, hello: Hello): Part {
  const chart = chartOf(hello, name)
  const view =
    chart === undefined ? null : chartView(chart, { label: `${TITLES[name]}, as a chart` })
  const now = h('p', { class: 'state-said' })
  const means = h('p', { class: 'small faint' })
  const moves = h('ol', { class: 'small' })
  const movesBox = h(
    'div',
    { class: 'moves', tabindex: 0, role: 'group', 'aria-label': `${TITLES[name]}: last moves` },
    moves,
  )
  const element = h(
    'article',
    { class: 'card machine', id: `machine-${name}` },
    view?.element ?? h('p', { class: 'faint' }, 'no chart'),
    h(
      'div',
      {},
      h('h3', {}, TITLES[name]),
      now,
      means,
      h('p', { class: 'label' }, 'last moves'),
      movesBox,
    ),
  )
  return {
    element,
    draw(of) {
      const { route, frame } = of
      element.hidden = route === null
      if (route === null || view === null || chart === undefined) return
      const machine = route[`${name}_machine`]
      say(now, stateSaid(name, route, of.now))
      say(means, chart.states.find((one) => one.name === machine.state)?.means ?? '')
      attr(element, 'data-state', machine.state)
      view.light({
        states: new Map([
          [
            machine.state,
            {
              tone: controllerTone(machine.state),
              lamp: `● ${elapsed(of.now - machine.since)}`,
              said: machine.state,
            },
          ],
        ]),
        tallies: talliesOf(chart.edges, machine.counts, countsBefore(of.before, route.id, name)),
      })
      drawMoves(moves, { frame, name, route: route.id })
    },
  }
}

function controllerTone(state: string): 'good' | 'warn' | 'bad' {
  if (state === 'open') return 'bad'
  return state === 'closed' || state === 'steady' ? 'good' : 'warn'
}

function stateSaid(name: Controller, route: FrameRoute, now: number): string {
  const { state, since } = route[`${name}_machine`]
  const cap = route.breaker_cap === null ? '' : `, lets ${plural(route.breaker_cap, 'attempt')} in`
  const detail =
    name === 'breaker' ? cap : `, ${number(route.inflight)} of ${number(route.limit)} in flight`
  return `${state} for ${elapsed(now - since)}${detail}`
}

function countsBefore(before: Frame | null, route: string, name: Controller): readonly number[] {
  return before?.routes.find(({ id }) => id === route)?.[`${name}_machine`].counts ?? []
}

function talliesOf(
  edges: Hello['charts'][number]['edges'],
  counts: readonly number[],
  before: readonly number[],
) {
  return edges.map((edge, index) => {
    const count = counts[index] ?? 0
    return {
      text: count === 0 ? '' : number(count),
      fresh: edge.moves && before[index] !== undefined && count > before[index],
      said: `${edge.on} ${edge.guard} from ${edge.from}: taken ${plural(count, 'time')}`,
    }
  })
}

const MOVES_SHOWN_MAX = 20

function drawMoves(host: Element, of: { frame: Frame; name: Controller; route: string }): void {
  const found = of.frame.transitions
    .filter((one) => one.machine === of.name && one.route === of.route)
    .toReversed()
    .slice(0, MOVES_SHOWN_MAX)
  list<Transition | null, HTMLLIElement>(host, found.length === 0 ? [null] : found, {
    key: (one) => (one === null ? 'none' : String(one.seq)),
    make: (one) =>
      h(
        'li',
        {},
        one === null
          ? 'none since the start that is remembered'
          : `${clock(one.at)}  ${plain(one.from)} → ${plain(one.to)}: ${plain(one.reason)}`,
      ),
  })
}

// ---- the life of all requests ----

const STATE_TONE: Readonly<Record<string, 'good' | 'warn' | 'bad'>> = {
  backoff: 'warn',
  aborting: 'warn',
}

function lifecycle(hello: Hello, page: Page, recorded: boolean): Part {
  const chart = chartOf(hello, 'lifecycle')
  const view: ChartView | null =
    chart === undefined
      ? null
      : chartView(chart, {
          label: 'The life of all requests, as a chart',
          ...(recorded ? {} : { press: (state: string) => page.openRequests({ state }) }),
        })
  const hint = recorded
    ? 'A recording holds counts, not single requests.'
    : 'Choose a state to list the requests in it.'
  const settled = h('p', { class: 'small faint' })
  const element = h(
    'article',
    { class: 'card machine', id: 'machine-lifecycle' },
    view?.element ?? h('p', { class: 'faint' }, 'no chart'),
    h(
      'div',
      {},
      h('h3', {}, 'The life of a request'),
      h(
        'p',
        { class: 'small' },
        'Requests in each state; on each edge moves in all, and per second.',
      ),
      h('p', { class: 'small faint' }, hint),
      settled,
    ),
  )
  return {
    element,
    draw({ frame }) {
      if (view === null || chart === undefined) return
      const { states, counts, flow } = frame.lifecycle
      const held = states as Readonly<Record<string, number>>
      say(settled, `${requestsSaid(frame)} now.`)
      view.light({
        states: new Map(
          chart.states.flatMap(({ name, means }) => {
            const count = held[name] ?? 0
            return count === 0
              ? []
              : [
                  [
                    name,
                    {
                      tone: STATE_TONE[name] ?? 'good',
                      lamp: `● ${number(count)}`,
                      said: `${name}: ${plural(count, 'request')}. ${means}`,
                    },
                  ] as const,
                ]
          }),
        ),
        tallies: chart.edges.map((edge, index) => {
          const [count, perSecond] = [counts[index] ?? 0, flow[index] ?? 0]
          return {
            text:
              count === 0
                ? ''
                : `${number(count)}${perSecond === 0 ? '' : ` · ${number(perSecond)}/s`}`,
            fresh: perSecond > 0,
            said: `${edge.on} from ${edge.from}: taken ${plural(count, 'time')}, ${number(perSecond)} in the last second`,
          }
        }),
      })
    },
  }
}
