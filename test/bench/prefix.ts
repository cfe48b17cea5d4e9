/** `npm run bench -- prefix`: what calls of agents that share a prompt cost, with `scheduling.prefix_wait_ms` and
 *  without, in virtual time. The provider's cache is read only by who starts after one of the same prefix began to answer. */
import type { AttemptCall } from '#ports'
import { seededDice, type Dice } from '#core/estimators/dice'
import { LoopWorld } from '../support/loop-world.ts'
import { verdictOf, type Act } from '../support/scripted-provider.ts'
import { benchMooncake } from './prefix-mooncake.ts'
import { quantile, sayTable } from './report.ts'

/** Groups of siblings, each of one prefix of its own. */
const GROUPS = 60
const SIBLINGS = 20
const EVERY_MS = 5_000
const WITHIN_MS = 200
const TOKENS = { prefix: 30_000, own: 500, output: 400 }
/** In input prices. */
const PRICE = { write: 1.25, read: 0.1 }
const TTFT_MS = { least: 1_200, most: 1_800 }
const WRITES_PER_S = 80
const CACHED_MS = 300_000

interface Run {
  paid: number
  written: number
  read: number
  waits: number[]
  firstBytes: number[]
  answers: number[]
  ended: number
}

/** Whose prefix is in the cache, and from when to when. */
class PromptCache {
  readonly #from = new Map<string, number>()
  readonly #until = new Map<string, number>()

  has(prefix: string, now: number): boolean {
    return now >= (this.#from.get(prefix) ?? Infinity) && now < (this.#until.get(prefix) ?? 0)
  }

  /** A call will have its first byte then. */
  answers(prefix: string, at: number, now: number): void {
    if (!this.has(prefix, now))
      this.#from.set(prefix, Math.min(at, this.#from.get(prefix) ?? Infinity))
    this.#until.set(prefix, Math.max(at + CACHED_MS, this.#until.get(prefix) ?? 0))
  }
}

export async function benchPrefix(): Promise<void> {
  for (const slots of [120, 30]) {
    const columns: [string, Run][] = []
    for (const waitMs of [0, 1_000, 5_000])
      columns.push([waitMs === 0 ? 'off' : `${waitMs} ms`, await run({ waitMs, slots })])
    const row = (name: string, cell: (of: Run) => string): string[] => [
      name,
      ...columns.map(([, of]) => cell(of)),
    ]
    const millions = (tokens: number): string => `${(tokens / 1e6).toFixed(2)} M`
    const seconds = (ms: number): string => `${(ms / 1_000).toFixed(2)} s`
    const spread = (of: readonly number[]): string =>
      [0.5, 0.95, 1].map((q) => seconds(quantile(of, q))).join(', ')
    sayTable(
      `${GROUPS} groups of ${SIBLINGS} siblings, one each ${EVERY_MS / 1_000} s, ${slots} slots`,
      [
        ['prefix_wait_ms', ...columns.map(([name]) => name)],
        row('answered', ({ ended }) => String(ended)),
        row('prefix tokens written', ({ written }) => millions(written)),
        row('prefix tokens read', ({ read }) => millions(read)),
        row('input paid, in input tokens', ({ paid }) => millions(paid)),
        row('queued: P50, P95, most', ({ waits }) => spread(waits)),
        row('first byte after: P50, P95, most', ({ firstBytes }) => spread(firstBytes)),
        row('answered after: P50, P95, most', ({ answers }) => spread(answers)),
      ],
    )
  }
  await benchMooncake()
}

async function run(of: { waitMs: number; slots: number }): Promise<Run> {
  const dice = seededDice(7)
  const cache = new PromptCache()
  const made: Run = {
    ...{ paid: 0, written: 0, read: 0, ended: 0 },
    ...{ waits: [], firstBytes: [], answers: [] },
  }
  const arrived = new Map<string, number>()
  const world: LoopWorld = new LoopWorld({
    file: {
      scheduling: { prefix_wait_ms: of.waitMs },
      llm_gateway: { max_inflight_global: of.slots },
      concurrency_limit: { initial: of.slots, ceiling: of.slots },
      lanes: { interactive: { cap: 60, queue_max: 10_000 } },
      tenants: { default: { max_inflight: of.slots } },
    },
    script: (_, call) => actOf(call, { world, dice, cache, made, arrived }),
    onEvent(event) {
      if (event.name !== 'request.settled') return
      made.ended++
      made.waits.push(event.data.queue_ms)
      made.answers.push(event.data.total_ms)
    },
  })
  for (let group = 0; group < GROUPS; group++)
    for (let i = 0; i < SIBLINGS; i++) {
      const at = group * EVERY_MS + Math.floor(dice.next() * WITHIN_MS)
      world.clock.after(at, () => {
        const id = `g${group}-${i}`
        arrived.set(id, world.clock.now())
        world.request({ id, tenant: `t${group % 4}`, prefix: `g${group}`, maxTokens: 1_024 })
      })
    }
  await world.pass(GROUPS * EVERY_MS + 120_000)
  world.loop.stop()
  if (world.bugs.length > 0) throw world.bugs[0]
  return made
}

function actOf(
  { id }: AttemptCall,
  of: {
    world: LoopWorld
    dice: Dice
    cache: PromptCache
    made: Run
    arrived: ReadonlyMap<string, number>
  },
): Act {
  const { world, dice, cache, made } = of
  const now = world.clock.now()
  const prefix = id.split('-')[0] ?? id
  const firstByteMs = Math.round(TTFT_MS.least + dice.next() * (TTFT_MS.most - TTFT_MS.least))
  const isRead = cache.has(prefix, now)
  cache.answers(prefix, now + firstByteMs, now)
  made[isRead ? 'read' : 'written'] += TOKENS.prefix
  made.paid += TOKENS.own + TOKENS.prefix * (isRead ? PRICE.read : PRICE.write)
  made.firstBytes.push(now + firstByteMs - (of.arrived.get(id) ?? now))
  const usage = {
    inputTokens: TOKENS.own,
    cacheCreationTokens: isRead ? 0 : TOKENS.prefix,
    cacheReadTokens: isRead ? TOKENS.prefix : 0,
    outputTokens: TOKENS.output,
  }
  return {
    firstByteMs,
    events: ['{"type":"message_start"}'],
    endMs: Math.round((TOKENS.output / WRITES_PER_S) * 1_000 * (0.5 + dice.next())),
    end: verdictOf({ kind: 'ok', status: 200, usage, ttftMs: firstByteMs }),
  }
}
