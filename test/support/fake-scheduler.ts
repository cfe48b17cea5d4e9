/** A Scheduler and an Operator that write down what they hear; the test plays their part. */
import type { Accounting, CancelAnswer, StatusAnswer } from '#contracts/messages'
import { OperatorError, type Incoming, type Operator, type Scheduler } from '#ports'
import { heard, type Heard } from './heard.ts'
import { noUsage } from './no-usage.ts'

type Malformed = Parameters<Scheduler['malformed']>[0]
type Dropped = Parameters<Scheduler['dropped']>[0]

export interface FakeScheduler extends Scheduler {
  requests: Heard<Incoming>
  refused: Heard<Malformed>
  drops: Heard<Dropped>
  cancelled: Heard<string>
  left: Heard<string>
  /** Ids that this instance holds, as `<tenant>/<id>`. */
  known: Map<string, { cancel: CancelAnswer; status: StatusAnswer }>
}

export function fakeScheduler(): FakeScheduler {
  const requests = heard<Incoming>()
  const refused = heard<Malformed>()
  const drops = heard<Dropped>()
  const cancelled = heard<string>()
  const left = heard<string>()
  const known: FakeScheduler['known'] = new Map()
  return {
    requests,
    refused,
    drops,
    cancelled,
    left,
    known,
    request: (incoming) => requests.add(incoming),
    malformed(of) {
      refused.add(of)
      const { id, model, refusal, reply } = of
      const none = { servedBy: 'none', attempts: 0, upstreamRequestId: null } as const
      reply.refuse(refusal, accounted({ id, model, outcome: 'refused', ...none }), null)
    },
    dropped: (of) => drops.add(of),
    cancel(tenant, id) {
      cancelled.add(`${tenant}/${id}`)
      return known.get(`${tenant}/${id}`)?.cancel ?? null
    },
    gone: (tenant, id) => left.add(`${tenant}/${id}`),
    status: (tenant, id) => known.get(`${tenant}/${id}`)?.status ?? null,
    check: () => null,
  }
}

export const accounted = (of: Partial<Accounting> = {}): Accounting => ({
  id: 'r_1',
  outcome: 'completed',
  servedBy: 'upstream',
  model: 'claude-x',
  attempts: 1,
  preemptions: 0,
  queueMs: 12,
  upstreamMs: 340,
  totalMs: 352,
  upstreamRequestId: 'req_1',
  inputTokens: 10,
  outputTokens: 20,
  ...of,
})

export function fakeOperator(instance: string): Operator {
  let emergency = false
  return {
    snapshot: () => ({ instance, emergency }),
    async config(yaml) {
      if (yaml !== null && yaml.includes('bad')) throw new OperatorError('bad: unknown key')
      return { applied: yaml !== null }
    },
    async emergency(on) {
      emergency = on
      return { emergency }
    },
    lane: async (of) => of,
    status: async () => null,
    cancel: async () => null,
    jobs: async () => ({ jobs: [], next: null }),
    budgets: () => Promise.resolve({ budgets: [], more: false }),
    usage: noUsage,
    upstream: async (name) => ({ upstream: name, testing: false }),
    async drain() {
      throw new Error('a bug')
    },
  }
}
