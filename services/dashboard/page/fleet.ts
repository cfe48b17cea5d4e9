/** The instances that share the limits; empty until there is more than one. */
import type { Frame } from '#contracts/dashboard'
import { byId, h } from './dom.ts'
import { table } from './table.ts'
import type { Section } from './view.ts'
import { percent } from './words.ts'

type Member = Frame['fleet'][number]

export function fleet(): Section {
  const alone = h(
    'p',
    { class: 'faint' },
    'No fleet: this instance works alone and has the whole of every limit.',
  )
  let own = ''
  const members = table<Member>({
    label: 'Members of the fleet',
    none: '',
    key: ({ instance }) => instance,
    columns: [
      {
        title: 'instance',
        text: ({ instance }) => (instance === own ? `${instance} (this one)` : instance),
        class: 'name',
      },
      { title: 'part', text: ({ leader }) => (leader ? '★ leader' : 'member') },
      { title: 'share of the limits', text: ({ share }) => percent(share), number: true },
    ],
  })
  byId('fleet-body').replaceChildren(alone, members.element)
  return {
    draw({ frame, hello }) {
      own = hello.instance
      alone.hidden = frame.fleet.length > 0
      members.element.hidden = frame.fleet.length === 0
      members.draw(frame.fleet)
    },
  }
}
