/** `headgate jobs`: what is stored, and what to do with a job that was given up. */
import { Command, Option } from 'commander'
import { JOB_STATES, JOBS_PAGE_MAX, type JobsPage, type ListedJob } from '#contracts/jobs'
import type { CancelAnswer } from '#contracts/messages'
import { OPERATOR_USER } from '#contracts/permissions'
import type { Headgate } from '#client'
import { wall } from '#platform/system'
import { dialOptions, withHeadgate, type DialFlags } from './dialing.ts'
import { json, Misuse, positiveWhole, say, tell, token } from './terminal.ts'
import { whose, whoseArguments, type WhoseFlags } from './whose.ts'

interface ListFlags extends DialFlags {
  tenant?: string
  lane?: string
  state?: (typeof JOB_STATES)[number]
  dead?: true
  oldest: number
  json?: true
}

type ActFlags = DialFlags & WhoseFlags & { json?: true }

const OLDEST = 20

export const jobs = (): Command =>
  dialOptions(new Command('jobs'))
    .summary('list durable jobs, and see to the dead')
    .description(
      'Lists durable jobs, the oldest first. For operators. A dead job is one that was given up through no fault of ' +
        "its caller's: its caller has the error, and its body is kept for a while (results.dead_max_age).",
    )
    .option('--tenant <tenant>', 'of this one only', token)
    .option('--lane <lane>', 'of this one only', token)
    .addOption(new Option('--state <state>', 'in this one only').choices(JOB_STATES))
    .option('--dead', 'the dead, with the reason: --state dead')
    .option('--oldest <n>', 'how many at most', positiveWhole, OLDEST)
    .option('--json', 'print one JSON object a line')
    .action(list)
    .addCommand(
      act('requeue')
        .summary('put a dead job in line again')
        .description(
          'Accepts a dead job anew, under its own id, with the time that it had; the error that was its result is ' +
            'forgotten. Status 1 when there is none.',
        )
        .action(requeue),
    )
    .addCommand(
      act('drop')
        .summary('forget a dead job, or cancel one that is not over')
        .description(
          'Forgets a dead job; its result stays. A job that is not over is cancelled, and that is its result. ' +
            'Status 1 when there is none.',
        )
        .action(drop),
    )

const act = (name: string): Command =>
  whoseArguments(dialOptions(new Command(name)), 'the id of the job').option(
    '--json',
    'print the answer as it came',
  )

async function list(flags: ListFlags): Promise<void> {
  if (flags.dead === true && flags.state !== undefined && flags.state !== 'dead')
    throw new Misuse(`--dead: is --state dead; leave out --state ${flags.state}`)
  const { tenant, lane } = flags
  const state = flags.dead === true ? 'dead' : flags.state
  const shown = await asOperator(flags, async (headgate) => {
    let rest = flags.oldest
    for (let from: number | null = 0; from !== null && rest > 0;) {
      const count = Math.min(rest, JOBS_PAGE_MAX)
      const page = (await headgate.admin('jobs', { tenant, lane, state, from, count })) as JobsPage
      for (const job of page.jobs) say(flags.json === true ? JSON.stringify(job) : lineOf(job))
      rest -= page.jobs.length
      from = page.next
    }
    return flags.oldest - rest
  })
  if (flags.json === true) return
  if (shown === 0) tell(isEverything(flags) ? 'there is no job' : 'no job of that kind')
  else if (shown === flags.oldest) tell(`the oldest ${shown}; --oldest N shows more`)
}

const isEverything = ({ tenant, lane, state, dead }: ListFlags): boolean =>
  tenant === undefined && lane === undefined && state === undefined && dead === undefined

async function requeue(names: string[], flags: ActFlags): Promise<void> {
  const { tenant, id } = whose(names, flags)
  const answer = await asOperator(flags, (headgate) => ask(headgate, 'requeue', { tenant, id }))
  if (flags.json === true) json(answer)
  else say(answer['requeued'] === true ? 'in line again' : `no dead job ${tenant}/${id}`)
  process.exitCode = answer['requeued'] === true ? 0 : 1
}

async function drop(names: string[], flags: ActFlags): Promise<void> {
  const { tenant, id } = whose(names, flags)
  const answer = await asOperator(flags, async (headgate) => {
    const dropped = await ask(headgate, 'drop', { tenant, id })
    if (dropped['dropped'] === true) return dropped
    return (await headgate.admin('cancel', { tenant, id })) as CancelAnswer
  })
  const cancelled = 'cancelled' in answer && answer.cancelled === true
  const done = cancelled || ('dropped' in answer && answer['dropped'] === true)
  if (flags.json === true) json(answer)
  else if (cancelled) say(`cancelled; it was ${String(answer.state)}`)
  else if (done) say('dropped')
  else if ('reason' in answer && answer.reason === 'already_settled')
    say(`${tenant}/${id} is over, and not dead`)
  else say(`nobody knows ${tenant}/${id}`)
  process.exitCode = done ? 0 : 1
}

const ask = async (
  headgate: Headgate,
  act: 'requeue' | 'drop',
  of: { tenant: string; id: string },
): Promise<Record<string, unknown>> =>
  (await headgate.admin('jobs', { act, ...of })) as Record<string, unknown>

const asOperator = <T>(flags: DialFlags, use: (headgate: Headgate) => Promise<T>): Promise<T> =>
  withHeadgate({ ...flags, tenant: OPERATOR_USER }, use)

/** `acme/order-17  batch  queued 3 m  0 attempts`. */
function lineOf(job: ListedJob): string {
  const name = `${job.tenant}/${job.id}`.padEnd(NAME_WIDTH)
  const since = `${job.state} ${ageOf(Date.parse(job.accepted_at))}`
  return `${name}  ${job.lane.padEnd(LANE_WIDTH)}  ${since.padEnd(STATE_WIDTH)}  ${about(job)}`.trimEnd()
}

const NAME_WIDTH = 32
const LANE_WIDTH = 11
const STATE_WIDTH = 13

function about(job: ListedJob): string {
  if (job.dead_reason !== null) return job.dead_reason
  if (job.state === 'delayed') return `until ${job.starts_at ?? ''}`
  const tried = job.attempts === 0 ? '' : `${job.attempts} attempts`
  return [tried, job.instance === null ? '' : `on ${job.instance}`].filter(Boolean).join(', ')
}

const UNITS = [
  [86_400_000, 'd'],
  [3_600_000, 'h'],
  [60_000, 'm'],
  [1_000, 's'],
] as const

/** In the largest unit of which there is one. */
function ageOf(at: number): string {
  const ms = Math.max(0, wall() - at)
  const [size, unit] = UNITS.find(([one]) => ms >= one) ?? [1_000, 's']
  return `${Math.floor(ms / size)} ${unit}`
}
