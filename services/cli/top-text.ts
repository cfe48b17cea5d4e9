/** Texts of `headgate top`. Every character of them takes one column, so that a length is a width. */

export type Tone = 'good' | 'warn' | 'bad' | 'faint' | 'strong'
/** Colours a text, or leaves it as it is. */
export type Paint = (tone: Tone | undefined, text: string) => string

/** Other people's text. By contract names are printable ASCII; whatever else comes (escape sequences, wide,
 *  combining and right-to-left characters) stands there as `?`. */
export const shown = (text: string): string => text.replace(/[^\x20-\x7e]/gu, '?')

/** Long names keep their beginning and, more of it, their end, where models and versions differ. */
export function middle(text: string, most: number): string {
  if (text.length <= most) return text
  const kept = Math.max(0, most - 1)
  const head = Math.floor(kept * 0.4)
  return `${text.slice(0, head)}…${text.slice(text.length - (kept - head))}`
}

/** At most `most` columns, from the beginning. */
export const cut = (text: string, most: number): string =>
  text.length <= most ? text : `${text.slice(0, Math.max(0, most - 1))}…`

/** In lines of at most `width` columns, broken between words, later ones set in; what is too much for `lines` is
 *  cut off the last. */
export function wrapped(text: string, of: { width: number; lines: number }): string[] {
  const done: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    const longer = line === '' ? word : `${line} ${word}`
    if (longer.length <= of.width || line.trim() === '' || done.length === of.lines - 1)
      line = longer
    else {
      done.push(line)
      line = `  ${word}`
    }
  }
  return [...done, line].map((one) => cut(one, of.width))
}

export interface Cell {
  text: string
  width: number
  right?: boolean
  tone?: Tone | undefined
}

/** Cells side by side, each as wide as it says, all of them no wider than `width`. */
export function row(cells: readonly Cell[], paint: Paint, width = Infinity): string {
  const drawn: string[] = []
  let left = width
  for (const { text, tone, right, width: asked } of cells) {
    const most = Math.min(asked, left)
    if (most < 1) break
    left -= most + 1
    const short = cut(text, most)
    drawn.push(paint(tone, right === true ? short.padStart(most) : short.padEnd(most)))
  }
  return drawn.join(' ')
}

/** 0.42, 7.3, 1,250, 18 k, 3 M. */
export function number(value: number): string {
  const size = Math.abs(value)
  if (size >= 1_000_000) return `${Math.round(value / 1_000_000)} M`
  if (size >= 100_000) return `${Math.round(value / 1_000)} k`
  if (size >= 100 || Number.isInteger(value)) return Math.round(value).toLocaleString('en')
  return String(Number(value.toFixed(size >= 10 ? 1 : 2)))
}

export const percent = (part: number): string => {
  const of100 = part * 100
  return `${Number(of100.toFixed(of100 !== 0 && Math.abs(of100) < 10 ? 1 : 0))}%`
}

/** 840 ms, 2.4 s, 48 s, 3 min, 2 h 5 min, 3 d 4 h. */
export function duration(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`
  if (ms < 9_950) return `${Number((ms / 1_000).toFixed(1))} s`
  if (ms < 119_500) return `${Math.round(ms / 1_000)} s`
  const minutes = Math.round(ms / 60_000)
  if (minutes < 60) return `${minutes} min`
  const hours = Math.floor(minutes / 60)
  if (hours < 48) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`
  return hours % 24 === 0 ? `${hours / 24} d` : `${Math.floor(hours / 24)} d ${hours % 24} h`
}

/** Wall time in the reader's zone: 02:13:05. */
export function clock(at: number): string {
  const date = new Date(at)
  const parts = [date.getHours(), date.getMinutes(), date.getSeconds()]
  return parts.map((one) => String(one).padStart(2, '0')).join(':')
}

/** A part of 1 as a bar; what is not nothing shows. */
export function bar(part: number, width: number): string {
  const clean = Number.isFinite(part) ? Math.min(1, Math.max(0, part)) : 0
  const full = clean === 0 ? 0 : Math.max(1, Math.round(clean * width))
  return '█'.repeat(full) + '░'.repeat(width - full)
}

const STEPS = '▂▃▄▅▆▇█'

/** One column a value, the newest at the right; 0 is a line, a value that nobody told is a gap. */
export function spark(values: readonly (number | null)[], width: number, most: number): string {
  const step = (value: number): string => {
    const part = Math.min(1, value / Math.max(1, most))
    return STEPS[Math.max(0, Math.ceil(part * STEPS.length) - 1)] ?? ''
  }
  return values
    .slice(-width)
    .map((value) => (value === null ? ' ' : value <= 0 ? '▁' : step(value)))
    .join('')
    .padStart(width)
}

/** Sentences on as few lines as hold them; none is longer than a line. */
export function packed(sentences: readonly Cell[], width: number, paint: Paint): string[] {
  const lines: Cell[][] = []
  let used = Infinity
  for (const one of sentences) {
    const text = cut(one.text, width)
    if (used + 2 + text.length > width) {
      lines.push([])
      used = -2
    }
    lines.at(-1)?.push({ ...one, text })
    used += 2 + text.length
  }
  return lines.map((line) => line.map(({ tone, text }) => paint(tone, text)).join('  '))
}
