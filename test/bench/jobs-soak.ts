/** `npm run bench -- jobs-soak [--jobs N] [--kills N] [--seed N]`: durable jobs of fifty tenants in three lanes, while
 *  schedulers and the server are killed at random moments; at the end, what the store, the results and the provider's
 *  own ledger say. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { connect, headers, type MsgHdrs } from '@nats-io/transport-node'
import { seededDice } from '#core/estimators/dice'
import { HEADER } from '#contracts/messages'
import { startSimulatedProvider } from '../../services/simulated-provider/listener.ts'
import { natsServer } from '../support/nats-server.ts'
import { launch, type Program } from '../support/program.ts'
import { sayTable } from './report.ts'

const TENANTS = 50
const LANES = ['premium', 'interactive', 'batch']
const SCHEDULERS = 2
const SUBMITTERS = 24
const DAY = '86400000'
/** A kill of the server for so many of schedulers. */
const SERVER_EVERY = 5
/** What a fetch says of a job that has no result yet. */
const NOT_YET = 'refused pending'

interface Result {
  /** Times that it was heard on its subject; 0: it was asked for first. */
  heard: number
  outcome: string
  ambiguous: number
}

export async function benchJobsSoak(args: readonly string[]): Promise<boolean> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      jobs: { type: 'string', default: '20000' },
      kills: { type: 'string', default: '100' },
      seed: { type: 'string', default: '1' },
    },
  })
  const [jobs, kills] = [Number(values.jobs), Number(values.kills)]
  const dice = seededDice(Number(values.seed))
  const dir = await mkdtemp(join(tmpdir(), 'headgate-soak-'))
  const provider = await startSimulatedProvider({
    ...{ ttftMs: 60, tokensPerSecond: 0, outputTokens: 2, capacity: 64, ledgerMax: 4 * jobs },
  })
  const nats = await natsServer({ dir })
  const nc = await connect({ servers: nats.url, maxReconnectAttempts: -1, reconnectTimeWait: 50 })
  const results = new Map<string, Result>()
  nc.subscribe('llm.v1.result.>', {
    callback: (_, { subject, headers: of, data }) => {
      const id = subject.split('.').at(-1) ?? ''
      const before = results.get(id)
      results.set(id, {
        heard: (before?.heard ?? 0) + 1,
        outcome: outcomeOf({ headers: of, data }),
        ambiguous: Number(of?.get(HEADER.ambiguous) || 0),
      })
    },
  })

  const living: Program[] = []
  const start = async (): Promise<void> => {
    const program = launch('scheduler', {
      NATS_URL: nats.url,
      ANTHROPIC_BASE_URL: provider.url,
      ANTHROPIC_API_KEY: 'sk-soak',
      HEADGATE_HTTP_PORT: '0',
    })
    living.push(program)
    await program.told
  }
  await Promise.all(Array.from({ length: SCHEDULERS }, start))

  const began = performance.now()
  let next = 0
  let accepted = 0
  const submit = async (): Promise<void> => {
    for (let n = next++; n < jobs; n = next++) {
      const all = headers()
      all.set(HEADER.id, `j${n}`)
      all.set(HEADER.deadline, DAY)
      const lane = LANES[n % LANES.length]
      const body = JSON.stringify({
        ...{ model: 'claude-sonnet-4-5', max_tokens: 16, metadata: { user_id: `j${n}` } },
        messages: [{ role: 'user', content: `order ${n}` }],
      })
      // As a caller does that has no receipt: the same again.
      for (;;) {
        const answer = await nc
          .request(`llm.v1.submit.t${n % TENANTS}.${lane}`, body, { headers: all, timeout: 3_000 })
          .catch(() => null)
        if (answer?.json<{ accepted?: boolean }>().accepted === true) break
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
      accepted += 1
    }
  }
  const submitting = Promise.all(Array.from({ length: SUBMITTERS }, submit))

  /** Spread over the time that the jobs take. */
  const cut = { schedulers: 0, server: 0 }
  for (let n = 1; n <= kills; n++) {
    const due = (jobs * n) / (kills + 1)
    while (results.size < due && !finished()) await new Promise((resolve) => setTimeout(resolve, 5))
    await new Promise((resolve) => setTimeout(resolve, dice.next() * 100))
    if (n % SERVER_EVERY === 0) {
      cut.server += 1
      await nats.kill('SIGKILL')
      await nats.restart()
    } else {
      cut.schedulers += 1
      const victim = living.splice(Math.floor(dice.next() * living.length), 1)[0]
      await victim?.kill()
      await start()
    }
    process.stdout.write(`\r${n} kills, ${accepted} accepted, ${results.size} results `)
  }
  await submitting
  const patience = performance.now() + 120_000
  /** A result that was published while the server was away was heard by nobody; it is kept. */
  const missing = (): string[] =>
    Array.from({ length: jobs }, (_, n) => `j${n}`).filter((id) => !results.has(id))
  for (let left = missing(); left.length > 0 && performance.now() < patience; left = missing())
    for (const id of left) {
      const tenant = `t${Number(id.slice(1)) % TENANTS}`
      const answer = await nc
        .request(`llm.v1.fetch.${tenant}.${id}`, '', { timeout: 5_000 })
        .catch(() => null)
      const outcome = answer === null ? NOT_YET : outcomeOf(answer)
      // It may have been published meanwhile.
      if (outcome !== NOT_YET && !results.has(id))
        results.set(id, {
          ...{ heard: 0, outcome },
          ambiguous: Number(answer?.headers?.get(HEADER.ambiguous) || 0),
        })
    }
  const seconds = (performance.now() - began) / 1_000

  function finished(): boolean {
    return accepted === jobs && results.size === jobs
  }

  const ran = new Map<string, number>()
  for (const { user, executed } of provider.ledger().entries)
    if (executed && user !== null) ran.set(user, (ran.get(user) ?? 0) + 1)
  const beyond = [...ran.values()].reduce((sum, times) => sum + times - 1, 0)
  const told = [...results.values()].reduce((sum, { ambiguous }) => sum + ambiguous, 0)
  const twice = [...results.values()].filter(({ heard }) => heard > 1).length
  const outcomes = new Map<string, number>()
  for (const { outcome } of results.values())
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
  const lost = missing().length
  sayTable('durable jobs, killed again and again', [
    ['what', 'figure'],
    ['jobs accepted', String(accepted)],
    ['schedulers killed', String(cut.schedulers)],
    ['server killed', String(cut.server)],
    ['jobs without a result', String(lost)],
    ['jobs with more than one', String(twice)],
    ['outcomes', [...outcomes].map(([name, count]) => `${name} ${count}`).join(', ')],
    ['executions beyond one', String(beyond)],
    ['calls under way at the kills, as told in the results', String(told)],
    ['seconds', seconds.toFixed(0)],
    ['jobs per second', (jobs / seconds).toFixed(0)],
  ])
  await Promise.all(living.map((one) => one.kill()))
  await nc.close()
  await nats.stop('SIGKILL')
  await provider.close()
  await rm(dir, { recursive: true, force: true })
  return lost === 0 && twice === 0 && beyond <= told
}

/** With the code, of one that is not an answer. */
function outcomeOf(of: { headers?: MsgHdrs | undefined; data: Uint8Array }): string {
  const { headgate } = JSON.parse(new TextDecoder().decode(of.data)) as {
    headgate?: { code?: string }
  }
  return [of.headers?.get(HEADER.outcome), headgate?.code].filter(Boolean).join(' ')
}
