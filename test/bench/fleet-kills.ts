/** `npm run bench -- fleet-kills [--kills N] [--seed N] [--per-second N]`: three schedulers under plain calls and streams,
 *  of which one after the other is killed and started anew; what their callers see of it, by the client, its relay and
 *  the door that stands apart. */
import { parseArgs } from 'node:util'
import { seededDice } from '#core/estimators/dice'
import { startSimulatedProvider } from '../../services/simulated-provider/listener.ts'
import { openFleet, type Call, type Ended, type Fleet, type Way } from '../support/fleet.ts'
import { quantile, sayTable } from './report.ts'

const SCHEDULERS = 3
const WAYS: readonly Way[] = ['client', 'relay', 'door']
/** Wide enough for all calls on two instances: what is measured is no queue. */
const YAML = `llm_gateway: { max_inflight_global: 400, max_inflight_per_tenant: 400 }
concurrency_limit: { initial: 200, ceiling: 400 }
`
/** Of the provider's answers. */
const ANSWERS = { ttftMs: 300, tokensPerSecond: 60, outputTokens: 40 }

/** One call and what became of it. */
interface Row extends Ended {
  call: Call
  begun: boolean
  tookMs: number
  /** From the last kill to its end. */
  sinceKillMs: number
  /** It was asked when whoever was killed had been dead for a while, and nobody else died in its time. */
  later: boolean
}

export async function benchFleetKills(args: readonly string[]): Promise<boolean> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      kills: { type: 'string', default: '100' },
      seed: { type: 'string', default: '1' },
      'per-second': { type: 'string', default: '50' },
    },
  })
  const kills = Number(values.kills)
  const dice = seededDice(Number(values.seed))
  const provider = await startSimulatedProvider({ ...ANSWERS, ledgerMax: 1_000_000 })
  const fleet = await openFleet({ upstream: provider.url, yaml: YAML, schedulers: SCHEDULERS })
  const load = offer(fleet, Number(values['per-second']))
  for (let n = 1; n <= kills; n++) {
    await pause(500 + dice.next() * 1_000)
    const victim = fleet.members[Math.floor(dice.next() * fleet.members.length)]
    const under = load.open()
    load.killed()
    if (victim !== undefined) fleet.end(victim, 'SIGKILL')
    await fleet.start()
    // Nobody's call meets two deaths.
    await Promise.all(under.map(({ ended }) => ended))
    process.stderr.write(`\r${n} kills, ${load.rows.length} calls `)
  }
  await load.end()
  process.stderr.write('\n')
  const ran = new Map<string, number>()
  for (const { user, executed } of provider.ledger().entries)
    if (executed && user !== null) ran.set(user, (ran.get(user) ?? 0) + 1)
  const good = say(load.rows, { kills, ran })
  await fleet.close()
  await provider.close()
  return good
}

/** So long after a kill the server knows. */
const DEAD_MS = 500

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** As many plain calls as streams, by each way in turn, whatever becomes of those before. */
function offer(fleet: Fleet, perSecond: number) {
  const rows: Row[] = []
  const open = new Map<Call, Promise<void>>()
  const began = performance.now()
  let killedAt = began
  let asked = 0
  const ask = (stream: boolean): void => {
    const at = performance.now()
    const later = killedAt < at - DEAD_MS
    const id = `c${asked++}`
    const call = fleet.ask({
      id,
      way: WAYS[Math.floor(asked / 2) % WAYS.length] ?? 'client',
      stream,
    })
    let begun = false
    void call.begun.then(() => (begun = true))
    const over = call.ended
      .catch((error: Error): Ended => ({ how: error.message, ambiguous: 0 }))
      .then((ended) => {
        open.delete(call)
        const now = performance.now()
        rows.push({
          ...ended,
          call,
          begun,
          tookMs: now - at,
          sinceKillMs: now - killedAt,
          later: later && killedAt < at,
        })
      })
    open.set(call, over)
  }
  // A crowded machine is late with a timer; what is due is due.
  const timer = setInterval(() => {
    while (asked < ((performance.now() - began) / 1_000) * 2 * perSecond) {
      ask(false)
      ask(true)
    }
  }, 1_000 / perSecond)
  return {
    rows,
    open: () => [...open.keys()],
    killed: () => void (killedAt = performance.now()),
    async end() {
      clearInterval(timer)
      await Promise.all(open.values())
    },
  }
}

/** True: whoever could be spared was spared. */
function say(
  rows: readonly Row[],
  of: { kills: number; ran: ReadonlyMap<string, number> },
): boolean {
  const failed = rows.filter(({ how }) => how !== 'completed')
  const plain = failed.filter(({ call }) => !call.stream)
  const notBegun = failed.filter(({ call, begun }) => call.stream && !begun)
  const begun = failed.filter((row) => row.call.stream && row.begun)
  const twice = rows.filter(({ call }) => call.ends() > 1)
  const saved = rows.filter(({ how, ambiguous }) => how === 'completed' && ambiguous > 0)
  const beyond = [...of.ran.values()].filter((times) => times > 1).length
  const codes = new Map<string, number>()
  for (const { how } of failed) codes.set(how, (codes.get(how) ?? 0) + 1)
  const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`
  const took = (some: readonly Row[], q: number, what: 'tookMs' | 'sinceKillMs'): string =>
    some.length === 0
      ? '-'
      : seconds(
          quantile(
            some.map((row) => row[what]),
            q,
          ),
        )
  sayTable('three schedulers, one after the other killed', [
    ['what', 'figure'],
    ['kills', String(of.kills)],
    ['calls, plain', String(rows.filter(({ call }) => !call.stream).length)],
    ['calls, streamed', String(rows.filter(({ call }) => call.stream).length)],
    ['failed though they could be spared, plain', String(plain.length)],
    ['failed though they could be spared, streamed and not begun', String(notBegun.length)],
    ['failed, streamed and begun', String(begun.length)],
    ['answered twice', String(twice.length)],
    ['how they failed', [...codes].map(([code, n]) => `${code} ${n}`).join(', ') || '-'],
    ['asked again and answered, as far as it is told', String(saved.length)],
    ['of these though their instance lived', String(saved.filter(({ later }) => later).length)],
    ['asked again, from the kill to their answer, median', took(saved, 0.5, 'sinceKillMs')],
    ['and longest', took(saved, 1, 'sinceKillMs')],
    ['broken streams from the kill to that word, longest', took(begun, 1, 'sinceKillMs')],
    ['ran twice at the provider', String(beyond)],
    ['all calls took, median', took(rows, 0.5, 'tookMs')],
    ['and p99', took(rows, 0.99, 'tookMs')],
  ])
  return plain.length === 0 && notBegun.length === 0 && twice.length === 0
}
