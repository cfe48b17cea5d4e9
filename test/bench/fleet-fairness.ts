/** `npm run bench -- fleet-fairness [--seconds N] [--seed N]`: 20 tenants of whom one asks 50 times what each of the
 *  others asks, before one scheduler and before three that divide the same limits. One Markdown table on stdout. */
import { parseArgs } from 'node:util'
import { setTimeout as after } from 'node:timers/promises'
import { connectHeadgate, type Headgate } from '#client'
import { seededDice, type Dice } from '#core/estimators/dice'
import { markdownTable } from '#simulator/overload'
import { startBenchFleet } from './bench-fleet.ts'
import { quantile } from './report.ts'
import { start } from './wire-cost.ts'

const SLOTS = 60
const TENANTS = 20
const GREEDY = 50
const MEMBERS = [1, 3] as const
/** Of an answer. */
const SERVICE = { meanMs: 1_000, variation: 0.3 }
/** Of one quiet tenant, calls a second: half of its part of the slots. */
const QUIET_PER_SECOND = (0.5 * SLOTS) / TENANTS
/** Of one quiet tenant in the second part, calls that it keeps open: several times its part of the slots. */
const QUIET_OPEN = 24
const WARM_MS = 5_000
/** Quiet calls that are asked later might not be over. */
const TAIL_MS = 5_000

/** Of every second tenant: twice the others'. */
const weightOf = (tenant: number): number => 1 + (tenant % 2)
const nameOf = (tenant: number): string => `t${tenant}`
/** The first asks most. */
const asksOf = (tenant: number): number => (tenant === 0 ? GREEDY : 1)

const YAML = [
  `llm_gateway: { max_inflight_global: ${SLOTS}, max_inflight_per_tenant: ${SLOTS} }`,
  `concurrency_limit: { initial: ${SLOTS}, ceiling: ${SLOTS} }`,
  'lanes: { interactive: { queue_max: 1000000 } }',
  'tenants:',
  ...Array.from({ length: TENANTS }, (_, i) => `  ${nameOf(i)}: { weight: ${weightOf(i)} }`),
  '',
].join('\n')

interface Call {
  tenant: number
  /** From the beginning of the run. */
  atMs: number
  serviceMs: number
}

interface Answered extends Call {
  tookMs: number
  endedMs: number
}

interface Figures {
  /** Of the quiet tenants' calls. */
  p99Ms: number
  waitP99Ms: number
  quiet: number
  jain: number
  jainCalls: number
}

export async function benchFleetFairness(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seconds: { type: 'string', default: '60' },
      seed: { type: 'string', default: '1' },
    },
  })
  const of = { seconds: Number(values.seconds), seed: Number(values.seed) }
  const figures: Figures[] = []
  for (const members of MEMBERS) {
    const paced = await measure(members, of, (fleet) => open(fleet, of))
    const kept = await measure(members, of, (fleet) => keepOpen(fleet, of))
    figures.push({ ...quietFigures(paced, of.seconds), ...jainOf(kept) })
  }
  report(figures as [Figures, Figures])
}

interface Callers {
  tenants: readonly Headgate[]
  ask(call: Call): Promise<void>
  now(): number
}

/** Gives what was answered. */
async function measure(
  members: number,
  { seconds, seed }: { seconds: number; seed: number },
  load: (callers: Callers) => Promise<void>,
): Promise<Answered[]> {
  process.stderr.write(`${members} scheduler${members > 1 ? 's' : ''}, ${seconds} s\n`)
  // It has slots without end, and no storm before it is told to begin one.
  const upstream = await start('./overload-upstream.ts', [String(seed), '1', 'Infinity'], {})
  const fleet = await startBenchFleet({
    members,
    upstream: String(upstream.told['url']),
    yaml: YAML,
  })
  const client = await connectHeadgate({ servers: fleet.nats.url, tenant: 'bench' })
  try {
    const answered: Answered[] = []
    const tenants = Array.from({ length: TENANTS }, (_, i) => client.as(nameOf(i)))
    const began = performance.now()
    const now = (): number => performance.now() - began
    await load({ tenants, now, ask: (call) => ask(tenants[call.tenant]!, call, { answered, now }) })
    return answered
  } finally {
    await client.close()
    await fleet.close()
    upstream.child.kill('SIGTERM')
  }
}

let asked = 0
async function ask(
  tenant: Headgate,
  call: Call,
  to: { answered: Answered[]; now: () => number },
): Promise<void> {
  const from = to.now()
  const body = {
    ...{ model: 'claude-bench', max_tokens: 64 },
    metadata: { user_id: `${asked++}-${Math.round(call.serviceMs)}` },
    messages: [{ role: 'user', content: 'Say hello.' }],
  }
  try {
    await tenant.request(JSON.stringify(body), { lane: 'interactive' })
    const endedMs = to.now()
    to.answered.push({ ...call, endedMs, tookMs: endedMs - from })
  } catch {
    // The run is over: who still waits is told so.
  }
}

/** Lognormal. */
function serviceOf(dice: Dice): number {
  const sigma = Math.sqrt(Math.log(1 + SERVICE.variation ** 2))
  const normal = Math.sqrt(-2 * Math.log(1 - dice.next())) * Math.cos(2 * Math.PI * dice.next())
  return SERVICE.meanMs * Math.exp(sigma * normal - sigma ** 2 / 2)
}

/** Nobody waits for an answer before asking the next: Poisson arrivals, more than there are slots for. */
async function open(callers: Callers, of: { seconds: number; seed: number }): Promise<void> {
  const calls = Array.from({ length: TENANTS }, (_, tenant) => arrivals(tenant, of)).flat()
  for (const call of calls.toSorted((a, b) => a.atMs - b.atMs)) {
    const early = call.atMs - callers.now()
    if (early > 1) await after(early)
    void callers.ask(call)
  }
}

function arrivals(tenant: number, { seconds, seed }: { seconds: number; seed: number }): Call[] {
  const dice = seededDice(seed * 1_000 + tenant)
  const meanMs = 1_000 / (QUIET_PER_SECOND * asksOf(tenant))
  const calls: Call[] = []
  for (let atMs = 0; ;) {
    atMs -= meanMs * Math.log(1 - dice.next())
    if (atMs > seconds * 1_000) return calls
    calls.push({ tenant, atMs, serviceMs: serviceOf(dice) })
  }
}

/** Everybody always has more open than its part of the slots. */
async function keepOpen(callers: Callers, of: { seconds: number; seed: number }): Promise<void> {
  const line = async (tenant: number, dice: Dice): Promise<void> => {
    while (callers.now() < of.seconds * 1_000)
      await callers.ask({ tenant, atMs: callers.now(), serviceMs: serviceOf(dice) })
  }
  for (let tenant = 0; tenant < TENANTS; tenant++) {
    const dice = seededDice(of.seed * 1_000 + tenant)
    for (let i = 0; i < QUIET_OPEN * asksOf(tenant); i++) void line(tenant, dice)
  }
  await after(of.seconds * 1_000)
}

function quietFigures(all: readonly Answered[], seconds: number) {
  const quiet = all.filter(
    ({ tenant, atMs }) => tenant !== 0 && atMs > WARM_MS && atMs < seconds * 1_000 - TAIL_MS,
  )
  return {
    quiet: quiet.length,
    p99Ms: quantile(quiet.map(({ tookMs }) => tookMs), 0.99),
    waitP99Ms: quantile(quiet.map(({ tookMs, serviceMs }) => tookMs - serviceMs), 0.99),
  } // prettier-ignore
}

/** Over the tenants' service, each divided by its weight (Jain, Chiu, Hawe 1984). */
function jainOf(all: readonly Answered[]) {
  const served = Array.from({ length: TENANTS }, () => 0)
  const counted = all.filter(({ endedMs }) => endedMs > WARM_MS)
  for (const { tenant, serviceMs } of counted) served[tenant]! += serviceMs / weightOf(tenant)
  const sum = served.reduce((a, b) => a + b, 0)
  const squares = served.reduce((a, b) => a + b * b, 0)
  return { jain: sum ** 2 / (TENANTS * squares), jainCalls: counted.length }
}

function report([one, three]: [Figures, Figures]): void {
  const ms = (value: number): string => `${value.toFixed(0)} ms`
  const ratio = (three.p99Ms / one.p99Ms).toFixed(2)
  console.log(
    markdownTable([
      ['', 'one scheduler', 'three', 'asked'],
      ['quiet tenants: calls counted', String(one.quiet), String(three.quiet), ''],
      ['quiet tenants: answered after, P99', ms(one.p99Ms), `${ms(three.p99Ms)}, ${ratio}x`, '≤ 1.2x'],
      ['quiet tenants: of it not their own service, P99', ms(one.waitP99Ms), ms(three.waitP99Ms), ''],
      ['all backlogged: calls answered', String(one.jainCalls), String(three.jainCalls), ''],
      ['all backlogged: Jain index of service by weight', one.jain.toFixed(3), three.jain.toFixed(3), '≥ 0.97'],
    ]),
  ) // prettier-ignore
}
