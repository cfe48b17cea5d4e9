/** What the provider's Rate Limits API answers, as far as we read it: a stranger's, in which what is new is passed over.
 *  Source: https://platform.claude.com/docs/en/manage-claude/rate-limits-api */
import { z } from 'zod'

/** Models that share their limits. */
export interface LimitGroup {
  readonly models: readonly string[]
  /** Per minute; null: none is told. */
  readonly rpm: number | null
  readonly itpm: number | null
  readonly otpm: number | null
}

const limit = z.object({ type: z.string(), value: z.number().int().min(1).max(1_000_000_000) })
const entry = z.object({
  group_type: z.literal('model_group'),
  models: z.array(z.string().min(1)).min(1),
  limits: z.array(z.unknown()),
})
const page = z.object({ data: z.array(z.unknown()), next_page: z.string().nullish() })

const LIMITERS = {
  rpm: 'requests_per_minute',
  itpm: 'input_tokens_per_minute',
  otpm: 'output_tokens_per_minute',
} as const

/** Null: it is none of that API's. */
export function readLimitsPage(
  json: unknown,
): { groups: LimitGroup[]; next: string | null } | null {
  const read = page.safeParse(json)
  if (!read.success) return null
  return { groups: read.data.data.flatMap(groupIn), next: read.data.next_page ?? null }
}

/** Nothing where it is no group of models. */
function groupIn(json: unknown): LimitGroup[] {
  const read = entry.safeParse(json)
  if (!read.success) return []
  const told = read.data.limits.flatMap((one) => limit.safeParse(one).data ?? [])
  const of = (name: keyof typeof LIMITERS): number | null =>
    told.find(({ type }) => type === LIMITERS[name])?.value ?? null
  return [{ models: read.data.models, rpm: of('rpm'), itpm: of('itpm'), otpm: of('otpm') }]
}
