/** The instances that divide the limits, whichever of them shows the page. */
import type { Frame } from '#contracts/dashboard'
import { byId, h } from './dom.ts'
import { fleetOf } from './fleet-findings.ts'
import { table } from './table.ts'
import type { Section } from './view.ts'
import { duration, number, percent } from './words.ts'

type Fleet = NonNullable<Frame['fleet']>
type Member = Fleet['members'][number]

const STANDING: Record<Member['standing'], string> = {
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
  let whole = 0
  const members = table<Member>({
    label: 'Members of the fleet',
    none: '',
    key: ({ member }) => member,
    columns: [
      {
        title: 'member',
        text: ({ member, own }) => (own ? `${member} (this one)` : member),
        class: 'name',
      },
      { title: 'stands', text: ({ standing }) => STANDING[standing] },
      { title: 'heard', text: heard },
      {
        title: 'configuration',
        text: ({ own, config_differs }) => (own ? '' : config_differs ? '▲ differs' : 'same'),
      },
      {
        title: 'share',
        text: ({ share }) => `${number(share)} (${percent(whole === 0 ? null : share / whole)})`,
        number: true,
      },
      { title: 'in flight', text: ({ inflight }) => number(inflight), number: true },
      { title: 'could use', text: ({ want }) => number(want), number: true, optional: true },
      { title: 'version', text: ({ version }) => version, optional: true },
      { title: 'instance', text: ({ instance }) => instance, optional: true },
    ],
  })
  byId('fleet-body').replaceChildren(alone, about, members.element)
  return {
    draw({ frame }) {
      const now = fleetOf(frame)
      alone.hidden = now !== null
      about.hidden = now === null
      members.element.hidden = now === null
      whole = now?.whole ?? 0
      about.textContent = now === null ? '' : words(now)
      members.draw(now?.members ?? [])
    },
  }
}

function heard({ own, standing, heard_ms }: Member): string {
  if (own) return ''
  const silent = standing === 'silent' || standing === 'safe'
  return silent ? `▲ unheard for ${duration(heard_ms)}` : `${duration(heard_ms)} ago`
}

function words(now: Fleet): string {
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
