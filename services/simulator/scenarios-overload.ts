/** What `npm run bench -- overload` does on real parts, as scenarios: other sizes, other beginnings of the limit,
 *  other providers. */
import type * as measure from './figures.ts'
import {
  overloadConfig,
  overloadFigures,
  overloadProvider,
  overloadSource,
  PHASES,
  LANES,
  type OverloadFigures,
  type OverloadRow,
} from './overload.ts'
import type { ProviderSettings } from './provider-model.ts'
import type { Scenario } from './scenario.ts'

const overloadOf = (of: {
  name: string
  title: string
  capacity?: number
  initial?: number
  overload?: NonNullable<ProviderSettings['overload']>
}): Scenario => {
  const { capacity = 48, initial = null, overload = 'hard' } = of
  const seconds = 240
  return {
    name: of.name,
    title: of.title,
    parameters: [],
    parts: () => [
      {
        name: 'all',
        until: seconds,
        shipped: true,
        config: overloadConfig({ initial, capacity }),
        source: (seed) => overloadSource({ seed, seconds, capacity }),
        provider: { ...overloadProvider({ seconds, capacity }), overload },
        unit: 'work',
        calls: true,
        asksAgain: true,
      },
    ],
    figures: (run) => overloadMeans(run, { seconds, capacity }),
    must: () => ({}),
  }
}

/** The mean of all seeds; who never recovered in one of them has no figure for it. */
function overloadMeans(
  run: measure.Run,
  of: { seconds: number; capacity: number },
): Record<string, number | null> {
  const all = run.all.map(({ tally }) => overloadFigures(tally.calls ?? [], of))
  const mean = (value: (one: OverloadFigures) => number): number =>
    all.reduce((sum, one) => sum + value(one), 0) / all.length
  return {
    interactive_in_time: mean((one) => one.interactiveInTime),
    ...Object.fromEntries(
      PHASES.map((phase) => [`in_time_${phase}`, mean((one) => one.byPhase[phase])]),
    ),
    quiet_in_time: mean((one) => one.quietInTime),
    batch_per_s: mean((one) => one.batchPerS),
    of_capacity: mean((one) => one.ofCapacity),
    of_capacity_and_quota: mean((one) => one.ofPossible),
    refused_upstream: mean((one) => one.refusedUpstream),
    attempts_per_started: mean((one) => one.attemptsPerStarted),
    recovery_s: all.some((one) => one.recoveryS === null) ? null : mean((one) => one.recoveryS!),
  }
}

/** The same calls twice: as they are, and with everything let in that a prediction would refuse. Callers ask once,
 *  so that each has one deadline. */
const letIn: Scenario = {
  name: 'overload-let-in',
  title: 'the same beside one without refusals by prediction',
  parameters: [],
  parts: () =>
    [false, true].map((unpredicted) => {
      const [part] = overloadOf({ name: '', title: '' }).parts({ load: 0, reserved: 0, noise: 0 })
      return { ...part!, name: unpredicted ? 'let in' : 'as it is', asksAgain: false, unpredicted }
    }),
  figures: (run) => {
    const refused = counted(run, () => true)
    const [interactive, batch] = (['interactive', 'batch'] as const).map((lane) =>
      counted(run, (row) => row.lane === lane),
    )
    return {
      refused: refused.refused,
      right: 1 - refused.inTime / refused.refused,
      right_interactive: 1 - interactive!.inTime / interactive!.refused,
      right_batch: 1 - batch!.inTime / batch!.refused,
      in_time: refused.before,
      in_time_let_in: refused.after,
    }
  },
  must: () => ({ right: '>= 0.95' }),
}

/** Calls whose deadline is within the run: afterwards there is room for everybody. `refused`: by a prediction;
 *  `inTime`: of these, those that were in time once all were let in; `before`, `after`: of all calls. */
function counted(run: measure.Run, which: (row: OverloadRow) => boolean) {
  const sum = { refused: 0, inTime: 0, before: 0, after: 0 }
  const [asItIs, all] = [run.part(0).all, run.part(1).all]
  for (const [seed, { tally, until }] of asItIs.entries()) {
    const same = new Map((all[seed]?.tally.calls ?? []).map((row) => [callOf(row), row]))
    for (const row of tally.calls ?? []) {
      const deadline = LANES[row.lane as keyof typeof LANES]
      if (row.at / 1_000 + deadline > until || !which(row)) continue
      const then = same.get(callOf(row))?.inTime === true
      if (row.inTime) sum.before++
      if (then) sum.after++
      if (row.code !== 'deadline_unreachable') continue
      sum.refused++
      if (then) sum.inTime++
    }
  }
  return sum
}
const callOf = ({ at, lane, tenant, serviceMs }: OverloadRow): string =>
  `${at} ${lane} ${tenant} ${serviceMs}`

const OVERLOAD = 'half as much again asked for, a storm of 529 and a cut of the quota'
export const overloads: readonly Scenario[] = [
  overloadOf({ name: 'overload', title: `48 hidden slots, ${OVERLOAD}` }),
  overloadOf({ name: 'overload-from-20', title: 'the same with a limit that starts at 20', initial: 20 }), // prettier-ignore
  overloadOf({ name: 'overload-from-120', title: 'the same with a limit that starts at 120', initial: 120 }), // prettier-ignore
  overloadOf({ name: 'overload-16', title: 'the same with 16 hidden slots', capacity: 16 }),
  overloadOf({ name: 'overload-200', title: 'the same with 200 hidden slots', capacity: 200 }),
  overloadOf({ name: 'overload-slow', title: 'the same at a provider that slows down beyond 48', overload: 'slow' }), // prettier-ignore
  overloadOf({ name: 'overload-soft', title: 'the same at a provider that gives more to whoever pushes', overload: 'soft' }), // prettier-ignore
  letIn,
]
