/** A dialog of its own life: focus goes in, Escape and a button lead out, focus comes back. */
import { button, byId, h } from './dom.ts'

export interface Opened {
  element: HTMLDialogElement
  body: HTMLElement
  title: HTMLElement
  close(): void
  /** Resolves when it is closed, however. */
  closed: Promise<void>
}

let opened = 0

export function openDialog(of: { title: string; narrow?: boolean }): Opened {
  const id = `dialog-${++opened}`
  const title = h('h2', { id }, of.title)
  const body = h('div')
  const leave = button('Close', () => element.close(), { class: 'close' })
  const element = h(
    'dialog',
    { 'aria-labelledby': id, class: of.narrow === true ? 'narrow' : '' },
    title,
    body,
    h('div', { class: 'row end' }, leave),
  )
  const { promise: closed, resolve } = Promise.withResolvers<void>()
  const from = document.activeElement
  element.addEventListener('close', () => {
    element.remove()
    resolve()
    if ((from instanceof HTMLElement || from instanceof SVGElement) && from.isConnected)
      from.focus()
  })
  // A press on what lies around it; a press inside has an element of the inside as its target.
  element.addEventListener('click', (event) => {
    if (event.target === element && !within(element, event)) element.close()
  })
  byId('dialogs').append(element)
  element.showModal()
  return { element, body, title, close: () => element.close(), closed }
}

function within(element: Element, { clientX: x, clientY: y }: MouseEvent): boolean {
  const { left, right, top, bottom } = element.getBoundingClientRect()
  return x >= left && x <= right && y >= top && y <= bottom
}

/** Calls `load` now and every so often until the dialog is closed; at most one runs at a time. */
export function keepFresh(
  of: Opened,
  load: () => Promise<'again' | 'enough'>,
  wait: (call: () => void) => () => void,
): void {
  let over = false
  let cancel = (): void => {}
  const round = (): void => {
    void load()
      .catch((): 'again' => 'again')
      .then((next) => {
        if (!over && next === 'again') cancel = wait(round)
      })
  }
  void of.closed.then(() => {
    over = true
    cancel()
  })
  round()
}
