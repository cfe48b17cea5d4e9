/** The breaker's bands, as `BANDS` of contracts/dashboard has them; the page imports only types from there. */
import type { BANDS as Known } from '#contracts/dashboard'

export type Band = (typeof Known)[number]
export const BANDS: typeof Known = ['closed', 'ramp', 'half_open', 'open']
export const BAND_NAMES = ['closed', 'ramp', 'half open', 'open'] as const

/** Band of a chart's state. */
export const BAND_OF: Readonly<Record<string, Band>> = {
  closed: 'closed',
  ramp: 'ramp',
  halfOpen: 'half_open',
  probing: 'half_open',
  open: 'open',
}
