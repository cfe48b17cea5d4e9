/** Calls outside lanes (`count_tokens`, `models`): so many of a kind at once, the rest in a short line. No
 *  tenant holds all of either, so that one whose calls hang, or who asks without end, leaves room for the
 *  others; whose turn it is goes by who has fewest under way, then round the tenants. Whatever happens, a call
 *  is answered exactly once, within its deadline or its own limits.
 *  Cost: a look over the tenants that wait, for each call that starts. */
import { requestKey } from '#contracts/ids'
import { refusal, type Refusal, type UpstreamHeaders } from '#contracts/messages'
import type { AuxKind } from '#contracts/subjects'
import { AUX_KINDS } from '#contracts/subjects'
import type { AuxAnswer as UpstreamAnswer, Clock, Millis } from '#ports'

/** The upstream's answer, or a refusal of ours (a rejected tenant, a drain). */
export type AuxAnswer = UpstreamAnswer | { refusal: Refusal }

/** One call upstream; `signal` takes it back. */
export type AuxCall = (of: {
  kind: AuxKind
  tenant: string
  body: Uint8Array | null
  headers: UpstreamHeaders
  timeoutMs: Millis
  signal: AbortSignal
}) => Promise<AuxAnswer>

/** Each for one kind. */
export interface AuxLimits {
  inflightMax: number
  queuedMax: number
  queuedBytesMax: number
  /** In the line. */
  waitMs: Millis
  /** Upstream. */
  timeoutMs: Millis
}

export interface AuxAsked {
  kind: AuxKind
  tenant: string
  id: string
  body: Uint8Array | null
  headers: UpstreamHeaders
  /** Null: only the limits end it. */
  deadlineMs: Millis | null
  /** `sent`: it had started upstream. */
  answer: (answer: AuxAnswer, sent: boolean) => void
}

export interface AuxCalls {
  ask(asked: AuxAsked): void
  /** Its caller is gone: what ran is taken back. Null: no such call lives here. */
  cancel(tenant: string, id: string): { cancelled: true; state: 'queued' | 'running' } | null
  /** Takes nothing new; resolves when all that was taken is answered. */
  drain(): Promise<void>
  /** Ends what still lives, now. */
  hurry(): void
}

/** Of the places of a kind, what one tenant may hold while it is alone, and while others ask too. */
const SHARE_ALONE = 3 / 4
const SHARE_CONTESTED = 1 / 2

export function auxCalls(of: {
  call: AuxCall
  /** Null: the tenant may ask. */
  mayAsk?: (tenant: string) => Refusal | null
  clock: Pick<Clock, 'after' | 'now'>
  limits: () => AuxLimits
}): AuxCalls {
  const lines = new Map(AUX_KINDS.map((kind) => [kind, new Line({ ...of, kind })]))
  const all = [...lines.values()]
  let drained: Promise<void> | null = null
  return {
    ask(asked) {
      const refused =
        drained === null
          ? (of.mayAsk?.(asked.tenant) ?? null)
          : refusal('draining', 'this instance is stopping')
      if (refused !== null) return asked.answer({ refusal: refused }, false)
      lines.get(asked.kind)?.ask(asked)
    },
    cancel(tenant, id) {
      const was = all.map((line) => line.cancel(requestKey(tenant, id)))
      const state = was.find((one) => one !== null)
      return state == null ? null : { cancelled: true, state }
    },
    drain: () => (drained ??= Promise.all(all.map((line) => line.empty())).then(() => {})),
    hurry() {
      for (const line of all) line.end(() => refusal('draining', 'this instance is stopping'))
    },
  }
}

interface Live extends AuxAsked {
  key: string
  bytes: number
  /** Null: in the line. */
  leaving: AbortController | null
  stopWaiting: () => void
  stopDeadline: () => void
  over: boolean
}

interface Tenant {
  running: number
  waiting: Live[]
  bytes: number
}

class Line {
  readonly #kind: AuxKind
  readonly #call: AuxCall
  readonly #clock: Pick<Clock, 'after' | 'now'>
  readonly #limits: () => AuxLimits
  /** Who has any; in the order in which one of theirs last started or ended. */
  readonly #tenants = new Map<string, Tenant>()
  readonly #live = new Map<string, Set<Live>>()
  #running = 0
  #waiting = 0
  #bytes = 0
  readonly #onEmpty: (() => void)[] = []

  constructor(of: {
    kind: AuxKind
    call: AuxCall
    clock: Pick<Clock, 'after' | 'now'>
    limits: () => AuxLimits
  }) {
    this.#kind = of.kind
    this.#call = of.call
    this.#clock = of.clock
    this.#limits = of.limits
  }

  ask(asked: AuxAsked): void {
    const bytes = asked.body?.length ?? 0
    const tenant = this.#tenants.get(asked.tenant) ?? { running: 0, waiting: [], bytes: 0 }
    const full = this.#mayStart(tenant) ? null : this.#full(tenant, bytes)
    if (full !== null) return asked.answer({ refusal: full }, false)
    this.#tenants.set(asked.tenant, tenant)
    const none = () => {}
    const key = requestKey(asked.tenant, asked.id)
    const live: Live = {
      ...asked,
      key,
      bytes,
      leaving: null,
      stopWaiting: none,
      stopDeadline: none,
      over: false,
    }
    const { waitMs } = this.#limits()
    live.stopWaiting = this.#clock.after(waitMs, () => this.#answer(live, this.#stale()))
    if (asked.deadlineMs !== null)
      live.stopDeadline = this.#clock.after(asked.deadlineMs, () => this.#answer(live, expired()))
    const same = this.#live.get(key) ?? new Set()
    this.#live.set(key, same.add(live))
    tenant.waiting.push(live)
    tenant.bytes += bytes
    this.#bytes += bytes
    this.#waiting += 1
    this.#next()
  }

  cancel(key: string): 'queued' | 'running' | null {
    const same = this.#live.get(key)
    if (same === undefined) return null
    let state: 'queued' | 'running' = 'queued'
    for (const live of [...same]) {
      if (live.leaving !== null) state = 'running'
      this.#answer(live, { refusal: refusal('cancelled', 'the caller is gone') })
    }
    return state
  }

  end(why: () => Refusal): void {
    const all = [...this.#live.values()].flatMap((same) => [...same])
    // Those in the line first: none of them should start.
    for (const live of all) if (live.leaving === null) this.#answer(live, { refusal: why() })
    for (const live of all) this.#answer(live, { refusal: why() })
  }

  empty(): Promise<void> {
    if (this.#live.size === 0) return Promise.resolve()
    return new Promise((resolve) => this.#onEmpty.push(resolve))
  }

  /** Starts whatever may start. */
  #next(): void {
    for (;;) {
      const name = this.#whose()
      if (name === null) return
      const tenant = this.#tenants.get(name) as Tenant
      const live = tenant.waiting[0] as Live
      this.#unqueue(live)
      this.#served(name, tenant)
      this.#start(live, tenant)
    }
  }

  /** Who has fewest under way of those that wait and may; of equals, who was served longest ago. */
  #whose(): string | null {
    let best: { name: string; running: number } | null = null
    for (const [name, tenant] of this.#tenants) {
      if (tenant.waiting.length === 0 || !this.#mayStart(tenant)) continue
      if (tenant.running < (best?.running ?? Infinity)) best = { name, running: tenant.running }
    }
    return best?.name ?? null
  }

  #mayStart(tenant: Tenant): boolean {
    const { inflightMax } = this.#limits()
    if (this.#running >= inflightMax) return false
    const alone = [...this.#tenants.values()].every((one) => one === tenant)
    return tenant.running < part(inflightMax, alone ? SHARE_ALONE : SHARE_CONTESTED)
  }

  /** Null: there is room in the line. */
  #full(tenant: Tenant, bytes: number): Refusal | null {
    const { inflightMax, queuedMax, queuedBytesMax } = this.#limits()
    const own = tenant.waiting.length >= Math.max(1, Math.floor(queuedMax * SHARE_CONTESTED))
    const over =
      (this.#bytes > 0 && this.#bytes + bytes > queuedBytesMax) ||
      (tenant.bytes > 0 && tenant.bytes + bytes > queuedBytesMax * SHARE_CONTESTED)
    if (this.#waiting < queuedMax && !own && !over) return null
    const waiting = own || over ? `${tenant.waiting.length} of the tenant's` : this.#waiting
    return refusal(
      'queue_full',
      `${waiting} ${this.#kind} calls wait already; ${this.#running} are under way, at most ${inflightMax} may be`,
    )
  }

  #stale(): { refusal: Refusal } {
    const { inflightMax, waitMs } = this.#limits()
    const most = `${this.#running} ${this.#kind} calls are under way, at most ${inflightMax} may be`
    return { refusal: refusal('queue_full', `${most}; no place in ${waitMs} ms`) }
  }

  #start(live: Live, tenant: Tenant): void {
    const { kind, body, headers } = live
    const { timeoutMs } = this.#limits()
    const leaving = new AbortController()
    live.leaving = leaving
    live.stopWaiting()
    // The call ends itself when its time is up; this is for one that does not.
    live.stopWaiting = this.#clock.after(timeoutMs + LATE_MS, () =>
      this.#answer(live, lateAnswer()),
    )
    this.#running += 1
    tenant.running += 1
    const { signal } = leaving
    const call = async () =>
      this.#call({ kind, tenant: live.tenant, body, headers, timeoutMs, signal })
    call().then(
      (answer) => this.#answer(live, answer),
      () => this.#answer(live, { refusal: ofUpstream(502, 'api_error', 'the call failed') }),
    )
  }

  #answer(live: Live, answer: AuxAnswer): void {
    if (live.over) return
    live.over = true
    live.stopWaiting()
    live.stopDeadline()
    const tenant = this.#tenants.get(live.tenant) as Tenant
    const same = this.#live.get(live.key)
    same?.delete(live)
    if (same?.size === 0) this.#live.delete(live.key)
    if (live.leaving === null) this.#unqueue(live)
    else {
      this.#running -= 1
      tenant.running -= 1
      this.#served(live.tenant, tenant)
      live.leaving.abort()
    }
    if (tenant.running === 0 && tenant.waiting.length === 0) this.#tenants.delete(live.tenant)
    live.answer(answer, live.leaving !== null)
    this.#next()
    if (this.#live.size === 0) for (const told of this.#onEmpty.splice(0)) told()
  }

  #served(name: string, tenant: Tenant): void {
    this.#tenants.delete(name)
    this.#tenants.set(name, tenant)
  }

  #unqueue(live: Live): void {
    const tenant = this.#tenants.get(live.tenant) as Tenant
    tenant.waiting.splice(tenant.waiting.indexOf(live), 1)
    tenant.bytes -= live.bytes
    this.#bytes -= live.bytes
    this.#waiting -= 1
  }
}

/** For a call that has its own end, to come to it. */
const LATE_MS: Millis = 1_000

/** At least one; of more than one, never all. */
const part = (of: number, share: number): number =>
  Math.max(1, Math.min(of - 1, Math.ceil(of * share)))

export const ofUpstream = (status: number, type: string, why: string): Refusal =>
  refusal('upstream_error', `upstream: ${why}`, { status, type })

const lateAnswer = () => ({ refusal: ofUpstream(504, 'timeout_error', 'no answer in time') })

const expired = () => ({ refusal: refusal('deadline_exceeded', 'the deadline passed') })
