/** What may be asked of the scheduler. */
import type { AdminAsk } from '#contracts/admin'
import type { BudgetsAnswer, BudgetsAsk } from '#contracts/budget-ask'
import type { JobsAsk } from '#contracts/jobs'
import type { CancelAnswer, Refusal, StatusAnswer } from '#contracts/messages'
import type { UsageAsk, UsageReport } from '#contracts/usage-report'
import type { Incoming, Reply } from './requests.ts'

/** What a door may ask of the scheduler. */
export interface Scheduler {
  request(incoming: Incoming): void
  /** A request that the door itself had to refuse, so that it is answered, counted and recorded. */
  malformed(of: {
    tenant: string
    lane: string
    id: string
    model: string | null
    refusal: Refusal
    reply: Reply
  }): void
  /** A message that can be answered nowhere. */
  dropped(of: {
    tenant: string
    lane: string
    reason: 'no_reply' | 'reply_not_allowed' | 'bad_subject'
  }): void
  /** Null: this instance does not know the id. */
  cancel(tenant: string, id: string): CancelAnswer | null
  /** The caller's address is dead: nobody wants the answer any more. */
  gone(tenant: string, id: string): void
  /** Null: this instance does not know the id. `brief`: what must be reckoned, as its place in the queue, is
   *  left out. */
  status(tenant: string, id: string, brief?: boolean): StatusAnswer | null
  /** Why it would be refused whenever it came; null: it would not. */
  check(of: Pick<Incoming, 'tenant' | 'lane' | 'model'>): Refusal | null
}

/** What an operator may ask; answers are JSON values. A bad argument throws an `OperatorError`. */
export interface Operator {
  snapshot(): unknown
  /** The configuration in force; given YAML text, puts it in force or refuses it whole. `by` is for the log. */
  config(yaml: string | null, by: string): Promise<unknown>
  emergency(on: boolean): Promise<unknown>
  lane(of: { lane: string; paused: boolean }): Promise<unknown>
  upstream(name: string): Promise<unknown>
  /** Null: neither this instance nor the store of jobs knows the id. */
  status(of: { tenant: string; id: string }): Promise<StatusAnswer | null>
  /** Null: neither this instance nor the store of jobs knows the id, or another instance has it. */
  cancel(of: { tenant: string; id: string }): Promise<CancelAnswer | null>
  jobs(ask: JobsAsk): Promise<unknown>
  usage(ask: UsageAsk): Promise<UsageReport>
  budgets(ask: BudgetsAsk): Promise<BudgetsAnswer>
  /** Starts the drain; answers at once. */
  drain(): Promise<unknown>
}

/** A mistake of the operator's, said so that it can be mended. */
export class OperatorError extends Error {
  override readonly name = 'OperatorError'
}

/** Performs what was asked; a bad argument throws an `OperatorError`. `by` says who asked, as far as the door
 *  knows. */
export async function obey(operator: Operator, ask: AdminAsk, by: string): Promise<unknown> {
  switch (ask.op) {
    case 'snapshot':
      return operator.snapshot()
    case 'config':
      return operator.config(ask.yaml, by)
    case 'emergency':
      return operator.emergency(ask.on)
    case 'lane':
      return operator.lane({ lane: ask.lane, paused: ask.paused })
    case 'upstream':
      return operator.upstream(ask.upstream)
    case 'status':
      return operator.status(ask)
    case 'cancel':
      return operator.cancel(ask)
    case 'jobs':
      return operator.jobs(ask.jobs)
    case 'usage':
      return operator.usage(ask.usage)
    case 'budgets':
      return operator.budgets(ask.budgets)
    case 'drain':
      return operator.drain()
  }
}
