/** How long an answer asks us to stay away: `retry-after-ms`, else `retry-after`, in every form that HTTP has
 *  had for it. Of several the longest counts. */
import { headerText, type HeaderRecord } from './rate-headers.ts'
import type { Millis } from '#contracts/units'

export interface RetryAfter {
  /** To keep to; null: absent, unreadable, zero or negative. An upstream under load is known to say 0. */
  ms: Millis | null
  /** What was said, uncut, for the caller to know. */
  told: Millis | null
  /** It was cut: values of days exist, and somebody must see them. */
  alarm: boolean
}

export const NO_RETRY_AFTER: RetryAfter = { ms: null, told: null, alarm: false }

/** A longer wait is no wait that anybody could mean: ten years. */
const TOLD_MAX_MS: Millis = 315_360_000_000

/** `wallMs`: ours, for a date where the answer says no `date` of its own; theirs may be minutes off.
 *  `maxMs`: what is longer is cut to it. */
export function retryAfter(
  headers: HeaderRecord,
  of: { wallMs: Millis; maxMs: Millis },
): RetryAfter {
  const fine = headerText(headers, 'retry-after-ms')
  const plain = headerText(headers, 'retry-after')
  if (fine === null && plain === null) return NO_RETRY_AFTER
  const theirs = instant(headerText(headers, 'date')?.match(DATES)?.[0] ?? '')
  const asked = longest(fine, numbers, 1) ?? longest(plain, waits(theirs ?? of.wallMs), 1_000)
  if (asked === null) return NO_RETRY_AFTER
  const told = Math.min(TOLD_MAX_MS, Math.ceil(asked))
  return { ms: Math.min(told, of.maxMs), told, alarm: told > of.maxMs }
}

/** Of what the header says the longest, in milliseconds; null: nothing above zero. */
function longest(
  text: string | null,
  read: (text: string, unitMs: Millis) => Millis[],
  unitMs: Millis,
): Millis | null {
  const most = text === null ? 0 : Math.max(0, ...read(text, unitMs))
  return most > 0 ? most : null
}

const numbers = (text: string, unitMs: Millis): Millis[] =>
  text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => /^\d+(\.\d+)?$/.test(part))
    .map((part) => Number(part) * unitMs)

/** Dates have commas of their own, so they are taken out first. */
const waits =
  (nowMs: Millis) =>
  (text: string, unitMs: Millis): Millis[] => {
    const dates = [...text.matchAll(DATES)].map(([date]) => (instant(date) ?? nowMs) - nowMs)
    return [...dates, ...numbers(text.replace(DATES, ''), unitMs)]
  }

const DAY = '(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)'
const MONTH = '(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)'
const TIME = '\\d{2}:\\d{2}:\\d{2}'
/** RFC 9110, section 5.6.7: the date of today, that of RFC 850, and that of C's asctime; and RFC 3339's. */
const DATES = new RegExp(
  [
    `${DAY}, \\d{1,2} ${MONTH} \\d{4} ${TIME} GMT`,
    `${DAY}[a-z]*, \\d{2}-${MONTH}-\\d{2} ${TIME} GMT`,
    `${DAY} ${MONTH} [ \\d]\\d ${TIME} \\d{4}`,
    `\\d{4}-\\d{2}-\\d{2}T${TIME}(?:\\.\\d+)?(?:Z|[+-]\\d{2}:\\d{2})`,
  ].join('|'),
  'g',
)

/** Milliseconds since 1970; null when it is no date. All but RFC 3339's are in UTC, asctime's without a word. */
function instant(text: string): Millis | null {
  const zoned = /(GMT|Z|[+-]\d{2}:\d{2})$/.test(text) ? text : `${text} GMT`
  const ms = Date.parse(zoned)
  return Number.isNaN(ms) ? null : ms
}
