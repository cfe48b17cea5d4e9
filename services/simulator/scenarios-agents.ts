/** Calls that share prompts: agents that start many calls at once with the same long beginning, and conversations of
 *  which each turn begins with all that was said before. */
import type { Millis, Seconds, Tokens } from '#contracts/units'
import { inputPaid } from './cache-figures.ts'
import { exponential, seeded, type Throw } from './chance.ts'
import type { Run } from './figures.ts'
import { sixty, type Part, type Scenario } from './scenario.ts'
import { merged, TOKENS_PER_SECOND, type Arrival, type Source } from './workload.ts'

/** A group of siblings each so often, all within a moment, with one prefix. */
const GROUPS = { every: 5, siblings: 20, within: 0.2, tenants: 4, prefix: 30_000, own: 500 }
/** Conversations begin by chance; each turn comes so long after the one before, and is longer by what was said. */
const TALKS = {
  ...{ perSecond: 0.15, turns: 6, least: 20, mean: 40, tenants: 6 },
  ...{ first: 3_000, grows: 2_500, own: 50 },
}
const TTFT = { least: 1.2, most: 1.8 }
/** Output tokens of an answer, evenly. */
const OUTPUT = { least: 200, most: 600 }
const MAX_TOKENS: Tokens = 1_024
const UNTIL: Seconds = 1_200

function groups(seed: number, until: Seconds): Source {
  const dice = seeded(seed, 'agents')
  const all: Arrival[] = []
  for (let group = 0; group * GROUPS.every < until; group++)
    for (let i = 0; i < GROUPS.siblings; i++)
      all.push(
        arrival(group * GROUPS.every + GROUPS.within * dice(), dice, {
          tenant: `agents${group % GROUPS.tenants}`,
          lane: 'interactive',
          marked: { name: `g${group}`, tokens: GROUPS.prefix },
          own: GROUPS.own,
        }),
      )
  return inOrder(all)
}

function talks(seed: number, until: Seconds): Source {
  const dice = seeded(seed, 'conversations')
  const all: Arrival[] = []
  let talk = 0
  for (let at = 0; at < until; at += exponential(1 / TALKS.perSecond, dice)) {
    talk++
    let turnAt = at
    for (let turn = 0; turn < TALKS.turns && turnAt < until; turn++) {
      all.push(
        arrival(turnAt, dice, {
          tenant: `people${talk % TALKS.tenants}`,
          lane: 'premium',
          marked: { name: `c${talk}`, tokens: TALKS.first + turn * TALKS.grows },
          own: TALKS.own,
        }),
      )
      turnAt += TALKS.least + exponential(TALKS.mean - TALKS.least, dice)
    }
  }
  return inOrder(all)
}

function arrival(
  at: Seconds,
  dice: Throw,
  of: { tenant: string; lane: string; marked: { name: string; tokens: Tokens }; own: Tokens },
): Arrival {
  const { tenant, lane, marked, own } = of
  const outputTokens = Math.round(evenly(OUTPUT, dice))
  const ttftMs: Millis = Math.round(1_000 * evenly(TTFT, dice))
  const asked = { tenant, lane, model: 'claude', stream: true, maxTokens: MAX_TOKENS, marked }
  const serviceMs = ttftMs + Math.round((1_000 * outputTokens) / TOKENS_PER_SECOND)
  return {
    at: Math.round(at * 1_000),
    asked: { ...asked, deadlineMs: 120_000 },
    work: { serviceMs, ttftMs, inputTokens: marked.tokens + own, outputTokens },
  }
}

const evenly = ({ least, most }: { least: number; most: number }, dice: Throw): number =>
  least + dice() * (most - least)

function inOrder(all: Arrival[]): Source {
  const sorted = all.toSorted((a, b) => a.at - b.at)
  let next = 0
  return { next: () => sorted[next++] ?? null }
}

const waiting = (name: string, waitMs: Millis): Part => ({
  name,
  until: UNTIL,
  config: {
    scheduling: { prefix_wait_ms: waitMs },
    tenants: { default: { max_inflight: 60 } },
  },
  source: (seed, until) => merged([groups(seed, until), talks(seed, until)]),
  provider: sixty,
  unit: 'work',
})

const readShare = (run: Run): number =>
  run.ratio(
    ({ prompts }) => prompts.read,
    ({ prompts }) => prompts.read + prompts.written,
  )

export const agents: Scenario = {
  name: 'agents',
  title:
    'groups of 20 calls with one prompt of 30,000 tokens, and conversations that grow; with `scheduling.prefix_wait_ms` 0 (`off_`), 1,000 (`short_`) and 5,000',
  parameters: [],
  policies: ['headgate', 'sdk', 'queue'],
  parts: () => [waiting('off', 0), waiting('short', 1_000), waiting('long', 5_000)],
  figures(run) {
    const [off, short, long] = [run.part(0), run.part(1), run.part(2)]
    return {
      paid_of_off: inputPaid(long) / inputPaid(off),
      short_paid_of_off: inputPaid(short) / inputPaid(off),
      read_share: readShare(long),
      off_read_share: readShare(off),
      wait_p50_s: long.wait('interactive', 0.5),
      off_wait_p50_s: off.wait('interactive', 0.5),
      wait_p99_s: long.wait('interactive', 0.99),
      talk_wait_p99_s: long.wait('premium', 0.99),
      off_talk_wait_p99_s: off.wait('premium', 0.99),
    }
  },
  must: () => ({
    paid_of_off: '<= 0.2',
    read_share: '>= 0.9',
    wait_p50_s: '<= 2',
    wait_p99_s: '<= 5',
    talk_wait_p99_s: '<= 1',
  }),
}
