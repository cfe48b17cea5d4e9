/** What an operator may do, each behind a confirmation and the admin token. The page asks the scheduler;
 *  it never speaks to a provider. */
import type { FaultAsk, Hello } from '#contracts/dashboard'
import { act, ApiError, messageOf, storedToken, storeToken } from './api.ts'
import { openDialog } from './dialog.ts'
import { button, byId, h, list, say } from './dom.ts'
import { wallNow } from './system.ts'
import type { Section, View } from './view.ts'
import { clock, duration, plain } from './words.ts'

export interface Act {
  op: 'emergency' | 'lane' | 'drain' | 'fault'
  body: object
  /** On the button, and what was done. */
  does: string
  /** What it means, in a sentence. */
  means: string
  /** What was chosen for it. */
  with?: string
  grave?: boolean
}

export function acts(): Section {
  const host = byId('acts-body')
  let parts: ((view: View) => void)[] = []
  let off = false
  return {
    begin(hello, recorded) {
      if (recorded) {
        host.replaceChildren(h('p', { class: 'faint' }, 'A recording cannot be acted on.'))
        parts = []
        return
      }
      const cards = [
        emergency(),
        lanes(),
        drain(),
        ...(hello.simulated ? [faults()] : []),
        token(hello),
      ]
      host.replaceChildren(
        ...(hello.admin === 'off'
          ? [
              h(
                'p',
                { class: 'problem' },
                'No admin token is set, so every act is refused. Start the scheduler with HEADGATE_ADMIN_TOKEN.',
              ),
            ]
          : []),
        h('div', { class: 'grid acts' }, ...cards.map(({ element }) => element)),
      )
      off = hello.admin === 'off'
      parts = cards.map(({ draw }) => draw)
    },
    draw(view) {
      for (const draw of parts) draw(view)
      if (off) for (const one of host.querySelectorAll('button')) one.disabled = true
    },
  }
}

interface Card {
  element: HTMLElement
  draw(view: View): void
}

function emergency(): Card {
  const now = h('p', { id: 'emergency-said' })
  const press = button('', () => confirm(ask(on)), { id: 'act-emergency' })
  let on = false
  const ask = (isOn: boolean): Act =>
    isOn
      ? {
          op: 'emergency',
          body: { on: false },
          does: 'Switch the emergency block off',
          means: 'The configuration file holds again, on every instance.',
        }
      : {
          op: 'emergency',
          body: { on: true },
          does: 'Switch the emergency block on',
          means:
            'On every instance, where the configuration does not say less: 8 s deadlines for lanes that are not preemptible, 48 slots in all, 12 for a tenant, 3 attempts, short back-off. What runs goes on; what waits keeps its deadline.',
          grave: true,
        }
  return {
    element: card('Emergency block', now, press),
    draw({ frame }) {
      on = frame.emergency
      say(now, on ? '▲ It is on.' : 'It is off.')
      say(press, on ? 'Switch off…' : 'Switch on…')
    },
  }
}

function lanes(): Card {
  const rows = h('ul', { class: 'grid' })
  return {
    element: card(
      'Lanes',
      h('p', {}, 'A paused lane keeps its queue and its running attempts, and starts nothing.'),
      rows,
    ),
    draw({ frame }) {
      list(rows, frame.lanes, {
        key: ({ name }) => name,
        make: ({ name }) => {
          const press = button('', () => confirm(laneAct(name, paused.get(name) ?? false)), {
            'data-lane': name,
          })
          return h('li', { class: 'row apart' }, h('span', {}), press)
        },
        draw: (row, lane) => {
          paused.set(lane.name, lane.paused)
          const [label, press] = row.children
          if (label !== undefined) say(label, `${lane.name}${lane.paused ? ': ‖ paused' : ''}`)
          if (press !== undefined) {
            say(press, lane.paused ? 'Resume…' : 'Pause…')
            press.setAttribute(
              'aria-label',
              `${lane.paused ? 'Resume' : 'Pause'} lane ${lane.name}…`,
            )
          }
        },
      })
    },
  }
}
const paused = new Map<string, boolean>()

const laneAct = (lane: string, isPaused: boolean): Act =>
  isPaused
    ? {
        op: 'lane',
        body: { lane, paused: false },
        does: `Resume lane ${lane}`,
        means: 'What waits in it may start again.',
      }
    : {
        op: 'lane',
        body: { lane, paused: true },
        does: `Pause lane ${lane}`,
        means:
          'It keeps its queue and its running attempts, and starts nothing, on every instance, until it is resumed.',
        grave: true,
      }

function drain(): Card {
  const now = h('p')
  let instance = ''
  const press = button(
    'Drain this instance…',
    () =>
      confirm({
        op: 'drain',
        body: { instance },
        does: 'Drain this instance',
        with: `instance ${instance}`,
        means:
          'Queued and new requests are refused with draining, running ones may end. Nothing takes it back but a restart.',
        grave: true,
      }),
    { id: 'act-drain' },
  )
  return {
    element: card('Drain', now, press),
    draw({ frame, hello }) {
      instance = hello.instance
      say(
        now,
        frame.draining
          ? '▲ It is draining; only a restart ends that.'
          : 'Before a restart: what runs may end, nothing new comes in.',
      )
      press.disabled = frame.draining || hello.admin === 'off'
    },
  }
}

// ---- faults of the simulated provider ----

const FAULTS: readonly { kind: FaultAsk['kind']; does: string; means: string }[] = [
  {
    kind: 'storm',
    does: 'Start a storm of 529',
    means: 'Most calls are answered with 529, overloaded.',
  },
  {
    kind: 'quota_drop',
    does: 'Drop the quota',
    means: 'The provider allows 60 requests a minute and answers the rest with 429.',
  },
  { kind: 'hang', does: 'Let it hang', means: 'Most calls are never answered.' },
  { kind: 'off', does: 'End all faults', means: 'The provider is well again.' },
]

function faults(): Card {
  const now = h('p', { id: 'faults-said' })
  const forHow = h(
    'select',
    { id: 'fault-for' },
    ...[15, 30, 60, 300].map((s) => h('option', { value: s * 1_000 }, duration(s * 1_000))),
  )
  forHow.value = '60000'
  const model = h('select', { id: 'fault-model' }, h('option', { value: '' }, 'every model'))
  const presses = FAULTS.map(({ kind, does, means }) =>
    button(
      `${does}…`,
      () => {
        const chosen = model.value === '' ? {} : { model: model.value }
        const forMs = Number(forHow.value)
        const body = kind === 'off' ? { kind } : { kind, for_ms: forMs, ...chosen }
        const at = model.value === '' ? 'every model' : model.value
        const how = kind === 'off' ? {} : { with: `${duration(forMs)}, ${at}` }
        confirm({ op: 'fault', body, does, means, ...how, grave: kind !== 'off' })
      },
      { 'data-fault': kind },
    ),
  )
  return {
    element: card(
      'Faults of the simulated provider',
      h(
        'p',
        {},
        'See in a minute how Headgate behaves. It costs nothing: the provider is simulated.',
      ),
      now,
      h(
        'div',
        { class: 'row' },
        h('label', { class: 'row' }, 'for', forHow),
        h('label', { class: 'row' }, 'at', model),
      ),
      h('div', { class: 'row' }, ...presses),
    ),
    draw({ frame, now: at }) {
      list(model, ['', ...new Set(frame.routes.map((one) => one.model))], {
        key: (name) => name,
        make: (name) => h('option', { value: name }, name === '' ? 'every model' : name),
      })
      const said = frame.faults.map(
        (one) =>
          `${plain(one.kind)}${one.model === null ? '' : ` at ${one.model}`}, ${duration(Math.max(0, one.until_at - at))} more`,
      )
      say(now, said.length === 0 ? 'No fault is set.' : `▲ ${said.join('; ')}`)
    },
  }
}

// ---- the token ----

function token(hello: Hello): Card {
  const now = h('p')
  const forget = button(
    'Forget the token',
    () => {
      storeToken('')
      said()
    },
    { id: 'token-forget' },
  )
  const said = (): void => {
    const held = storedToken() !== ''
    say(
      now,
      hello.admin === 'off'
        ? 'None is set at the scheduler.'
        : held
          ? 'This tab holds one, until it is closed.'
          : 'None yet; the first act asks for it. It stays in this tab.',
    )
    forget.disabled = !held
  }
  return { element: card('Admin token', now, forget), draw: said }
}

function card(title: string, ...body: (Node | null)[]): HTMLElement {
  const buttons = body.filter((one) => one instanceof HTMLButtonElement)
  const others = body.filter((one) => !(one instanceof HTMLButtonElement))
  return h(
    'article',
    { class: 'card' },
    h('h3', {}, title),
    ...others,
    buttons.length === 0 ? null : h('div', { class: 'row' }, ...buttons),
  )
}

// ---- the confirmation ----

function confirm(asked: Act): void {
  const chosen = asked.with === undefined ? '' : `: ${asked.with}`
  const dialog = openDialog({ title: `${asked.does}${chosen}?`, narrow: true })
  const field = h('input', {
    type: 'password',
    autocomplete: 'off',
    spellcheck: 'false',
    id: 'token',
  })
  const label = h('label', {}, 'Admin token', field)
  const problem = h('p', { class: 'problem', role: 'alert', hidden: true })
  const go = h(
    'button',
    { type: 'submit', class: asked.grave === true ? 'danger' : 'main', id: 'confirm' },
    asked.does,
  )
  const form = h(
    'form',
    { method: 'dialog' },
    h('p', {}, asked.means),
    label,
    problem,
    h('div', { class: 'row end' }, go),
  )
  label.hidden = storedToken() !== ''
  dialog.body.append(form)
  say(dialog.element.querySelector('.close') ?? dialog.title, 'Cancel')
  if (label.hidden) go.focus()
  else field.focus()
  form.addEventListener('submit', (event) => {
    event.preventDefault()
    const given = label.hidden ? storedToken() : field.value.trim()
    if (given === '') return wrong('The token is missing.')
    go.disabled = true
    act(asked.op, asked.body, given)
      .then(() => {
        storeToken(given)
        form.replaceChildren(
          h(
            'p',
            { class: 'done', role: 'status' },
            `✓ Done at ${clock(wallNow())}: ${asked.does.toLowerCase()}${asked.with === undefined ? '' : ` (${asked.with})`}.`,
          ),
        )
        const close = dialog.element.querySelector<HTMLButtonElement>('.close')
        if (close === null) return
        say(close, 'Close')
        close.focus()
      })
      .catch((error: unknown) => {
        go.disabled = false
        const refused = error instanceof ApiError && (error.status === 401 || error.status === 403)
        if (refused) storeToken('')
        if (refused) label.hidden = false
        wrong(`Not done: ${messageOf(error)}.`)
        if (refused) field.select()
      })
  })
  const wrong = (text: string): void => {
    problem.hidden = false
    say(problem, text)
  }
}
