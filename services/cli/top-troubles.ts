/** What holds, since when, and what an operator can do. */
import { runbook, type RunbookKind } from '#contracts/runbook'
import type { Snapshot } from '#contracts/snapshot'
import { type Drawing } from './top-drawing.ts'
import { duration, number, row, shown, wrapped, type Tone } from './top-text.ts'

type Condition = Snapshot['conditions'][number]

interface Trouble {
  said: string
  kind: RunbookKind
  tone: Tone
}

/** Those that have no line of their own elsewhere. */
const TROUBLES: Readonly<
  Partial<Record<Condition['condition'], (about: string, of: Snapshot) => Trouble | undefined>>
> = {
  nats_lost: (_about, { doors }) => ({
    said: `NATS IS AWAY${doors.http?.ready === true ? ' (callers of the HTTP door are served)' : ''}`,
    kind: 'nats_lost',
    tone: 'bad',
  }),
  blocked(about, { routes }) {
    const block = routes.find(({ upstream }) => upstream === about)?.blocked ?? null
    const { said, kind } = BLOCKS[block?.reason ?? 'stopped']
    const status = block?.status == null ? '' : ` (${block.status})`
    return { said: `UPSTREAM ${shown(about)} ${said}${status}`, kind, tone: 'bad' }
  },
  no_answer: (about) => ({
    said: `NO ANSWER from ${shown(about)}`,
    kind: 'no_answer',
    tone: 'bad',
  }),
  breaker: (about) => ({
    said: `breaker of ${shown(about)} not closed`,
    kind: 'breaker',
    tone: 'bad',
  }),
  quota_pause: (about) => ({
    said: `429: quota ${shown(about)} used up`,
    kind: 'quota_used_up',
    tone: 'warn',
  }),
  overloaded: () => ({ said: 'degraded', kind: 'overloaded', tone: 'bad' }),
  emergency: () => ({ said: 'emergency block on', kind: 'emergency', tone: 'warn' }),
  config_refused: () => ({
    said: 'configuration file refused',
    kind: 'config_refused',
    tone: 'warn',
  }),
  lane_paused: (about) => ({
    said: `lane ${shown(about)} paused`,
    kind: 'lane_paused',
    tone: 'warn',
  }),
  draining: () => ({ said: 'draining', kind: 'draining', tone: 'warn' }),
  jobs_store_lost: () => ({
    said: 'THE STORE OF DURABLE JOBS DOES NOT ANSWER',
    kind: 'jobs_store_lost',
    tone: 'bad',
  }),
  jobs_store_full: () => ({
    said: 'THE STORE OF DURABLE JOBS IS FULL',
    kind: 'jobs_store_full',
    tone: 'bad',
  }),
  jobs_dead: (_about, { jobs }) => ({
    said: `dead letters grow (${number(jobs?.dead.kept ?? 0)} kept)`,
    kind: 'jobs_dead',
    tone: 'warn',
  }),
  jobs_old: (about, { jobs }) => ({
    said: `oldest job of ${shown(about)} is ${duration(oldestOf(jobs, about))} old`,
    kind: 'jobs_old',
    tone: 'warn',
  }),
  fleet_lapsed: (_about, { fleet }) => ({
    said: `THE LEASE OF THIS INSTANCE HAS RUN OUT (it may use ${number(fleet?.usable ?? 0)} slots)`,
    kind: 'fleet_lapsed',
    tone: 'bad',
  }),
  fleet_silent: (about, { fleet }) => ({
    said: `member ${shown(about)} is not heard (${number(shareOf(fleet, about))} slots are kept for it)`,
    kind: 'fleet_silent',
    tone: 'warn',
  }),
  fleet_config_differs: (about) => ({
    said: `configuration of ${shown(about)} differs`,
    kind: 'fleet_config_differs',
    tone: 'warn',
  }),
  fleet_superseded: (_about, { fleet }) => ({
    said: `another process has the name ${shown(fleet?.name_taken ?? '')}`,
    kind: 'fleet_superseded',
    tone: 'warn',
  }),
  budget_end: (about, of) => budgetsAt('budget_end', { first: about, of, said: 'used up' }),
  budget_low: (about, of) => budgetsAt('budget_low', { first: about, of, said: 'nearly used up' }),
}

/** One line for all of a kind. */
function budgetsAt(
  kind: 'budget_end' | 'budget_low',
  { first, of, said }: { first: string; of: Snapshot; said: string },
): Trouble | undefined {
  const held = of.conditions.filter(({ condition }) => condition === kind)
  if (held[0]?.about !== first) return undefined
  const more = held.length === 1 ? '' : ` and ${number(held.length - 1)} more`
  return { said: `budget of ${shown(first)}${more} ${said}`, kind, tone: 'warn' }
}

const shareOf = (fleet: Snapshot['fleet'], member: string): number =>
  fleet?.members.find((one) => one.member === member)?.share ?? 0
const oldestOf = (jobs: Snapshot['jobs'], lane: string): number =>
  jobs?.lanes.find((one) => one.lane === lane)?.oldest_ms ?? 0
const BLOCKS = {
  key_refused: { said: 'REFUSES THE KEY', kind: 'key_refused' },
  spend_limit: { said: 'HAS REACHED ITS SPENDING LIMIT', kind: 'spend_limit' },
  stopped: { said: 'HAS STOPPED THE ACCOUNT', kind: 'account_stopped' },
} as const

export function troubles({ snapshot, now, width, room, paint }: Drawing): string[] {
  const found = snapshot.conditions.flatMap((one) => {
    const told = TROUBLES[one.condition]?.(one.about ?? '', snapshot)
    return told === undefined ? [] : [{ ...told, since: one.since }]
  })
  const lines = found.slice(0, room.troubles).map(({ said, kind, tone, since }) => {
    const act = runbook[kind].act.replaceAll('`', '')
    const text = `${said} for ${duration(Math.max(0, now - since))}: ${act}`
    return wrapped(text, { width, lines: room.airy ? TROUBLE_LINES : 1 }).map((line) =>
      row([{ text: line, width, tone }], paint),
    )
  })
  const left = found.length - lines.length
  return left > 0
    ? [...lines.flat(), row([{ text: `and ${number(left)} matters more`, width }], paint)]
    : lines.flat()
}
/** What to do stands last, and it is what somebody looks for. */
const TROUBLE_LINES = 3
