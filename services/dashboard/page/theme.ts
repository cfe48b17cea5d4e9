/** Light, dark, or as the system says. Before the first paint, so that nobody is blinded at night. */
export type Theme = 'auto' | 'light' | 'dark'

const KEY = 'headgate.theme'
const THEMES: readonly Theme[] = ['auto', 'light', 'dark']

export function theme(): Theme {
  const stored = read()
  return THEMES.find((one) => one === stored) ?? 'auto'
}

export function setTheme(to: Theme): void {
  try {
    localStorage.setItem(KEY, to)
  } catch {
    // A browser that stores nothing forgets it with the page.
  }
  apply(to)
}

export const nextTheme = (from: Theme): Theme =>
  THEMES[(THEMES.indexOf(from) + 1) % THEMES.length] ?? 'auto'

function read(): string | null {
  try {
    return localStorage.getItem(KEY)
  } catch {
    return null
  }
}

function apply(to: Theme): void {
  if (to === 'auto') delete document.documentElement.dataset['theme']
  else document.documentElement.dataset['theme'] = to
}

apply(theme())
