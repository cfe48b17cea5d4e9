/** One durable job's life, from what the store has of it: the same after a restart, and from any instance. */
import type { JobLife } from '#contracts/dashboard'
import { get, messageOf } from './api.ts'
import { keepFresh, openDialog } from './dialog.ts'
import { attr, button, h, list, say } from './dom.ts'
import { after, wallNow } from './system.ts'
import type { Page } from './view.ts'
import { clock, duration, elapsed, number, plural } from './words.ts'

const FRESH_MS = 1_000

export function openJob(
  of: { tenant: string; id: string },
  page: Page,
  own: { instance: string },
): void {
  const dialog = openDialog({ title: `The job ${of.id}` })
  attr(dialog.element, 'data-job', of.id)
  const about = h('p', { class: 'faint small', role: 'status' }, 'asking…')
  const facts = h('dl', { class: 'facts' })
  const steps = h('ol', { class: 'job-life' })
  const attempts = button('Its attempts here', () => page.openLife(of), { class: 'quiet' })
  dialog.body.append(about, facts, steps, h('p', {}, attempts))
  const path = `/api/jobs/${encodeURIComponent(of.tenant)}/${encodeURIComponent(of.id)}`
  keepFresh(
    dialog,
    async () => {
      try {
        const life = await get<JobLife>(path)
        say(about, life.state === 'ended' ? 'It has its result.' : 'Renewed every second.')
        drawFacts(facts, life)
        drawSteps(steps, stepsOf(life, own.instance))
        return life.state === 'ended' ? 'enough' : 'again'
      } catch (error) {
        say(about, messageOf(error))
        return 'again'
      }
    },
    (call) => after(FRESH_MS, call),
  )
}

const STATES: Readonly<Record<JobLife['state'], string>> = {
  delayed: 'its time has not come',
  stored: 'in the store, nobody has it',
  claimed: 'an instance has it',
  calling: 'a call is under way',
  ended: 'ended',
}

function drawFacts(host: Element, life: JobLife): void {
  const facts: [string, string][] = [
    ['tenant', life.tenant],
    ['lane', life.lane],
    ['state', STATES[life.state]],
    ['outcome', life.outcome ?? 'none yet'],
    ['calls begun', number(life.attempts)],
    ['may have run twice', life.ambiguous ? 'yes' : 'no'],
    ['accepted', `${clock(life.accepted_at)}, ${elapsed(wallNow() - life.accepted_at)} ago`],
    ['may start', life.due_at === null ? 'at once' : clock(life.due_at)],
    ['deadline', life.deadline_at === null ? '–' : clock(life.deadline_at)],
  ]
  list(host, facts, {
    key: ([name]) => name,
    make: ([name]) => h('div', {}, h('dt', {}, name), h('dd')),
    draw: (box, [, value]) => say(box.lastElementChild ?? box, value),
  })
}

export interface JobStep {
  at: number | null
  kind: 'accepted' | 'had' | 'ended'
  said: string
  warn: boolean
}

/** What happened to it, in order. Pure. */
export function stepsOf(life: JobLife, own: string): JobStep[] {
  const steps: JobStep[] = [
    { at: life.accepted_at, kind: 'accepted', said: 'accepted and stored', warn: false },
  ]
  for (const owner of life.owners) {
    const { instance, how, attempts, calling } = owner
    const whose = instance === own ? `${instance} (this instance)` : instance
    const may = calling && (how === 'died' || how === 'returned')
    const then = how === 'has' && calling ? 'has it, a call is under way' : HOW[how]
    const twice = may ? '; a call was under way and may have run' : ''
    const said = `${whose} ${then}, ${plural(attempts, 'call')} begun so far${twice}`
    steps.push({ at: owner.since, kind: 'had', said, warn: may || how === 'died' })
  }
  if (life.ended_at !== null) {
    const took = duration(life.ended_at - life.accepted_at)
    const said = `ended after ${took}: ${life.outcome ?? 'as nobody wrote down'}`
    steps.push({ at: life.ended_at, kind: 'ended', said, warn: life.outcome !== 'completed' })
  }
  return steps
}

const HOW: Readonly<Record<JobLife['owners'][number]['how'], string>> = {
  has: 'has it',
  died: 'took it and died',
  returned: 'took it and put it back',
  ended: 'took it and ended it',
}

/** Times are told from the first step on: it may be days ago. */
function drawSteps(host: Element, steps: readonly JobStep[]): void {
  const begun = steps[0]?.at ?? 0
  list(
    host,
    steps.map((step, index) => ({ step, index })),
    {
      key: ({ step, index }) => `${index} ${step.kind}`,
      make: ({ step }) =>
        h('li', { 'data-kind': step.kind }, h('span', { class: 'n small' }), h('span')),
      draw: (line, { step }) => {
        attr(line, 'data-tone', step.warn ? 'warn' : 'plain')
        const [at, said] = line.children
        if (at !== undefined) say(at, step.at === null ? '–' : `+${duration(step.at - begun)}`)
        if (said !== undefined) say(said, `${step.warn ? '▲ ' : ''}${step.said}`)
      },
    },
  )
}
