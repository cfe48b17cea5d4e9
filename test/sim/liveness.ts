/** `npm run sim -- liveness --worlds 10000 [--from 1] [--more 3600]`: random worlds, each looked at after its faults
 *  (services/simulator/liveness.ts). `--show SEED` tells one world as data. Ends with status 1 when a law is broken or
 *  a world does not come to life again in time. */
import { parseArgs } from 'node:util'
import { configFile, type Config } from '#contracts/config'
import { liveness, type LivenessResult } from '#simulator/liveness'
import { randomWorld } from '#simulator/random-world'

const PROGRESS = 500

export function livenessCommand(args: readonly string[]): void {
  const { values } = parseArgs({
    args: [...args],
    options: {
      worlds: { type: 'string', default: '1000' },
      from: { type: 'string', default: '1' },
      more: { type: 'string', default: '3600' },
      show: { type: 'string' },
    },
  })
  if (values.show !== undefined) return show(whole('--show', values.show))
  const worlds = whole('--worlds', values.worlds)
  const from = whole('--from', values.from)
  const bad: LivenessResult[] = []
  const shares: number[] = []
  for (let seed = from; seed < from + worlds; seed++) {
    const result = liveness(seed, { moreS: whole('--more', values.more) })
    for (const { s, boundS } of Object.values(result.took)) shares.push(s / boundS)
    if (isBad(result)) {
      bad.push(result)
      console.log(lineOf(result))
    }
    if ((seed - from + 1) % PROGRESS === 0)
      console.log(`${seed - from + 1} of ${worlds} worlds, ${bad.length} of them in trouble`)
  }
  console.log(summary(worlds, bad, shares))
  if (bad.length > 0) process.exitCode = 1
}

function whole(option: string, text: string): number {
  const value = Number(text)
  if (Number.isInteger(value) && value >= 0) return value
  console.error(`${option}: ${text} is not a whole number from 0 on`)
  process.exit(2)
}

const isBad = ({ trouble, violations }: LivenessResult): boolean =>
  trouble !== null || violations > 0

function lineOf({ seed, trouble, findings }: LivenessResult): string {
  const laws = findings.length === 0 ? '' : ` laws: ${findings.slice(0, 3).join('; ')}`
  if (trouble === null) return `seed ${seed}:${laws}`
  const { phase, what, boundS, cameAfterS, waiting, routes } = trouble
  const after = cameAfterS === null ? 'not after all' : `after ${cameAfterS} s`
  const holds = waiting.map(
    (row) => `${row.lane} on ${row.route}: ${row.count} by ${row.reason} ${row.bound ?? ''}`,
  )
  const stand = routes.map(
    (one) =>
      `${one.route} ${one.inflight} of ${one.limit}, breaker ${one.breaker}, provider ${one.provider}`,
  )
  return [
    `seed ${seed}: ${phase}: ${what}; bound ${Math.round(boundS)} s, came true ${after}.${laws}`,
    `  waiting: ${holds.length === 0 ? 'nobody' : holds.join('; ')}`,
    `  routes: ${stand.join('; ')}`,
  ].join('\n')
}

function summary(worlds: number, bad: readonly LivenessResult[], shares: number[]): string {
  const broken = bad.filter(({ violations }) => violations > 0)
  const still = bad.filter(({ trouble }) => trouble !== null && trouble.cameAfterS === null)
  const late = bad.filter(({ trouble }) => trouble !== null && trouble.cameAfterS !== null)
  const kinds = Map.groupBy(bad, kindOf)
  const byKind = [...kinds]
    .toSorted((a, b) => b[1].length - a[1].length)
    .map(([kind, all]) => `  ${all.length} x ${kind}: ${all.slice(0, 12).map(({ seed }) => seed)}`)
  shares.sort((a, b) => a - b)
  const at = (p: number): string => (shares[Math.floor(p * shares.length)] ?? 0).toFixed(2)
  return [
    ...byKind,
    `${worlds} worlds: ${still.length} stand still, ${late.length} are late, ${broken.length} broke a law; ` +
      `the others took ${at(0.5)} of their bounds in the middle, ${at(0.99)} at P99`,
  ].join('\n')
}

/** Worlds in the same kind of trouble. */
function kindOf({ trouble, findings }: LivenessResult): string {
  if (trouble === null) return (findings[0] ?? '').split(':')[0]!
  const holds = [...new Set(trouble.waiting.map((row) => row.reason))].toSorted()
  const gates = [...new Set(trouble.routes.map((one) => one.breaker))].filter(
    (one) => one !== 'closed',
  )
  return [trouble.phase, ...holds, ...gates].join(' ')
}

/** Everything that the seed means, of configurations what is not default. */
function show(seed: number): void {
  const { config, reloads, provider, faultsEnd, ...world } = randomWorld(seed)
  const { capacity, ...settings } = provider
  const seconds = Array.from({ length: faultsEnd + 1 }, (_, at) => at)
  const steps = seconds.filter((at) => at === 0 || capacity(at) !== capacity(at - 1))
  const told = {
    ...world,
    last: ownOf(world.last),
    faultsEnd,
    config: ownOf(config),
    reloads: reloads.map((one) => ({ at: one.at, config: ownOf(one.config) })),
    provider: { ...settings, capacity: steps.map((at) => ({ at, slots: capacity(at) })) },
  }
  console.log(JSON.stringify(told, null, 1))
}

const ownOf = ({ file, emergency }: Config): unknown => ({
  emergency,
  ...(beside(file, configFile.parse({})) as object),
})

/** What differs. */
function beside(own: unknown, usual: unknown): unknown {
  if (!isTree(own) || !isTree(usual)) return own
  return Object.fromEntries(
    Object.entries(own)
      .filter(([key, value]) => JSON.stringify(value) !== JSON.stringify(usual[key]))
      .map(([key, value]) => [key, beside(value, usual[key])]),
  )
}

const isTree = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
