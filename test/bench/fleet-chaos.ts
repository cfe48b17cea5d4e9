/** `npm run bench -- fleet-chaos [--seconds N] [--seed N] [--rpm N]`: four schedulers, three nats-servers and one
 *  upstream, under load and under faults. One Markdown table on stdout, what happens on stderr. False: more was in
 *  flight than the limit. */
import { parseArgs } from 'node:util'
import { seededDice, type Dice } from '#core/estimators/dice'
import { markdownTable } from '#simulator/overload'
import { openChaosFleet, type ChaosFleet } from '../support/chaos-fleet.ts'
import { FAULTS, type Storm } from '../support/chaos-faults.ts'
import { burstOf, quotaRate } from './started.ts'

const MEMBERS = 4
const LIMIT = 60
/** Of the run, before anything happens. */
const CALM = 0.25
/** The first shares are out by then. */
const WARM_MS = 10_000
const SAMPLE_MS = 100
const LOOK_MS = 1_000
/** Most that one member wants, and least: together more than the limit, nearly always. */
const WANTS = { least: 10, most: 40 }
const REDRAWN = { least: 15_000, most: 45_000 }
/** From the beginning of one fault to that of the next. */
const APART = { least: 4_000, most: 14_000 }
/** What an answer takes: S9's. */
const SERVICE = { least: 1_000, mean: 8_000, most: 30_000 }

const between = (dice: Dice, { least, most }: { least: number; most: number }): number =>
  least + Math.floor(dice.next() * (most - least + 1))
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

interface Met {
  used: number
  could: number
}

export async function benchFleetChaos(args: readonly string[]): Promise<boolean> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seconds: { type: 'string', default: '600' },
      seed: { type: 'string', default: '1' },
      rpm: { type: 'string' },
    },
  })
  const seed = Number(values.seed)
  const services = seededDice(seed + 1)
  let fleet: ChaosFleet | null = null
  // Also while it starts: what has been started ends with us.
  const end = (): void =>
    void (fleet?.close() ?? Promise.resolve()).finally(() => process.exit(130))
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, end)
  fleet = await openChaosFleet({
    ...{ members: MEMBERS, limit: LIMIT },
    rpm: values.rpm === undefined ? null : Number(values.rpm),
    serviceMs: () =>
      Math.min(SERVICE.most, SERVICE.least - SERVICE.mean * Math.log(1 - services.next())),
  })
  try {
    return await run(fleet, { seed, seconds: Number(values.seconds), rpm: values.rpm })
  } finally {
    await fleet.close()
  }
}

async function run(
  fleet: ChaosFleet,
  of: { seed: number; seconds: number; rpm: string | undefined },
): Promise<boolean> {
  const dice = seededDice(of.seed)
  const wants = seededDice(of.seed + 2)
  const began = performance.now()
  const tell = (words: string): void => {
    const at = ((performance.now() - began) / 1_000).toFixed(1).padStart(6)
    process.stderr.write(`${at} s  ${words}\n`)
  }
  const storm: Storm = {
    ...{ fleet, dice, pause, tell, hurt: new Set<string>(), crowds: 0 },
    wants: () => between(wants, WANTS),
  }
  const books = keep(fleet, began + WARM_MS)
  const demand = redraw(storm, seededDice(of.seed + 3))
  await pause(of.seconds * 1_000 * CALM)
  books.chaos()
  const faults = await hurt(storm, began + of.seconds * 1_000)
  const figures = books.end()
  demand.end()
  report({ fleet, faults, ...figures, ...of })
  return fleet.ledger.most() <= LIMIT
}

/** One fault after the other, whether or not the one before is over; then all are healed. Gives how many there were. */
async function hurt(storm: Storm, until: number): Promise<number> {
  const running = new Set<Promise<void>>()
  let faults = 0
  while (performance.now() < until) {
    const fault = FAULTS[Math.floor(storm.dice.next() * FAULTS.length)]!
    faults++
    const over = fault(storm)
      .catch((error: Error) => storm.tell(`a fault went wrong: ${error.message}`))
      .finally(() => running.delete(over))
    running.add(over)
    await pause(Math.min(between(storm.dice, APART), Math.max(0, until - performance.now())))
  }
  storm.tell('no fault begins any more')
  await Promise.all(running)
  return faults
}

/** Every member's users want other numbers now and then. */
function redraw(storm: Storm, times: Dice) {
  let over = false
  const next = new Map<string, number>()
  const look = (): void => {
    for (const member of storm.fleet.members) {
      if (!member.alive || performance.now() < (next.get(member.name) ?? 0)) continue
      member.wants = storm.wants()
      next.set(member.name, performance.now() + between(times, REDRAWN))
    }
    if (!over) setTimeout(look, LOOK_MS)
  }
  look()
  return { end: () => void (over = true) }
}

/** What is in flight over what could be, and who has lapsed how often. */
function keep(fleet: ChaosFleet, from: number) {
  const calm: Met = { used: 0, could: 0 }
  const chaos: Met = { used: 0, could: 0 }
  const lapses = new Map<string, number>()
  let now = calm
  const sample = setInterval(() => {
    if (performance.now() < from) return
    const wanted = fleet.members.reduce((sum, one) => sum + one.wants, 0)
    now.used += Math.min(LIMIT, fleet.ledger.inflight(), wanted)
    now.could += Math.min(LIMIT, wanted)
  }, SAMPLE_MS)
  const look = setInterval(() => {
    for (const member of fleet.members)
      if (member.alive)
        void member.told().then((told) => {
          const own = told?.members.find((one) => one.own)
          if (told && own) lapses.set(own.instance, told.lapses)
        })
  }, LOOK_MS)
  return {
    chaos: () => void (now = chaos),
    end() {
      clearInterval(sample)
      clearInterval(look)
      return { calm, chaos, lapses: [...lapses.values()].reduce((sum, one) => sum + one, 0) }
    },
  }
}

function report(of: {
  fleet: ChaosFleet
  faults: number
  calm: Met
  chaos: Met
  lapses: number
  seconds: number
  seed: number
  rpm: string | undefined
}): void {
  const { ledger, members } = of.fleet
  for (const { atMs, inflight, by } of ledger.excesses)
    process.stderr.write(`${atMs.toFixed(0)} ms: ${inflight} in flight, ${JSON.stringify(by)}\n`)
  const ends = new Map<string, number>()
  for (const one of members)
    for (const [how, many] of one.ends) ends.set(how, (ends.get(how) ?? 0) + many)
  const met = ({ used, could }: Met): string => `${((100 * used) / could).toFixed(1)} %`
  const told = [...ends].map(([how, many]) => `${how} ${many}`)
  console.log(
    markdownTable([
      [`${of.seconds} s, seed ${of.seed}`, 'measured', 'asked'],
      ['faults', String(of.faults), ''],
      ['calls that began', String(ledger.starts.length), ''],
      ['most in flight at the provider', String(ledger.most()), `≤ ${LIMIT}`],
      ['times that it was more', String(ledger.excesses.length), '0'],
      ['demand met, calm', met(of.calm), of.rpm === undefined ? '≥ 97 %' : ''],
      ['demand met, chaos', met(of.chaos), of.rpm === undefined ? '≥ 80 %' : ''],
      ['lapses', String(of.lapses), ''],
      ['how calls ended', told.join(', '), ''],
      ...(of.rpm === undefined ? [] : quotaRows(Number(of.rpm), ledger.starts, members.length)),
    ]),
  )
}

function quotaRows(rpm: number, starts: readonly number[], members: number): string[][] {
  const rate = quotaRate(rpm)
  const most = burstOf(starts, rate.perSecond)
  const asked = `≤ ${(rate.burst + members).toFixed(0)}`
  return [
    ['most started beyond rate × window', `${most.units.toFixed(1)}, in ${(most.ms / 1_000).toFixed(1)} s`, asked],
    ['of the quota, over the run', `${((100 * starts.length) / (rate.perSecond * (((starts.at(-1) ?? 0) - (starts[0] ?? 0)) / 1_000))).toFixed(1)} %`, ''],
  ] // prettier-ignore
}
