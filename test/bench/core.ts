/** The core alone: enqueue, dispatch and settle of one task, with many backlogged tenants, beside p-queue
 *  and bottleneck doing the same 20,000 tasks in the same run. */
import Bottleneck from 'bottleneck'
import PQueue from 'p-queue'
import { configFile, resolve } from '#contracts/config'
import { seededDice } from '#core/estimators/dice'
import type { Effect } from '#core/model/effects'
import type { State } from '#core/model/state'
import { emptyState } from '#core/model/make'
import { step } from '#core/step'
import type { Verdict } from '#contracts/verdict'
import { median, sayTable } from './report.ts'

const TASKS = 20_000
const SLOTS = 60

const ok: Verdict = {
  kind: 'ok',
  status: 200,
  errorType: null,
  cause: 'ok',
  retryAfterMs: null,
  requestId: 'req',
  usage: { inputTokens: 200, outputTokens: 100, cacheCreationTokens: 0, cacheReadTokens: 0 },
  ttftMs: 400,
  mayHaveRun: true,
  rate: null,
  body: null,
}

/** Microseconds per task: all are queued, then each settled attempt lets the next one start. `file`: more of a
 *  configuration. */
export function coreRun(tenants: number, tasks = TASKS, file: object = {}): number {
  const { config } = resolve(
    configFile.parse({
      ...file,
      lanes: { interactive: { queue_max: 1_000_000 } },
      llm_gateway: { max_inflight_global: SLOTS },
    }),
  )
  const dice = seededDice(1)
  const state = emptyState(config, 0)
  const names = Array.from({ length: tenants }, (_, i) => `t${i}`)
  const keys = Array.from({ length: tasks }, (_, i) => `${names[i % tenants]}/r${i}`)
  const running: string[] = []
  let now = 0
  const note = (effects: Effect[]): void => {
    for (const e of effects)
      if (e.type === 'start-attempt') running.push(e.request.key)
      else if (e.type === 'allowance-wanted') note(granted(state, e, now, dice))
  }
  const began = performance.now()
  for (let i = 0; i < tasks; i++)
    note(submit(state, { key: keys[i]!, tenant: names[i % tenants]!, id: `r${i}` }, now, dice))
  for (let done = 0; done < tasks; done++) {
    now += 10
    const key = running[done]!
    const route = state.requests.get(key)!.route
    const { limit, gate, peak, heldUntil, slowUntil } = route
    const control = { route: route.id, limit, epoch: 0, gate, peak, heldUntil, slowUntil }
    note(step(state, { type: 'verdict', key, verdict: ok, control }, now, dice))
  }
  if (state.requests.size > 0) throw new Error('not all tasks have ended')
  return ((performance.now() - began) * 1_000) / tasks
}

/** The store, at once: its way is not the core's. */
function granted(
  state: State,
  { account, allowance }: Extract<Effect, { type: 'allowance-wanted' }>,
  now: number,
  dice: ReturnType<typeof seededDice>,
): Effect[] {
  const { span, unit } = allowance.budget
  const grant = {
    window: 'w',
    granted: 1e6,
    endsAt: 1e12,
    exhausted: false,
    overall: 1e12,
    whole: 1e12,
  }
  return step(state, { type: 'allowance', account: account.name, span, unit, grant }, now, dice)
}

const submit = (
  state: State,
  of: { key: string; tenant: string; id: string },
  now: number,
  dice: ReturnType<typeof seededDice>,
): Effect[] =>
  step(
    state,
    {
      type: 'request',
      request: {
        ...of,
        lane: 'interactive',
        model: 'm',
        stream: true,
        maxTokens: 1_024,
        bytes: 800,
        deadlineMs: 86_400_000,
      },
    },
    now,
    dice,
  )

async function pQueueRun(): Promise<number> {
  const queue = new PQueue({ concurrency: SLOTS })
  const began = performance.now()
  const all: Promise<unknown>[] = []
  for (let i = 0; i < TASKS; i++) all.push(queue.add(async () => i))
  await Promise.all(all)
  return ((performance.now() - began) * 1_000) / TASKS
}

async function bottleneckRun(): Promise<number> {
  const limiter = new Bottleneck({ maxConcurrent: SLOTS })
  const began = performance.now()
  const all: Promise<unknown>[] = []
  for (let i = 0; i < TASKS; i++) all.push(limiter.schedule(async () => i))
  await Promise.all(all)
  return ((performance.now() - began) * 1_000) / TASKS
}

export async function benchCore(options: { bottleneck: boolean }): Promise<Record<string, number>> {
  const runs = 7
  const [at1000, at100000, pqueue]: number[][] = [[], [], []]
  for (let i = 0; i < runs; i++) {
    at1000!.push(coreRun(1_000))
    pqueue!.push(await pQueueRun())
    at100000!.push(coreRun(100_000, 100_000))
  }
  const figures = {
    core_1000_tenants_us: median(at1000!),
    core_100000_tenants_us: median(at100000!),
    pqueue_us: median(pqueue!),
    bottleneck_us: options.bottleneck ? await bottleneckRun() : Number.NaN,
  }
  sayTable('core alone: enqueue + dispatch + settle', [
    ['', 'µs per task', 'target'],
    ['core, 1,000 tenants', figures.core_1000_tenants_us.toFixed(2), ''],
    ['core, 100,000 tenants (100,000 tasks)', figures.core_100000_tenants_us.toFixed(2), ''],
    ['p-queue', figures.pqueue_us.toFixed(2), ''],
    ['bottleneck', figures.bottleneck_us.toFixed(0), ''],
    ['core / p-queue', (figures.core_1000_tenants_us / figures.pqueue_us).toFixed(2), '<= 0.25'],
    [
      '100,000 / 1,000',
      (figures.core_100000_tenants_us / figures.core_1000_tenants_us).toFixed(2),
      '<= 5',
    ],
  ])
  return figures
}
