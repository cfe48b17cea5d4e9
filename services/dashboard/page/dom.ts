/** The only door to the document. It sets text and attributes, never markup: a tenant's name or an
 *  upstream's error text stays text, whatever it holds. */

type Child = Node | string | null
type Attributes = Readonly<Record<string, string | number | boolean | null>>

const SVG = 'http://www.w3.org/2000/svg'

export function h<T extends keyof HTMLElementTagNameMap>(
  tag: T,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[T] {
  return filled(document.createElement(tag), attributes, children)
}

export function s<T extends keyof SVGElementTagNameMap>(
  tag: T,
  attributes: Attributes = {},
  ...children: readonly Child[]
): SVGElementTagNameMap[T] {
  return filled(document.createElementNS(SVG, tag), attributes, children)
}

function filled<E extends Element>(
  element: E,
  attributes: Attributes,
  children: readonly Child[],
): E {
  for (const [name, value] of Object.entries(attributes)) attr(element, name, value)
  for (const child of children) if (child !== null) element.append(child)
  return element
}

/** Writes only what changed: a write that changes nothing still costs a layout. */
export function attr(
  element: Element,
  name: string,
  value: string | number | boolean | null,
): void {
  if (name.startsWith('on') || name === 'style' || name === 'srcdoc')
    throw new Error(`${name} is no attribute for this page`)
  if (value === null || value === false) {
    if (element.hasAttribute(name)) element.removeAttribute(name)
    return
  }
  const said = value === true ? '' : String(value)
  if (element.getAttribute(name) !== said) element.setAttribute(name, said)
}

export function say(node: Node, text: string): void {
  if (node.textContent !== text) node.textContent = text
}

/** Children by key: those that stay keep their place in the document, their focus and their hover. */
export function list<T, E extends Element>(
  host: Element,
  items: readonly T[],
  of: { key: (item: T) => string; make: (item: T) => E; draw?: (element: E, item: T) => void },
): void {
  const old = keyed.get(host) ?? new Map<string, Element>()
  const fresh = new Map<string, Element>()
  let at: Element | null = host.firstElementChild
  for (const item of items) {
    const key = of.key(item)
    if (fresh.has(key)) continue
    const element = (old.get(key) ?? of.make(item)) as E
    fresh.set(key, element)
    of.draw?.(element, item)
    if (element === at) at = at.nextElementSibling
    else host.insertBefore(element, at)
  }
  for (const [key, element] of old) if (!fresh.has(key)) element.remove()
  keyed.set(host, fresh)
}
const keyed = new WeakMap<Element, Map<string, Element>>()

/** What index.html promises. */
export function byId<E extends HTMLElement = HTMLElement>(id: string): E {
  const found = document.getElementById(id)
  if (found === null) throw new Error(`the page has no #${id}`)
  return found as E
}

/** One and the same listener for a button. */
export function button(
  text: string,
  press: (button: HTMLButtonElement) => void,
  attributes: Attributes = {},
): HTMLButtonElement {
  const made = h('button', { type: 'button', ...attributes }, text)
  made.addEventListener('click', () => press(made))
  return made
}
