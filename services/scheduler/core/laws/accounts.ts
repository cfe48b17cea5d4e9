/** Whether a tenant may pay for what it asks (control-laws §21): rates a minute, and budgets of a day or month.
 *
 *  What a call is expected to use is taken when it starts, and put right when it has answered. A tenant at its edge
 *  stands out of every queue until more comes, so that nobody else waits for it; or its request is refused.
 *  Bound: over any window w a tenant uses at most rate x w + ACCOUNT_BURST of each limit, and what its calls in
 *  flight were expected to use too little; of a budget, only that. */
import { paidFor } from '#contracts/cost'
import { costOfUsage, type MicroUsd, type Price, type Prices } from '#contracts/prices'
import type { Millis, Tokens } from '#contracts/units'
import type { Usage, Verdict } from '#contracts/verdict'
import type { Estimate } from '#core/estimators/cost'
import {
  Account,
  SHARED_ACCOUNT,
  type Allowance,
  type Grant,
  type Payment,
} from '#core/model/account'
import type { Effect, Refused } from '#core/model/effects'
import { partOf } from '#core/model/share'
import type { Attempt, Request, Route, State, Tenant } from '#core/model/state'
import { atEdge, type Bound } from './edges.ts'
import { finish } from './ending.ts'
import { dequeue } from './queueing.ts'
import { reviewParking } from './slots.ts'
import { wakeRoute } from './wakes.ts'

/** Accounts that are looked at in a tick, whether they may be forgotten. */
export const SWEPT = 256
/** Looked at again after so long, whatever it waits for. */
export const HELD_MOST: Millis = 60_000

// ---- whose account ----

/** The account of a tenant with limits, made when it is first asked for; null: it has none. */
export function accountOf(state: State, name: string): Account<Tenant> | null {
  const { tenants } = state.config
  const settings = tenants.named.get(name) ?? tenants.default
  if (settings.limits === null) return null
  const known = state.accounts.get(name)
  if (known !== undefined) return known
  const full = state.accounts.size >= state.config.file.limits.accounts_max
  const own = full && !tenants.named.has(name) ? SHARED_ACCOUNT : name
  let account = state.accounts.get(own)
  if (account === undefined) {
    account = new Account<Tenant>(own, settings.limits, state.now)
    state.accounts.set(own, account)
  }
  return account
}

/** A tenant that is here now. */
export function joinAccount(state: State, tenant: Tenant): void {
  const account = accountOf(state, tenant.name)
  if (account === tenant.account) return
  tenant.account?.members.delete(tenant)
  tenant.account = account
  account?.members.add(tenant)
  reviewParking(state, tenant)
}

/** A changed configuration: other numbers, limits that are new or gone. */
export function configureAccounts(state: State): void {
  for (const account of [...state.waitingAccounts.values()]) release(state, account)
  const { tenants } = state.config
  for (const [name, account] of state.accounts) {
    const { limits } = tenants.named.get(name) ?? tenants.default
    if (limits === null) state.accounts.delete(name)
    else if (limits !== account.limits) account.limit(limits, state.now)
  }
  for (const tenant of state.tenants.values()) joinAccount(state, tenant)
}

/** Once a second: some of those whom nobody uses are forgotten, when they have all that they may save up. */
export function sweepAccounts(state: State, now: Millis): void {
  let left = SWEPT
  for (const [name, account] of state.accounts) {
    if (left-- === 0) return
    state.accounts.delete(name)
    // To the end of the line: each has its turn.
    if (account.members.size > 0 || !isRested(account, now)) state.accounts.set(name, account)
  }
}

const isRested = (account: Account<Tenant>, now: Millis): boolean =>
  account.until === 0 &&
  account.allowances.every(({ window, asked }) => window === null && !asked) &&
  [account.requests, account.inputTokens, account.outputTokens].every(
    (bucket) => bucket.limit === null || bucket.levelAt(now) >= bucket.burst,
  )

// ---- at the door ----

/** An arrival that its tenant cannot pay for in time, or may not wait for; null: it may come. */
export function cannotPay(
  state: State,
  of: {
    tenant: string
    route: Route
    need: Estimate
    deadline: Millis
    now: Millis
    first: boolean
  },
): Refused | null {
  const account = accountOf(state, of.tenant)
  if (account === null) return null
  account.divide(partOf(state.share, of.now), of.now)
  const bound = atEdge(account, of)
  if (bound === null || bound.pending) return null
  if (bound.edge !== 'queue') return bound.refused(bound.until)
  const ends = Math.max(queueEnds(account, of), bound.until)
  // Of a budget there is one end for all; of a rate the others of a fleet have the rest, and may have room.
  const soonest = bound.allowance === null ? of.now + (ends - of.now) * account.part : ends
  return soonest <= of.deadline ? null : bound.refused(ends)
}

/** When the buckets will have had enough for what waits and for this one too. */
function queueEnds(account: Account<Tenant>, of: { need: Estimate; now: Millis }): Millis {
  const { inputTokens, outputTokens } = account
  const ahead = {
    requests: 1,
    inputTokens: Math.min(of.need.inputTokens, inputTokens.burst),
    outputTokens: Math.min(of.need.outputTokens, outputTokens.burst),
  }
  for (const tenant of account.members)
    for (const flow of tenant.flows) {
      ahead.requests += flow.queued
      ahead.inputTokens += flow.ahead.inputTokens
      ahead.outputTokens += flow.ahead.outputTokens
    }
  const longest = (['requests', 'inputTokens', 'outputTokens'] as const).map((what) =>
    account[what].comesIn(ahead[what], of.now),
  )
  return of.now + Math.max(...longest)
}

// ---- at the start ----

/** Whether this request, whose turn it is, may start. False: its tenant waits, or it is refused and gone. */
export function mayPay(
  state: State,
  account: Account<Tenant>,
  of: { request: Request; need: Estimate; now: Millis; effects: Effect[] },
): boolean {
  const { request, need, now, effects } = of
  account.divide(partOf(state.share, now), now)
  const { route, deadline } = request
  const bound = atEdge(account, { route, need, now, first: isFirst(request) })
  if (bound === null) return true
  if (bound.pending) want(account, bound, effects)
  else if (bound.edge !== 'queue' || bound.until > deadline) {
    dequeue(state, request, now)
    finish(state, request, bound.refused(bound.until), effects)
    return false
  }
  hold(state, account, bound, now)
  wakeRoute(route, account.until, now, effects)
  return false
}

/** Tries after the first are the house's: they count as no request of the tenant's. */
export const isFirst = ({ attempts, preemptions }: Request): boolean => attempts + preemptions === 0

/** An attempt takes what it is expected to use. */
export function pay(
  account: Account<Tenant>,
  request: Request,
  of: { need: Estimate; now: Millis; effects: Effect[] },
): Payment {
  const { need, now } = of
  const { price } = request.route
  const { inputTokens, outputTokens } = need
  if (isFirst(request)) account.requests.reserve(1, now)
  account.inputTokens.reserve(inputTokens, now)
  account.outputTokens.reserve(outputTokens, now)
  const usd = price === null ? 0 : inputTokens * price.input + outputTokens * price.output
  const taken = account.allowances.map((allowance) => {
    allowance.open++
    allowance.left -= allowance.budget.unit === 'usd' ? usd : inputTokens + outputTokens
    if (allowance.left < allowance.granted / 2)
      want(account, { allowance, short: allowance.granted }, of.effects)
    return { allowance, window: allowance.window }
  })
  return { account, price, inputTokens, outputTokens, usd, taken }
}

/** The truth about an attempt: what it used is paid, and what it did not use comes back. */
export function settlePayment(
  { config: { prices } }: State,
  request: Request,
  attempt: Attempt,
  of: { verdict: Verdict; preempted: boolean; now: Millis; effects: Effect[] },
): void {
  const { paid, startedAt } = attempt
  if (paid === null) return
  const { verdict, preempted, now, effects } = of
  const { account, price } = paid
  for (const { allowance } of paid.taken) allowance.open--
  const { usage } = verdict
  // It may have run, and nobody knows how far: what was taken stays taken.
  if (usage === null && verdict.mayHaveRun && !preempted) return
  const counted = preempted ? null : usage
  const input = counted === null ? 0 : counted.inputTokens + counted.cacheCreationTokens
  const output = counted?.outputTokens ?? 0
  account.inputTokens.settle(input - paid.inputTokens, startedAt, now)
  account.outputTokens.settle(output - paid.outputTokens, startedAt, now)
  const used =
    counted === null
      ? nothing
      : usedBy(counted, { model: request.route.config.model, price, prices })
  for (const { allowance, window } of paid.taken) {
    // A window that has ended was paid in full when it did.
    if (allowance.window === null || allowance.window !== window) continue
    allowance.left +=
      allowance.budget.unit === 'usd'
        ? paid.usd - used.usd
        : paid.inputTokens + paid.outputTokens - used.tokens
    // A debt is written down at once: others count on what is left.
    if (allowance.left < 0) ask(account, { allowance, short: -allowance.left }, effects)
  }
}

const nothing = { tokens: 0, usd: 0 }

/** All that is paid for, hop by hop; a hop of a model without a price costs what the model asked for does. */
function usedBy(
  usage: Usage,
  of: { model: string; price: Price | null; prices: Prices },
): { tokens: Tokens; usd: MicroUsd } {
  let tokens = 0
  let usd = 0
  for (const hop of paidFor(usage, of)) {
    tokens += hop.inputTokens + hop.cacheCreationTokens + hop.cacheReadTokens + hop.outputTokens
    usd += hop.cost ?? (of.price === null ? 0 : costOfUsage(hop, of.price))
  }
  return { tokens, usd }
}

// ---- waiting ----

function hold(state: State, account: Account<Tenant>, bound: Bound, now: Millis): void {
  // At least a moment later: what is due now would be looked at in this step again.
  account.hold(Math.max(now + 1, Math.min(bound.until, now + HELD_MOST)), bound.waitsFor, now)
  if (account.heapAt < 0) state.waitingAccounts.push(account)
  else state.waitingAccounts.moved(account)
  reviewMembers(state, account)
}

function release(state: State, account: Account<Tenant>): void {
  if (account.heapAt >= 0) state.waitingAccounts.remove(account)
  account.letGo(state.now)
  reviewMembers(state, account)
}

function reviewMembers(state: State, { members }: Account<Tenant>): void {
  for (const tenant of members) {
    for (const flow of tenant.flows) flow.queue.reviewBack(flow)
    reviewParking(state, tenant)
  }
}

/** Those whose time has come stand in the queues again; the next one's time is asked for. */
export function releaseAccounts(state: State, now: Millis, effects: Effect[]): void {
  const { waitingAccounts } = state
  for (let next = waitingAccounts.top(); next !== undefined; next = waitingAccounts.top()) {
    if (next.until > now) {
      const [route] = state.routes.values()
      if (route !== undefined) wakeRoute(route, next.until, now, effects)
      return
    }
    release(state, next)
  }
}

// ---- budgets ----

function want(
  account: Account<Tenant>,
  of: { allowance: Allowance | null; short: number },
  effects: Effect[],
): void {
  const { allowance, short } = of
  if (allowance !== null && !allowance.exhausted) ask(account, { allowance, short }, effects)
}

function ask(
  account: Account,
  { allowance, short }: { allowance: Allowance; short: number },
  effects: Effect[],
): void {
  if (allowance.asked) return
  allowance.asked = true
  effects.push({ type: 'allowance-wanted', account, allowance, short: Math.max(0, short) })
}

/** What the store has granted, or that it did not answer; whoever waits for it is looked at anew. */
export function takeGrant(
  state: State,
  of: { account: string; span: string; unit: string; grant: Grant | null },
): void {
  const account = state.accounts.get(of.account)
  const allowance = account?.allowances.find(
    ({ budget }) => budget.span === of.span && budget.unit === of.unit,
  )
  if (account === undefined || allowance === undefined) return
  allowance.asked = false
  const { grant } = of
  if (grant === null) return
  if (allowance.window !== grant.window) allowance.left = 0
  allowance.window = grant.window
  allowance.left += grant.granted
  allowance.endsAt = grant.endsAt
  allowance.exhausted = grant.exhausted
  allowance.overall = grant.overall
  allowance.whole = grant.whole
  allowance.granted = grant.granted
  if (account.until > 0) release(state, account)
}

/** What is in hand goes back to where it came from; less than nothing where calls took more. Where no call is under
 *  way its window is closed. */
export function giveBack(allowance: Allowance): { window: string; left: number } | null {
  const { window, left } = allowance
  if (window === null) return null
  allowance.left = 0
  allowance.granted = 0
  allowance.exhausted = false
  // Calls that have paid may bring something back.
  if (allowance.open === 0) allowance.window = null
  return { window, left }
}
