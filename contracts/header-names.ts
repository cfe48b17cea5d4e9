/** The headers by which a caller says how its call is scheduled, and what was meant by others that look so. */
import { meant, nearest } from './known-names.ts'
import { HEADER } from './messages.ts'

/** Over HTTP the lane is a header; over NATS it is in the subject. */
export const LANE_HEADER = 'Headgate-Lane'

const OF_ANY: readonly string[] = [
  HEADER.id,
  HEADER.deadline,
  HEADER.degrade,
  HEADER.maxAttempts,
  HEADER.prefix,
]
const ASKED: readonly string[] = [...OF_ANY, HEADER.again]
const ASKED_OVER_HTTP: readonly string[] = [LANE_HEADER, ...ASKED]
/** A job's, which is asked for over NATS. */
const ASKED_OF_JOBS: readonly string[] = [...OF_ANY, HEADER.notBefore, HEADER.batch]
const KNOWN = { http: ASKED_OVER_HTTP, nats: ASKED, job: ASKED_OF_JOBS } as const
const ANSWERED: ReadonlySet<string> = new Set(
  [
    HEADER.outcome,
    HEADER.servedBy,
    HEADER.model,
    HEADER.attempts,
    HEADER.preemptions,
    HEADER.ambiguous,
    HEADER.queueMs,
    HEADER.upstreamMs,
    HEADER.totalMs,
    HEADER.inputTokens,
    HEADER.outputTokens,
    HEADER.events,
    HEADER.instance,
  ].map((name) => name.toLowerCase()),
)
const PREFIX = 'headgate-'

/** `headgate-…`, and what people write for it: `x-headgate-…`, `headgate_…`. */
const LOOKS_OURS = /^(?:x[-_])?headgate[-_]/i

/** The first name that looks like one of ours and is none of a request, as `headers: what was meant`; null: there
 *  is none. It would be one that nobody hears. The name itself is the caller's, and is not repeated. */
export function unknownHeader(names: Iterable<string>, over: keyof typeof KNOWN): string | null {
  const known = KNOWN[over]
  for (const name of names) {
    if (!LOOKS_OURS.test(name)) continue
    const lower = name.toLowerCase()
    if (known.some((one) => one.toLowerCase() === lower)) continue
    return `headers: ${sentence(lower, { known, over })}`
  }
  return null
}

/** Those of ours that a request over NATS has more than once, spelt as documented: which one was meant nobody can
 *  know. Headers of others are theirs. */
export function doubledHeaders(names: Iterable<string>): string[] {
  const lower = [...names].map((name) => name.toLowerCase())
  return [...ASKED_OF_JOBS, HEADER.again].filter((one) => {
    const at = lower.indexOf(one.toLowerCase())
    return at >= 0 && lower.includes(one.toLowerCase(), at + 1)
  })
}

function sentence(
  lower: string,
  { known, over }: { known: readonly string[]; over: keyof typeof KNOWN },
): string {
  const spelt = over === 'http' ? known.map((one) => one.toLowerCase()) : known
  const last = lower.replace(LOOKS_OURS, '').replaceAll('_', '-')
  if (over !== 'http' && last === 'lane') return 'the lane is the last part of the subject'
  const lasts = spelt.map((one) => one.slice(PREFIX.length))
  // Compared without what all have in common.
  const near = nearest(last, lasts)
  const hint =
    near === null ? meant('', spelt) : `did you mean ${spelt[lasts.indexOf(near)] ?? near}?`
  return ANSWERED.has(lower)
    ? `${lower} stands in answers, not in requests; ${hint}`
    : `a request has no such headgate- header; ${hint}`
}
