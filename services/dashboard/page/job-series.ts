/** The backlog of durable jobs over time: learnt from the server, then fed by frames; or all of a recording's.
 *  Bound: `POINTS_MAX` points of the lanes that there are, and of `TENANTS_MAX` tenants. */
import type { Frame, History } from '#contracts/dashboard'
import { jobsOf } from './job-findings.ts'

export interface JobSeries {
  readonly t: readonly number[]
  /** Jobs that have not ended. */
  lanes(): readonly Line[]
  /** Those with most now, at most so many. */
  tenants(most: number): readonly Line[]
  learn(history: History): void
  add(frame: Frame, most?: number): void
  forget(): void
}

interface Line {
  name: string
  stored: (number | null)[]
}

const POINTS_MAX = 900
const TENANTS_MAX = 40

export function jobSeries(): JobSeries {
  const t: number[] = []
  const lanes = new Map<string, Line>()
  const tenants = new Map<string, Line>()
  const forget = (): void => {
    t.length = 0
    lanes.clear()
    tenants.clear()
  }
  return {
    t,
    lanes: () => [...lanes.values()],
    tenants: (most) =>
      [...tenants.values()].toSorted((a, b) => lastOf(b) - lastOf(a)).slice(0, most),
    learn({ t: at, jobs }) {
      forget()
      t.push(...at)
      for (const { name, stored } of jobs.lanes) lanes.set(name, { name, stored: [...stored] })
      for (const { name, stored } of jobs.tenants) tenants.set(name, { name, stored: [...stored] })
    },
    add(frame, most = POINTS_MAX) {
      const jobs = jobsOf(frame)
      if (jobs === null || frame.at / 1_000 <= (t.at(-1) ?? 0)) return
      push(lanes, new Map(jobs.lanes.map((one) => [one.lane, one.stored])), t.length, Infinity)
      const stored = new Map<string, number>()
      for (const one of jobs.tenants)
        stored.set(one.tenant, (stored.get(one.tenant) ?? 0) + one.stored + one.taken)
      push(tenants, stored, t.length, TENANTS_MAX)
      t.push(frame.at / 1_000)
      for (const column of [t, ...[...lanes.values(), ...tenants.values()].map((l) => l.stored)])
        while (column.length > most) column.shift()
    },
    forget,
  }
}

const lastOf = ({ stored }: Line): number => stored.at(-1) ?? 0

/** Who comes has no past, who is gone no present; where there are too many, those without a past are left out. */
function push(
  to: Map<string, Line>,
  now: ReadonlyMap<string, number>,
  points: number,
  most: number,
): void {
  for (const name of now.keys())
    if (!to.has(name) && to.size < most)
      to.set(name, { name, stored: Array<null>(points).fill(null) })
  for (const [name, line] of to) line.stored.push(now.get(name) ?? null)
}
