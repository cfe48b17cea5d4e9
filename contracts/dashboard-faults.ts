/** Faults of the simulated provider, set by an operator. */
import { z } from 'zod'

export const FAULT_KINDS = ['storm', 'quota_drop', 'hang', 'off'] as const
export const FAULT_FOR_MS = { default: 60_000, max: 600_000 } as const

const wholeFrom = (min: number, max: number, unit = '') => {
  const error = `expected a whole number${unit} from ${min} to ${max}`
  return z.int({ error }).min(min, { error }).max(max, { error })
}

/** `POST /api/admin/fault`, with the admin token like every act; 404 unless `hello.simulated`. `off` ends all.
 *  `storm`: most calls get a 529. `quota_drop`: `rpm` (60) requests a minute. `hang`: most calls stay silent.
 *  The other acts are `emergency {on}`, `lane {lane, paused}` and `drain {}`, of `contracts/admin`. */
export const faultAsk = z.strictObject(
  {
    kind: z.enum(FAULT_KINDS, { error: `expected one of ${FAULT_KINDS.join(', ')}` }),
    /** Only this model. */
    model: z
      .string({ error: 'expected the name of a model' })
      .max(128, { error: 'expected at most 128 characters' })
      .optional(),
    for_ms: wholeFrom(1_000, FAULT_FOR_MS.max, ' of milliseconds').default(FAULT_FOR_MS.default),
    rpm: wholeFrom(1, 100_000).default(60),
  },
  {
    error: (issue) =>
      issue.code === 'unrecognized_keys'
        ? `expected only kind, model, for_ms and rpm, found ${shownKeys(issue.keys)}`
        : 'expected a JSON object',
  },
)
/** Other people's words, and not all of them. */
const shownKeys = (keys: readonly string[]): string =>
  keys
    .slice(0, 3)
    .map((key) => JSON.stringify(key.slice(0, 32)))
    .join(', ')

/** What is wrong, where, and what is allowed. */
export function faultProblem(error: z.ZodError): string {
  const [issue] = error.issues
  if (issue === undefined) return 'body: does not fit'
  return `${issue.path.length === 0 ? 'body' : issue.path.join('.')}: ${issue.message}`
}
export type FaultAsk = z.infer<typeof faultAsk>
