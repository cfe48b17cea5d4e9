/** Whose budgets are nearly or quite used up, in words. Pure. */
import type { Frame } from '#contracts/dashboard'
import type { Finding } from './finding.ts'
import { listed, number, plural, shortened } from './words.ts'

type Budget = Frame['budgets'][number]

/** One for all that are at an end, one for all that are near it. */
export function budgetFindings(frame: Frame): Finding[] {
  return [
    ...told(frame, 'budget_end', {
      level: 'warn',
      what: (names) => `${names.length === 1 ? 'A budget is' : 'Budgets are'} used up`,
      whom: 'these tenants: their calls wait, are given less, or are refused, as their edge says',
      doing:
        'looking every 5 s whether there is more, while they ask; their jobs wait in the store',
    }),
    ...told(frame, 'budget_low', {
      level: 'warn',
      what: (names) => `${names.length === 1 ? 'A budget is' : 'Budgets are'} nearly used up`,
      whom: 'nobody yet',
      doing: 'drawing smaller portions of what is left',
    }),
  ]
}

function told(
  frame: Frame,
  kind: 'budget_end' | 'budget_low',
  of: Pick<Finding, 'level' | 'whom' | 'doing'> & { what: (names: readonly string[]) => string },
): Finding[] {
  const held = frame.conditions.filter(({ condition }) => condition === kind)
  if (held.length === 0) return []
  const names = held.map(({ about }) => saidOf(frame, about ?? '', kind === 'budget_end'))
  const more = names.length - NAMED_MAX
  const first =
    more > 0 ? `${names.slice(0, NAMED_MAX).join(', ')} and ${number(more)} more` : listed(names)
  return [
    {
      ...of,
      kind,
      what: `${of.what(names)}: ${first}`,
      since: Math.min(...held.map(({ since }) => since)),
    },
  ]
}
const NAMED_MAX = 2

/** The fullest first, as the scheduler has them. */
function saidOf(frame: Frame, about: string, ended: boolean): string {
  const [tenant = '', span = ''] = about.split('/')
  const name = `${tenant === '*' ? 'tenants without a name' : shortened(tenant, 28)} (${span}`
  // Absent from older recordings.
  const budget = ((frame as Partial<Frame>).budgets ?? []).find(
    (one) => one.tenant === tenant && one.span === span && one.left <= 0 === ended,
  )
  if (budget === undefined) return `${name})`
  const { unit, whole, left } = budget
  return ended
    ? `${name}, ${amount(whole, unit)})`
    : `${name}, ${amount(left, unit)} of ${amount(whole, unit)} left)`
}

const amount = (of: number, unit: Budget['unit']): string =>
  unit === 'usd' ? `$${of.toFixed(2)}` : plural(Math.round(of), 'token')
