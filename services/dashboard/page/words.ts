/** How numbers and times are said; pure. */

/** Three digits at most: 0.42, 7.3, 48, 1,250, 18 k. */
export function number(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return '–'
  const size = Math.abs(value)
  if (size >= 10_000_000) return `${rounded(value / 1_000_000, 0)} M`
  if (size >= 1_000_000) return `${rounded(value / 1_000_000, 1)} M`
  if (size >= 10_000) return `${rounded(value / 1_000, size >= 100_000 ? 0 : 1)} k`
  if (size >= 100 || Number.isInteger(value)) return Math.round(value).toLocaleString('en')
  return rounded(value, size >= 10 ? 1 : 2)
}
const rounded = (value: number, digits: number): string => String(Number(value.toFixed(digits)))

export const percent = (part: number | null): string =>
  part === null || !Number.isFinite(part)
    ? '–'
    : `${rounded(part * 100, part !== 0 && Math.abs(part) < 0.1 ? 1 : 0)} %`

/** 840 ms, 2.4 s, 48 s, 3 min, 2 h 5 min, 3 d 4 h. */
export function duration(ms: number | null | undefined): string {
  if (ms === null || ms === undefined || !Number.isFinite(ms)) return '–'
  if (ms < 0) return `-${duration(-ms)}`
  if (ms < 1_000) return `${Math.round(ms)} ms`
  if (ms < 9_950) return `${rounded(ms / 1_000, 1)} s`
  if (ms < 119_500) return `${Math.round(ms / 1_000)} s`
  const minutes = Math.round(ms / 60_000)
  if (minutes < 60) return `${minutes} min`
  const hours = Math.floor(minutes / 60)
  if (hours < 48) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`
  return hours % 24 === 0 ? `${hours / 24} d` : `${Math.floor(hours / 24)} d ${hours % 24} h`
}

/** A running time by the second, so that it does not flicker: 0 s, 48 s, 3 min 5 s. */
export function elapsed(ms: number): string {
  const s = Math.max(0, Math.floor(ms / 1_000))
  if (s < 60) return `${s} s`
  if (s < 3_600) return s % 60 === 0 ? `${s / 60} min` : `${Math.floor(s / 60)} min ${s % 60} s`
  return duration(s * 1_000)
}

/** Wall time by the second, in the reader's zone. */
export function clock(at: number): string {
  const date = new Date(at)
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(':')
}
/** 02:13. */
export const hourMinute = (at: number): string => clock(at).slice(0, 5)
const two = (of: number): string => String(of).padStart(2, '0')

/** 1 request, 2 requests. */
export const plural = (count: number, one: string, many = `${one}s`): string =>
  `${number(count)} ${count === 1 ? one : many}`

/** a, b and c. */
export function listed(names: readonly string[]): string {
  if (names.length < 2) return names.join('')
  return `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`
}

/** Long names keep their beginning and end. */
export function shortened(name: string, most = 32): string {
  if (name.length <= most) return name
  const head = Math.ceil((most - 1) * 0.6)
  return `${name.slice(0, head)}…${name.slice(name.length - (most - 1 - head))}`
}

/** attempt_failed -> attempt failed. */
export const plain = (token: string): string => token.replaceAll('_', ' ')
