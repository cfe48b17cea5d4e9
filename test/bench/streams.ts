/** `npm run bench -- streams [count]`: so many hostile streams at once through every way (1,000). */
import { manyStreams } from '../support/many-streams.ts'
import { sayTable } from './report.ts'

const COUNT = 1_000

export async function benchStreams([count]: readonly string[]): Promise<boolean> {
  const tallies = await manyStreams({ count: Number(count ?? COUNT) })
  const rows = tallies.map((of) => [
    of.way,
    ...[of.streams, of.openMax, of.events, of.lost, of.mixed, of.ended].map(String),
    of.seconds.toFixed(1),
    (of.events / of.seconds).toFixed(0),
  ])
  const heads = ['way', 'streams', 'open at once', 'events', 'lost', 'mixed up', 'wrong end']
  sayTable('streams of hostile frames', [[...heads, 'seconds', 'events/s'], ...rows])
  for (const { way, notes } of tallies) for (const note of notes) console.log(`  ${way}: ${note}`)
  return tallies.every(({ lost, mixed, ended }) => lost + mixed + ended === 0)
}
