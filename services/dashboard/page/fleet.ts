/** The instances that divide the limits, and what all of them do, whichever of them shows the page. The one that shows
 *  it asks the others, so it is asked only while this part of the page is seen. */
import type { FleetNow } from '#contracts/snapshot'
import type { FleetLaneNow, FleetRouteNow, WholeFleet } from '#contracts/whole-fleet'
import { get, messageOf } from './api.ts'
import { byId, h, say } from './dom.ts'
import { fleetOf } from './fleet-findings.ts'
import { wallNow } from './system.ts'
import { table } from './table.ts'
import type { Section } from './view.ts'
import { whileSeen } from './while-seen.ts'
import {
  breakersOf,
  memberRows,
  partsOf,
  pausedOf,
  routesOf,
  saidOf,
  silenceOf,
  waitersOf,
  waitingOf,
  type MemberRow,
} from './whole-fleet.ts'
import { duration, number, percent, shortened } from './words.ts'

const FRESH_MS = 1_000
/** An answer that is older says nothing of now. */
const SHOWN_MS = 4_000

type Standing = FleetNow['members'][number]['standing']

const STANDING: Record<Standing, string> = {
  alive: 'in step',
  leaving: 'leaves',
  silent: 'silent: keeps its share until nothing of it can run',
  safe: 'silent: keeps its safe part',
  gone: 'gone',
}

export function fleet(): Section {
  const alone = h(
    'p',
    { class: 'faint' },
    'No fleet: this instance works alone and has the whole of every limit.',
  )
  const about = h('p')
  const members = memberTable()
  const together = togetherView()
  const host = h('div')
  let now: FleetNow | null = null
  let whole: WholeFleet | null = null
  let heardAt = 0
  let asking = false

  const draw = (): void => {
    if (wallNow() - heardAt > SHOWN_MS) whole = null
    alone.hidden = now !== null
    for (const one of [about, members.element, host]) one.hidden = now === null
    about.textContent = now === null ? '' : words(now)
    members.draw(now, whole)
    together.draw(whole)
  }
  const load = async (): Promise<void> => {
    if (asking || now === null) return
    asking = true
    try {
      const heard = await get<WholeFleet>('/api/fleet')
      if (!seen.recorded()) whole = heard
      heardAt = wallNow()
      together.say('')
    } catch (error) {
      together.say(`not renewed: ${messageOf(error)}`)
    } finally {
      asking = false
    }
    draw()
  }
  byId('fleet-body').replaceChildren(alone, about, members.element, host)
  const seen = whileSeen({
    ...{ host, live: together.element, everyMs: FRESH_MS },
    silent: h('p', { class: 'faint' }, 'A recording holds nothing of what the other members did.'),
    load: () => void load(),
  })
  return {
    begin(_, isRecorded) {
      whole = null
      seen.begin(isRecorded)
    },
    draw({ frame }) {
      now = fleetOf(frame)
      draw()
    },
  }
}

function memberTable() {
  let all = 0
  const rows = table<MemberRow>({
    label: 'Members of the fleet',
    none: '',
    key: ({ key }) => key,
    columns: [
      {
        title: 'member',
        text: ({ member, line }) => (line?.own === true ? `${member} (this one)` : member),
        class: 'name',
      },
      { title: 'stands', text: standingSaid, class: 'told' },
      { title: 'heard', text: heard, class: 'told' },
      { title: 'configuration', text: configuration },
      {
        title: 'share',
        text: ({ line }) =>
          line === null
            ? '–'
            : `${number(line.share)} (${percent(all === 0 ? null : line.share / all)})`,
        number: true,
      },
      { title: 'in flight', text: inflight, number: true },
      { title: 'waiting', text: ({ seen }) => waitingOf(seen), number: true },
      {
        title: 'could use',
        text: ({ line }) => (line === null ? '–' : number(line.want)),
        number: true,
        optional: true,
      },
      { title: 'of routes', text: routesOf, class: 'told', optional: true },
      { title: 'version', text: ({ version }) => version, optional: true },
      { title: 'instance', text: ({ instance }) => instance, optional: true },
    ],
  })
  return {
    element: rows.element,
    draw(now: FleetNow | null, whole: WholeFleet | null) {
      all = now?.whole ?? 0
      rows.draw(now === null ? [] : memberRows(now, whole))
    },
  }
}

const standingSaid = ({ line, seen }: MemberRow): string => {
  if (line !== null) return STANDING[line.standing]
  return seen?.current === true ? 'no member yet, or not any more' : 'no member any more'
}

/** The record is written every few seconds; the answer to a question is newer, where there is one. */
const inflight = ({ line, seen }: MemberRow): string => {
  if (seen?.current === true) return number(seen.last?.inflight)
  return line === null ? '–' : number(line.inflight)
}

const configuration = ({ line }: MemberRow): string => {
  if (line === null || line.own) return ''
  return line.config_differs ? '▲ differs' : 'same'
}

function heard({ line, seen }: MemberRow): string {
  if (line?.own === true) return ''
  const silent = line?.standing === 'silent' || line?.standing === 'safe'
  const unheard = silenceOf(seen)
  if (line === null) return unheard
  if (silent) return `▲ unheard for ${duration(line.heard_ms)}`
  return unheard === '' ? `${duration(line.heard_ms)} ago` : unheard
}

// ---- what they do together ----

function togetherView() {
  const status = h('p', { role: 'status' })
  const trouble = h('p', { class: 'faint' })
  const lanes = laneTable()
  const routes = routeTable()
  const more = h('p', { class: 'faint' })
  const tenants = tenantTable()
  const tables = h(
    'div',
    { class: 'grid' },
    h('div', { class: 'grid two' }, titled('Lanes', lanes), titled('Busiest tenants', tenants)),
    h('div', {}, titled('Routes', routes), more),
  )
  return {
    element: h('div', { class: 'grid' }, h('div', {}, status, trouble), tables),
    say: (text: string) => say(trouble, text),
    draw(whole: WholeFleet | null) {
      say(status, whole === null ? 'Asking the members…' : saidOf(whole))
      tables.hidden = whole === null || whole.members.length < 2
      if (whole === null) return
      lanes.draw(whole.lanes)
      routes.draw(whole.routes)
      say(more, whole.routes_more === 0 ? '' : `and ${number(whole.routes_more)} routes more`)
      tenants.draw(whole.tenants)
    },
  }
}

const titled = (title: string, { element }: { element: HTMLElement }): HTMLElement =>
  h('div', {}, h('h3', {}, `${title} of the members that are heard`), element)

const laneTable = () =>
  table<FleetLaneNow>({
    label: 'Lanes of the members that are heard',
    none: '',
    key: ({ name }) => name,
    columns: [
      { title: 'lane', text: ({ name }) => name, class: 'name' },
      { title: 'in flight', text: (lane) => number(lane.inflight), number: true },
      { title: 'waiting', text: ({ queued }) => number(queued), number: true },
      {
        title: 'oldest waits',
        text: ({ oldest_ms: ms }) => (ms === null ? '–' : duration(ms)),
        number: true,
      },
      { title: 'waits at', text: waitersOf, class: 'told' },
      { title: '', text: pausedOf },
    ],
  })

const routeTable = () =>
  table<FleetRouteNow>({
    label: 'Routes of the members that are heard',
    none: 'No route has been used yet.',
    key: ({ id }) => id,
    columns: [
      { title: 'route', text: ({ id }) => shortened(id, 48), class: 'name' },
      { title: 'breaker', text: breakersOf, class: 'told' },
      { title: 'in flight', text: (route) => number(route.inflight), number: true },
      { title: 'limit', text: ({ limit }) => number(limit), number: true },
      { title: 'waiting', text: ({ queued }) => number(queued), number: true },
      { title: 'in flight by member', text: partsOf, class: 'told' },
    ],
  })

const tenantTable = () =>
  table<WholeFleet['tenants'][number]>({
    label: 'Busiest tenants of the members that are heard',
    none: 'No tenant has anything in flight or waiting.',
    key: ({ tenant }) => tenant,
    columns: [
      { title: 'tenant', text: ({ tenant }) => tenant, class: 'name' },
      { title: 'in flight', text: (one) => number(one.inflight), number: true },
      { title: 'waiting', text: ({ queued }) => number(queued), number: true },
    ],
  })

function words(now: FleetNow): string {
  const { whole, members, lapses, lapsed, usable, trouble, name_taken } = now
  const held = members.reduce((sum, { share }) => sum + share, 0)
  const said = [`${number(held)} of ${number(whole)} slots are held by ${number(members.length)}.`]
  if (lapsed) said.push(`This instance has no lease: it may use ${number(usable)}.`)
  // Absent from older recordings.
  if (name_taken != null) said.push(`Another process has its name, ${name_taken}.`)
  if (lapses > 0) said.push(`The lease of this instance has run out ${number(lapses)} times.`)
  if (trouble !== null) said.push(`The record could not be kept: ${trouble}.`)
  return said.join(' ')
}
