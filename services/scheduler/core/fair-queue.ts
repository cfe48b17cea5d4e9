/** Which tenant is next, inside one route and lane.
 *
 *  Start-time fair queueing (Goyal, Vin, Cheng 1996) with settlement. Our differences: the true cost is
 *  known only after the answer, so a finish tag is corrected then; a request keeps the virtual time of
 *  its arrival over retries and preemption, and that stamp, not the moment of dispatch, is the floor of
 *  its start tag (clamping at dispatch lets the gap between equal tenants grow without bound).
 *  Bound: two tenants that are always backlogged and never parked differ in service per weight by at
 *  most 1.1 x C x c_max, for C slots and largest cost c_max (invariant I6).
 *
 *  A tenant with queued work is armed (in the heap) or parked (at its cap). Push, remove, start and
 *  settle are O(log n). A tenant without requests whose debt is paid is forgotten. */
import type { Expected } from './cost.ts'
import { controlled } from './delay-control.ts'
import { IndexedHeap, type HeapItem } from './indexed-heap.ts'
import type { Request, Tenant } from './state.ts'

/** One tenant's queue in one route and lane. */
export class Member implements HeapItem {
  heapAt = -1
  readonly tenant: Tenant
  readonly queue: FairQueue
  /** Virtual time up to which this tenant has been served; goes both ways at settlement. */
  finish = 0
  /** Start tag of the head; meaningful while armed. */
  start = 0
  head: Request | null = null
  tail: Request | null = null
  /** Requests waiting here. */
  queued = 0
  /** What its waiting requests are expected to use, together, as far as there was evidence when they came. */
  readonly ahead: Expected = { duration: 0, inputTokens: 0, outputTokens: 0 }
  /** Waiting requests of which nothing was known when they arrived. */
  blind = 0
  /** Requests of this member in any place: waiting, in flight or in back-off. */
  live = 0
  place: 'armed' | 'idle' | 'neither' = 'neither'
  /** Its head waits for tokens and lets others pass: out of the heap, as if it were parked. */
  aside = false
  fullness: Fullness | null = null

  constructor(tenant: Tenant, queue: FairQueue) {
    this.tenant = tenant
    this.queue = queue
  }
}

/** A member's place in the order of who holds most of a full queue. */
class Fullness implements HeapItem {
  heapAt = -1
  readonly member: Member
  constructor(member: Member) {
    this.member = member
  }
}

const sooner = (a: Member, b: Member): boolean => {
  if (a.start !== b.start) return a.start < b.start
  if (a.tenant.weight !== b.tenant.weight) return a.tenant.weight > b.tenant.weight
  return a.tenant.name < b.tenant.name
}
const lessDebt = (a: Member, b: Member): boolean => a.finish < b.finish
const holdsMore = (a: Fullness, b: Fullness): boolean => {
  const [x, y] = [
    a.member.queued / a.member.tenant.weight,
    b.member.queued / b.member.tenant.weight,
  ]
  return x !== y ? x > y : a.member.tenant.name < b.member.tenant.name
}

export class FairQueue {
  /** Virtual time: the start tag of the last tenant served. */
  v = 0
  /** Requests waiting, over all tenants. */
  queued = 0
  /** The queue is standing: delay control serves the newest of each tenant first. */
  newestFirst = false
  /** How far virtual time has come by starts, since it was last taken. */
  #moved = 0
  readonly members = new Map<string, Member>()
  readonly #armed = new IndexedHeap<Member>(sooner)
  readonly #idle = new IndexedHeap<Member>(lessDebt)
  /** Kept only from the first time the queue is full until it is empty: nobody else pays for it. */
  #fullest: IndexedHeap<Fullness> | null = null

  /** The tenant whose turn it is; undefined when nobody is armed. */
  next(): Member | undefined {
    return this.#armed.top()
  }

  /** The request whose turn it is: its tenant's oldest, or its newest while `newestFirst`. Requests that
   *  were tried before, or that delay control does not speak of, are never overtaken. */
  first(): Request | null {
    const member = this.next()
    if (member === undefined) return null
    const { head, tail } = member
    if (!this.newestFirst || head === null || tail === null) return head
    return controlled(head) && controlled(tail) ? tail : head
  }

  /** A request enters the system here. */
  join(tenant: Tenant): Member {
    let member = this.members.get(tenant.name)
    if (member === undefined) {
      member = new Member(tenant, this)
      this.members.set(tenant.name, member)
      tenant.members.push(member)
    } else if (member.place === 'idle') {
      this.#idle.remove(member)
      member.place = 'neither'
    }
    member.live++
    return member
  }

  /** A request has left the system. `idleMax` bounds how many debts are remembered. */
  leave(member: Member, idleMax: number): void {
    member.live--
    if (member.live > 0) return
    if (member.finish <= this.v) {
      this.#forget(member)
      return
    }
    member.place = 'idle'
    this.#idle.push(member)
    if (this.#idle.size > idleMax) this.#forgetIdle(this.#idle.top()!)
  }

  /** At the tail; the order within a tenant is arrival. */
  append(request: Request): void {
    const member = request.member
    request.before = member.tail
    request.after = null
    if (member.tail === null) member.head = request
    else member.tail.after = request
    member.tail = request
    this.#entered(member, request, member.head === request)
  }

  /** At the head: requests that were admitted before come back here. */
  prepend(request: Request): void {
    const member = request.member
    request.after = member.head
    request.before = null
    if (member.head === null) member.tail = request
    else member.head.before = request
    member.head = request
    this.#entered(member, request, true)
  }

  #entered(member: Member, request: Request, isHead: boolean): void {
    request.waiting = true
    member.queued++
    const { ahead } = member
    if (request.expected.evidence) {
      ahead.duration += request.expected.duration
      ahead.inputTokens += request.expected.inputTokens
      ahead.outputTokens += request.expected.outputTokens
    } else member.blind++
    this.queued++
    if (this.#fullest !== null) this.#recount(this.#fullest, member)
    if (isHead) this.rearm(member)
  }

  remove(request: Request): void {
    const member = request.member
    const wasHead = member.head === request
    if (request.before === null) member.head = request.after
    else request.before.after = request.after
    if (request.after === null) member.tail = request.before
    else request.after.before = request.before
    request.before = null
    request.after = null
    request.waiting = false
    member.queued--
    if (request.expected.evidence) this.#lessAhead(member, request.expected)
    else member.blind--
    this.queued--
    if (this.#fullest !== null) this.#recount(this.#fullest, member)
    if (this.queued === 0) this.#emptied()
    // A start has charged its member, whose place in the heap moves even if its head stays.
    if (wasHead || member.finish > member.start) this.rearm(member)
  }

  /** Sums of what comes and goes drift; an empty queue puts them right. */
  #lessAhead({ ahead, queued }: Member, by: Expected): void {
    ahead.duration = queued === 0 ? 0 : ahead.duration - by.duration
    ahead.inputTokens = queued === 0 ? 0 : ahead.inputTokens - by.inputTokens
    ahead.outputTokens = queued === 0 ? 0 : ahead.outputTokens - by.outputTokens
  }

  /** Puts a member where it belongs: armed with its present start tag, or out of the heap. */
  rearm(member: Member): void {
    const { head } = member
    if (head === null || member.tenant.parked || member.aside) {
      if (member.place !== 'armed') return
      this.#armed.remove(member)
      member.place = 'neither'
      return
    }
    member.start = Math.max(head.tenantStamp, member.finish)
    if (member.place === 'armed') this.#armed.moved(member)
    else {
      member.place = 'armed'
      this.#armed.push(member)
    }
  }

  /** The next tenant's head starts, at an estimated cost. */
  charge(member: Member, cost: number): void {
    const first = this.#armed.top()
    if (first !== undefined && first.start > this.v) {
      this.#moved += first.start - this.v
      this.v = first.start
      this.#forgetPaid()
    }
    member.finish = member.start + cost / member.tenant.weight
  }

  /** The truth is known: `correction` is actual minus estimated cost. */
  settle(member: Member, correction: number): void {
    if (correction === 0) return
    member.finish += correction / member.tenant.weight
    if (member.place === 'armed') this.rearm(member)
  }

  /** While nothing waits, nobody competes, and virtual time follows the wall: a second without backlog
   *  forgives one second of the bottleneck, the most that any tenant can have used in it. Without this a
   *  queue that never fills would remember every tenant for ever. */
  rest(elapsedSeconds: number): void {
    if (this.queued > 0 || this.#idle.size === 0) return
    this.v += elapsedSeconds
    this.#forgetPaid()
  }

  takeMoved(): number {
    const moved = this.#moved
    this.#moved = 0
    return moved
  }

  /** Of a full queue, the tenant that holds most per weight. */
  fullest(): Member | undefined {
    if (this.#fullest === null) {
      this.#fullest = new IndexedHeap<Fullness>(holdsMore)
      for (const member of this.members.values())
        if (member.queued > 0) this.#recount(this.#fullest, member)
    }
    return this.#fullest.top()?.member
  }

  get idleMembers(): number {
    return this.#idle.size
  }

  /** Keeps tags small: takes V off V and off every tag of the group, `requests` being all live ones. */
  rebase(requests: Iterable<Request>): void {
    const by = this.v
    this.v = 0
    for (const member of this.members.values()) {
      member.finish -= by
      member.start -= by
    }
    for (const r of requests) if (r.member.queue === this) r.tenantStamp -= by
  }

  #recount(fullest: IndexedHeap<Fullness>, member: Member): void {
    if (member.queued === 0) {
      if (member.fullness !== null) fullest.remove(member.fullness)
      member.fullness = null
    } else if (member.fullness === null) {
      member.fullness = new Fullness(member)
      fullest.push(member.fullness)
    } else fullest.moved(member.fullness)
  }

  #emptied(): void {
    if (this.#fullest === null) return
    for (const one of this.#fullest.values()) one.member.fullness = null
    this.#fullest = null
  }

  #forgetPaid(): void {
    for (let idle = this.#idle.top(); idle !== undefined; idle = this.#idle.top()) {
      if (idle.finish > this.v) return
      this.#forgetIdle(idle)
    }
  }

  #forgetIdle(member: Member): void {
    this.#idle.remove(member)
    member.place = 'neither'
    this.#forget(member)
  }

  #forget(member: Member): void {
    this.members.delete(member.tenant.name)
    const { members } = member.tenant
    members.splice(members.indexOf(member), 1)
    if (members.length === 0) member.tenant.forget()
  }
}
