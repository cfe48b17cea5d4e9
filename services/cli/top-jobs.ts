/** Durable jobs in the picture of `headgate top`: what there is, where it stands, and what went wrong with some. */
import type { JobsNow, Snapshot } from '#contracts/snapshot'
import { duration, number, packed, shown, type Cell, type Paint, type Tone } from './top-text.ts'

const MEGABYTE = 1_000_000

/** Nothing where no jobs are kept; one line at least where they are. */
export function jobLines(
  { jobs }: Pick<Snapshot, 'jobs'>,
  at: { width: number; lanes: number; brief: boolean; paint: Paint },
): string[] {
  if (jobs === null) return []
  const sentences = at.brief
    ? [standing(jobs)]
    : [standing(jobs), ofLanes(jobs, at.lanes), becameOf(jobs)]
  return sentences.flatMap((one) => packed(one, at.width, at.paint))
}

const said = (text: string, tone?: Tone): Cell => ({ text, width: 0, tone })

function standing({ stored, oldest_ms, states }: JobsNow): Cell[] {
  const { delayed, stored: untaken, waiting, calling, settling, elsewhere } = states
  const where = { untaken, waiting, calling, settling, elsewhere, delayed }
  return [
    said('JOBS', 'strong'),
    said(`${number(stored)} not ended`),
    ...(oldest_ms === null ? [] : [said(`oldest ${duration(oldest_ms)}`)]),
    ...Object.entries(where).flatMap(([name, count]) =>
      count === 0 ? [] : [said(`${name} ${number(count)}`)],
    ),
  ]
}

/** Lanes that have any, the fullest first. */
function ofLanes({ lanes }: JobsNow, most: number): Cell[] {
  const full = lanes.filter(({ stored }) => stored > 0).toSorted((a, b) => b.stored - a.stored)
  return full.slice(0, most).map(({ lane, stored, oldest_ms, expected_ms }) => {
    const late = oldest_ms !== null && oldest_ms > expected_ms
    const age = oldest_ms === null ? '' : `, oldest ${duration(oldest_ms)}`
    const bound = late ? ` OVER ${duration(expected_ms)}` : ''
    return said(`${shown(lane)} ${number(stored)}${age}${bound}`, late ? 'warn' : undefined)
  })
}

function becameOf({ counts, dead, store }: JobsNow): Cell[] {
  const { taken_over, returned, ambiguous } = counts
  const { reachable, full, bytes, bytes_max } = store
  const of = bytes_max === null ? '' : ` of ${number(bytes_max / MEGABYTE)}`
  return [
    said(`taken over ${number(taken_over)}`, taken_over > 0 ? 'warn' : 'faint'),
    said(`returned ${number(returned)}`, 'faint'),
    said(`may have run twice ${number(ambiguous)}`, ambiguous > 0 ? 'warn' : 'faint'),
    said(`dead letters ${number(dead.kept)}`, dead.kept > 0 ? 'warn' : 'faint'),
    reachable
      ? said(`store ${number(bytes / MEGABYTE)}${of} MB`, 'faint')
      : said('STORE AWAY', 'bad'),
    ...(full ? [said('STORE FULL', 'bad')] : []),
  ]
}
