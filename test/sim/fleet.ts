/** `npm run sim -- fleet [--worlds 1000] [--from 1] [--kind chaos] [--seconds 3600] [--members 4]`: S9 of the control laws,
 *  so many seeds of each kind of world. Ends with status 1 when members ever had more than the whole. */
import { parseArgs } from 'node:util'
import { fleetWorld } from '#simulator/fleet-world'
import { FLEET_WORLDS } from '#simulator/fleet-worlds'

export async function fleetCommand(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      worlds: { type: 'string', default: '100' },
      from: { type: 'string', default: '1' },
      kind: { type: 'string' },
      seconds: { type: 'string' },
      members: { type: 'string' },
    },
  })
  const [worlds, from] = [whole('--worlds', values.worlds), whole('--from', values.from)]
  const { kind, seconds: long, members } = values
  if (kind !== undefined && !Object.hasOwn(FLEET_WORLDS, kind)) {
    console.error(`--kind: ${kind}; there are ${Object.keys(FLEET_WORLDS).join(', ')}`)
    process.exit(2)
  }
  const changed = {
    ...(long === undefined ? {} : { seconds: whole('--seconds', long) }),
    ...(members === undefined ? {} : { members: whole('--members', members) }),
  }
  console.log(
    '| world | seeds | with more than the whole | most in flight | score | writes a second | lapses |',
  )
  console.log('|---|---|---|---|---|---|---|')
  for (const [name, world] of Object.entries(FLEET_WORLDS)) {
    if (kind !== undefined && name !== kind) continue
    let [bad, most, score, writes, lapses] = [0, 0, 0, 0, 0]
    const told: string[] = []
    let seconds = 0
    for (let seed = from; seed < from + worlds; seed++) {
      const options = { ...world(seed), ...changed }
      const result = await fleetWorld(options)
      seconds += options.seconds
      most = Math.max(most, result.most)
      score += result.score
      writes += result.writes
      lapses += result.lapses
      if (result.violations.length === 0) continue
      bad++
      if (told.length < 5) told.push(`seed ${seed}: ${result.violations[0]}`)
    }
    console.log(
      `| ${name} | ${worlds} | ${bad} | ${most} | ${(score / worlds).toFixed(3)} | ${(writes / seconds).toFixed(2)} | ${lapses} |`,
    )
    for (const line of told) console.log(line)
    if (bad > 0) process.exitCode = 1
  }
}

function whole(option: string, text: string): number {
  const value = Number(text)
  if (Number.isInteger(value) && value >= 0) return value
  console.error(`${option}: ${text} is not a whole number from 0 on`)
  process.exit(2)
}
