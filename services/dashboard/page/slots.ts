/** The pool of slots as a picture: one square is one slot (or a few, where there are many), by lane. */
import type { Frame, FrameLane } from '#contracts/dashboard'
import { drawBars } from './bars.ts'
import { attr, byId, h, list, s, say } from './dom.ts'
import { allot, type LaneSlots } from './slot-pool.ts'
import { table } from './table.ts'
import type { Page, Section, View } from './view.ts'
import { clock, duration, number, plural, shortened } from './words.ts'

export function slots(page: Page): Section {
  const host = byId('slots-body')
  let parts: ((view: View) => void)[] = []
  return {
    begin(hello) {
      const names = hello.lanes.map(({ name }) => name)
      const pool = poolPicture(names)
      const lanes = laneTable(names)
      const holders = holdersList(page)
      const preempted = preemptions(page)
      host.replaceChildren(
        h('div', { class: 'card' }, pool.element),
        h('div', { class: 'card lanes-card' }, lanes.element),
        h('div', { class: 'grid two' }, holders.element, preempted.element),
      )
      parts = [pool.draw, lanes.draw, holders.draw, preempted.draw]
    },
    draw(view) {
      for (const draw of parts) draw(view)
    },
  }
}

/** Letter of a lane: its colour is never the only sign. */
export const laneSign = (lanes: readonly string[], name: string): { sign: string; at: number } => {
  const at = lanes.indexOf(name)
  const letter = [...name][0]?.toUpperCase() ?? '?'
  const twin = lanes.findIndex((one) => [...one][0]?.toUpperCase() === letter)
  return { sign: twin === at ? letter : `${at + 1}`, at: Math.max(0, at) % 6 }
}

const laneKey = (lanes: readonly string[], name: string): HTMLElement => {
  const { sign, at } = laneSign(lanes, name)
  return h('span', { class: `lane-key lane-${at}`, 'aria-hidden': 'true' }, sign)
}

const SQUARE = 18
const STEP = 22
const ROWS = 4

type Kind = 'own' | 'borrowed' | 'kept' | 'lent' | 'free'

function poolPicture(names: readonly string[]) {
  const sentence = h('p', { id: 'pool-said' })
  const clusters = h('div', { class: 'pool' })
  const scale = h('p', { class: 'faint small' })
  const element = h('div', {}, sentence, clusters, scale, legend())
  return {
    element,
    draw({ frame }: View) {
      const pool = allot(frame)
      say(sentence, poolSaid(frame, pool.headroom))
      scale.hidden = pool.perSquare === 1
      say(scale, `One square is ${number(pool.perSquare)} slots.`)
      const groups: (LaneSlots | { lane: null; free: number })[] = [
        ...pool.lanes,
        { lane: null, free: pool.headroom },
      ]
      list(clusters, groups, {
        key: (one) => one.lane ?? '\u0000free',
        make: (one) => cluster(one.lane, names),
        draw: (figure, one) => drawCluster(figure, one, pool.perSquare, names),
      })
    },
  }
}

function poolSaid(frame: Frame, headroom: number): string {
  const { inflight, limit } = frame.global
  const borrowed = allot(frame).lanes.reduce((sum, one) => sum + one.borrowed, 0)
  return `${plural(inflight, 'slot')} of ${number(limit)} in use, ${number(borrowed)} of them beyond a guarantee; ${number(Math.max(0, headroom))} free for anybody`
}

const cluster = (lane: string | null, names: readonly string[]): HTMLElement =>
  h(
    'figure',
    { 'data-lane': lane ?? '' },
    h(
      'figcaption',
      { class: 'small' },
      lane === null ? null : laneKey(names, lane),
      lane === null ? 'headroom' : lane,
      h('span', { class: 'faint' }),
    ),
    s('svg', { role: 'img' }),
  )

function drawCluster(
  figure: Element,
  one: LaneSlots | { lane: null; free: number },
  perSquare: number,
  names: readonly string[],
): void {
  const counts: [Kind, number][] =
    one.lane === null
      ? [['free', one.free]]
      : [
          ['own', one.own],
          ['borrowed', one.borrowed],
          ['kept', one.kept],
          ['lent', one.lent],
        ]
  const squares = counts.flatMap(([kind, count]) =>
    Array.from({ length: Math.ceil(Math.max(0, count) / perSquare) }, () => kind),
  )
  const { sign, at } = one.lane === null ? { sign: '', at: 5 } : laneSign(names, one.lane)
  const svg = figure.querySelector('svg')
  const note = figure.querySelector('figcaption .faint')
  if (svg === null || note === null) return
  say(note, ` ${clusterSaid(one)}`)
  attr(svg, 'class', `lane-${at}`)
  attr(svg, 'aria-label', `${one.lane ?? 'headroom'}: ${clusterSaid(one)}`)
  const columns = Math.max(1, Math.ceil(squares.length / ROWS))
  attr(svg, 'width', columns * STEP)
  attr(svg, 'height', ROWS * STEP)
  list(
    svg,
    squares.map((kind, index) => ({ kind, index })),
    {
      key: ({ index }) => String(index),
      make: ({ index }) => {
        const [x, y] = [Math.floor(index / ROWS) * STEP + 1, (index % ROWS) * STEP + 1]
        return s(
          'g',
          { class: 'slot' },
          s('rect', { x, y, width: SQUARE, height: SQUARE, rx: 3 }),
          s('text', { x: x + SQUARE / 2, y: y + SQUARE / 2 + 4 }),
        )
      },
      draw: (square, { kind }) => {
        attr(square, 'data-held', kind === 'own' || kind === 'borrowed' ? kind : null)
        attr(square, 'data-kept', kind === 'kept' || kind === 'lent' ? kind : null)
        say(square.lastElementChild ?? square, markOf(kind, sign))
      },
    },
  )
}

const markOf = (kind: Kind, sign: string): string =>
  kind === 'own' || kind === 'borrowed' ? sign : kind === 'lent' ? '↗' : ''

function clusterSaid(one: LaneSlots | { lane: null; free: number }): string {
  if (one.lane === null) return `${number(Math.max(0, one.free))} free`
  const parts = [
    `${number(one.own + one.borrowed)} in use`,
    `guarantee ${number(one.guarantee)}`,
    `cap ${number(one.cap)}`,
  ]
  if (one.borrowed > 0) parts.push(`${number(one.borrowed)} beyond it`)
  if (one.lent > 0) parts.push(`${number(one.lent)} lent`)
  return parts.join(', ')
}

function legend(): HTMLElement {
  const entry = (kind: Kind, text: string): HTMLElement => {
    const square = s(
      'g',
      { class: 'slot' },
      s('rect', { x: 1, y: 1, width: 12, height: 12, rx: 3 }),
      s('text', { x: 7, y: 10.5 }, markOf(kind, 'x')),
    )
    attr(square, 'data-held', kind === 'own' || kind === 'borrowed' ? kind : null)
    attr(square, 'data-kept', kind === 'kept' || kind === 'lent' ? kind : null)
    return h('li', {}, s('svg', { class: 'swatch lane-5', 'aria-hidden': 'true' }, square), text)
  }
  return h(
    'ul',
    { class: 'legend faint' },
    entry('own', 'in use, within the guarantee'),
    entry('borrowed', 'in use, beyond it'),
    entry('kept', 'guaranteed and free'),
    entry('lent', 'guaranteed and lent to others'),
    entry('free', 'free for anybody'),
  )
}

// ---- lanes in figures ----

function laneTable(names: readonly string[]) {
  const rows = table<FrameLane>({
    label: 'Lanes',
    none: 'no lane',
    key: ({ name }) => name,
    columns: [
      { title: 'lane', text: ({ name }) => `${laneSign(names, name).sign} ${name}` },
      { title: 'state', text: stateSaid },
      { title: 'in use', text: ({ inflight }) => number(inflight), number: true },
      {
        title: 'guarantee',
        text: ({ guarantee }) => number(guarantee),
        number: true,
        optional: true,
      },
      { title: 'cap', text: ({ cap }) => number(cap), number: true, optional: true },
      { title: 'weight', text: ({ weight }) => number(weight), number: true, optional: true },
      { title: 'queue', text: ({ queued }) => number(queued), number: true },
      { title: 'oldest', text: ({ oldest_ms }) => duration(oldest_ms), number: true },
      { title: 'wait P50', text: ({ wait_p50_ms }) => duration(wait_p50_ms), number: true },
      { title: 'wait P95', text: ({ wait_p95_ms }) => duration(wait_p95_ms), number: true },
    ],
  })
  return { element: rows.element, draw: ({ frame }: View) => rows.draw(frame.lanes) }
}

const stateSaid = (lane: FrameLane): string =>
  lane.paused ? '‖ paused' : lane.preemptible ? 'open, preemptible' : 'open'

// ---- who holds what, and who had to yield ----

const HOLDERS_MAX = 10

function holdersList(page: Page) {
  const bars = h('ul', { class: 'bars' })
  const none = h('p', { class: 'faint' }, 'Nobody holds a slot and nobody waits.')
  const element = h('div', { class: 'card' }, h('h3', {}, 'Busiest tenants'), bars, none)
  return {
    element,
    draw({ frame, recorded }: View) {
      const most = Math.max(1, ...frame.tenants.map(({ inflight, queued }) => inflight + queued))
      none.hidden = frame.tenants.length > 0
      drawBars(
        bars,
        frame.tenants.slice(0, HOLDERS_MAX).map(({ tenant, inflight, queued }) => ({
          key: tenant,
          name: tenant,
          part: (inflight + queued) / most,
          figure: `${number(inflight)} in use, ${number(queued)} waiting`,
          ...(recorded ? {} : { open: () => page.openTenant(tenant) }),
        })),
      )
    },
  }
}

const PREEMPTIONS_MAX = 12

function preemptions(page: Page) {
  const about = h('p', { class: 'small faint' })
  const lines = h('ol', { class: 'small', id: 'preemptions' })
  const box = h(
    'div',
    { class: 'moves', tabindex: 0, role: 'group', 'aria-label': 'Preemptions' },
    lines,
  )
  const element = h('div', { class: 'card' }, h('h3', {}, 'Preemptions'), about, box)
  return {
    element,
    draw({ frame, recorded }: View) {
      const found = frame.preemptions.toReversed().slice(0, PREEMPTIONS_MAX)
      box.hidden = found.length === 0
      say(
        about,
        found.length === 0
          ? 'None lately: nobody more urgent had to wait for a slot.'
          : 'Attempts that were ended so that somebody more urgent could start.',
      )
      list(lines, found, {
        key: ({ seq }) => String(seq),
        make: (one) => {
          const text = `${shortened(one.tenant)}/${shortened(one.id)}`
          const who = h(
            recorded ? 'span' : 'button',
            recorded ? {} : { type: 'button', class: 'link name' },
            text,
          )
          if (!recorded) who.addEventListener('click', () => page.openLife(one))
          return h(
            'li',
            {},
            `${clock(one.at)} ↩ ${one.lane} `,
            who,
            ` yielded, ${duration(one.wasted_ms)} of work lost`,
          )
        },
      })
    },
  }
}
