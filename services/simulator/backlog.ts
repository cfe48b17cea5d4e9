/** A backlog of durable jobs, made like calls of the workload that it stands beside. */
import type { Seconds } from '#contracts/units'
import { seeded } from './chance.ts'
import { JobError } from './job-error.ts'
import type { Backlog } from './job.ts'
import type { Arrival, Source } from './workload.ts'

/** So many calls of the workload are looked at. */
const LOOKED_AT = 10_000

/** Jobs of tenants in turn, each like a call drawn by dice from `like`: of those of the backlog's own lane, where it
 *  has any. They come evenly over `overS`. */
export function backlogSource(of: { backlog: Backlog; like: Source; seed: number }): Source {
  const { jobs, lane, overS } = of.backlog
  const like = sampleOf(of.like, lane)
  const dice = seeded(of.seed, 'backlog')
  const tenants = tenantsOf(of.backlog)
  const gap: Seconds = jobs === 0 ? 0 : overS / jobs
  let made = 0
  return {
    next() {
      if (made === jobs) return null
      const { asked, work } = like[Math.floor(dice() * like.length)]!
      const tenant = tenants[made % tenants.length]!
      const deadlineMs = of.backlog.deadlineS === null ? null : of.backlog.deadlineS * 1_000
      const at = Math.round(made++ * gap * 1_000)
      return { at, durable: true, asked: { ...asked, tenant, lane, deadlineMs }, work }
    },
  }
}

export const tenantsOf = ({ tenants }: Backlog): string[] =>
  tenants === 1 ? ['backlog'] : Array.from({ length: tenants }, (_, i) => `backlog${i + 1}`)

function sampleOf(source: Source, lane: string): Arrival[] {
  const all: Arrival[] = []
  const own: Arrival[] = []
  for (let one = source.next(); one !== null && all.length < LOOKED_AT; one = source.next()) {
    all.push(one)
    if (one.asked.lane === lane) own.push(one)
  }
  if (all.length === 0)
    throw new JobError('--backlog: there is no call in the workload that a job could be like')
  return own.length > 0 ? own : all
}
