/** A trace in the format of Mooncake, made from a seed: tasks that start many calls at once with the same long
 *  beginning, and conversations of which each turn begins with the one before. All begin with the prompt of one of a few
 *  tools. */
import { BLOCK } from '#contracts/mooncake-trace'
import { seeded, type Throw } from '#simulator/chance'

const TOOLS = { count: 5, blocks: { least: 4, most: 20 } }
const TASKS = {
  everyS: 8,
  calls: { least: 8, most: 20 },
  withinMs: 300,
  shared: { least: 20, most: 60 },
  own: { least: 1, most: 4 },
}
const TALKS = {
  everyS: 5,
  turns: { least: 3, most: 8 },
  apartMs: { least: 20_000, most: 60_000 },
  grows: { least: 2, most: 8 },
}
const OUTPUT = { least: 20, most: 600 }

type Range = { least: number; most: number }
interface Call {
  atMs: number
  ids: number[]
}

/** Its lines, in order of time; calls begin in the first `seconds`. */
export function mooncakeLines(of: { seed: number; seconds: number }): string[] {
  const dice = seeded(of.seed, 'mooncake')
  let made = 0
  const fresh = (range: Range): number[] => Array.from({ length: whole(range, dice) }, () => made++)
  const tools = Array.from({ length: TOOLS.count }, () => fresh(TOOLS.blocks))
  const tool = (): number[] => tools[whole({ least: 0, most: TOOLS.count - 1 }, dice)]!
  const calls: Call[] = []
  for (let at = 0; at < of.seconds; at += TASKS.everyS) {
    const shared = [...tool(), ...fresh(TASKS.shared)]
    for (let i = whole(TASKS.calls, dice); i > 0; i--)
      calls.push({
        atMs: 1_000 * at + Math.floor(dice() * TASKS.withinMs),
        ids: [...shared, ...fresh(TASKS.own)],
      })
  }
  for (let at = 0; at < of.seconds; at += TALKS.everyS) {
    let atMs = 1_000 * at + Math.floor(dice() * 1_000 * TALKS.everyS)
    let said = [...tool(), ...fresh(TALKS.grows)]
    for (let turn = whole(TALKS.turns, dice); turn > 0; turn--) {
      // The last block is not full, so that its number is of this turn alone.
      calls.push({ atMs, ids: [...said, ...fresh({ least: 1, most: 1 })] })
      said = [...said, ...fresh(TALKS.grows)]
      atMs += whole(TALKS.apartMs, dice)
    }
  }
  return calls
    .filter(({ atMs }) => atMs < 1_000 * of.seconds)
    .toSorted((a, b) => a.atMs - b.atMs)
    .map((call) => lineOf(call, dice))
}

const lineOf = ({ atMs, ids }: Call, dice: Throw): string =>
  JSON.stringify({
    timestamp: atMs,
    input_length: BLOCK * ids.length - Math.floor(dice() * (BLOCK - 1)),
    output_length: whole(OUTPUT, dice),
    hash_ids: ids,
  })

const whole = ({ least, most }: Range, dice: Throw): number =>
  least + Math.floor(dice() * (most - least + 1))
