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
import type { Estimate, Expected } from './cost.ts'
import { link, unlink } from './flow-order.ts'
import { IndexedHeap, type HeapItem } from './indexed-heap.ts'
import { LinkedList } from './linked-list.ts'

/** What waits in a queue. */
export interface Waiting<Item extends Waiting<Item, Who>, Who extends Owner<Item, Who>> {
  readonly flow: Flow<Item, Who>
  /** What it was expected to use when it came. */
  readonly expected: Estimate
  /** Virtual time of its arrival. */
  tenantStamp: number
  /** Which of its flow it was to stand aside, counted from 1; 0: it never did. */
  asideTurn: number
  before: Item | null
  after: Item | null
}

/** Who has queues of its own, one in each group. */
export interface Owner<Item extends Waiting<Item, Who>, Who extends Owner<Item, Who>> {
  readonly name: string
  weight: number
  /** At a cap: outside every heap. */
  parked: boolean
  /** It waits for its own limits: what it has waiting is no backlog of anybody's. */
  readonly heldBack: boolean
  readonly flows: Flow<Item, Who>[]
  /** It has nothing anywhere any more. */
  forget(): void
}

/** One tenant's queue in one route and lane. */
export class Flow<
  Item extends Waiting<Item, Who>,
  Who extends Owner<Item, Who>,
> implements HeapItem {
  heapAt = -1
  readonly tenant: Who
  readonly queue: FairQueue<Item, Who>
  /** Virtual time up to which this tenant has been served; goes both ways at settlement. */
  finish = 0
  /** Start tag of the head; meaningful while armed. */
  start = 0
  head: Item | null = null
  tail: Item | null = null
  /** Requests waiting here. */
  queued = 0
  /** Of them, those who stand aside: out of the order of the others. */
  readonly aside = new LinkedList<Item>()
  asideTurns = 0
  /** What its waiting requests are expected to use, together, as far as there was evidence when they came. */
  readonly ahead: Expected = nothing()
  /** Waiting requests of which nothing was known when they arrived. */
  blind = 0
  /** Requests of this flow in any place: waiting, in flight or in back-off. */
  live = 0
  place: 'armed' | 'idle' | 'neither' = 'neither'
  /** Its head waits for tokens and lets others pass: out of the heap, as if it were parked. */
  backfilled = false
  /** A pause that its head's cause explains holds it: out of the heap as well. */
  held = false
  /** Its tenant is held back. */
  back: boolean
  fullness: Fullness<Item, Who> | null = null

  constructor(tenant: Who, queue: FairQueue<Item, Who>) {
    this.tenant = tenant
    this.queue = queue
    this.back = tenant.heldBack
  }
}

const nothing = (): Expected => ({ duration: 0, inputTokens: 0, outputTokens: 0 })

function add(sum: Expected, of: Expected, times: 1 | -1): void {
  sum.duration += times * of.duration
  sum.inputTokens += times * of.inputTokens
  sum.outputTokens += times * of.outputTokens
}

/** Sums of what comes and goes drift; an empty queue puts them right. */
function less({ ahead, queued }: { ahead: Expected; queued: number }, by: Expected): void {
  if (queued === 0) Object.assign(ahead, nothing())
  else add(ahead, by, -1)
}

/** A flow's place in the order of who holds most of a full queue. */
class Fullness<Item extends Waiting<Item, Who>, Who extends Owner<Item, Who>> implements HeapItem {
  heapAt = -1
  readonly flow: Flow<Item, Who>
  constructor(flow: Flow<Item, Who>) {
    this.flow = flow
  }
}

const isEarlier = (a: { asideTurn: number }, b: { asideTurn: number }): boolean =>
  a.asideTurn > 0 && a.asideTurn < b.asideTurn

type Ranked = {
  start: number
  finish: number
  queued: number
  tenant: { name: string; weight: number }
}

const sooner = (a: Ranked, b: Ranked): boolean => {
  if (a.start !== b.start) return a.start < b.start
  if (a.tenant.weight !== b.tenant.weight) return a.tenant.weight > b.tenant.weight
  return a.tenant.name < b.tenant.name
}
const lessDebt = (a: Ranked, b: Ranked): boolean => a.finish < b.finish
const holdsMore = (a: { flow: Ranked }, b: { flow: Ranked }): boolean => {
  const [x, y] = [a.flow.queued / a.flow.tenant.weight, b.flow.queued / b.flow.tenant.weight]
  return x !== y ? x > y : a.flow.tenant.name < b.flow.tenant.name
}

export class FairQueue<Item extends Waiting<Item, Who>, Who extends Owner<Item, Who>> {
  /** Virtual time: the start tag of the last tenant served. */
  v = 0
  /** Requests waiting, over all tenants. */
  queued = 0
  /** Of them, those who stand aside. */
  aside = 0
  /** Of the others, those of tenants that are held back. */
  back = 0
  /** The queue is standing: delay control serves the newest of each tenant first. */
  newestFirst = false
  /** What all who wait are expected to use, together, as far as there was evidence when they came. */
  readonly ahead: Expected = nothing()
  /** Those of whom nothing was known. */
  blind = 0
  /** How far virtual time has come by starts, and what those who left would have used, since it was last taken. */
  #moved = 0
  #left = nothing()
  readonly flows = new Map<string, Flow<Item, Who>>()
  readonly #armed = new IndexedHeap<Flow<Item, Who>>(sooner)
  readonly #idle = new IndexedHeap<Flow<Item, Who>>(lessDebt)
  readonly #overtakable: (item: Item) => boolean
  /** Kept only from the first time the queue is full until it is empty: nobody else pays for it. */
  #fullest: IndexedHeap<Fullness<Item, Who>> | null = null

  /** `overtakable`: of which items the newest may go first. */
  constructor(overtakable: (item: Item) => boolean) {
    this.#overtakable = overtakable
  }

  /** Requests whose turn it can be. */
  get standing(): number {
    return this.queued - this.aside - this.back
  }

  /** The tenant whose turn it is; undefined when nobody is armed. */
  next(): Flow<Item, Who> | undefined {
    return this.#armed.top()
  }

  /** The request whose turn it is: its tenant's oldest, or its newest while `newestFirst`. Requests that
   *  were tried before, or that delay control does not speak of, are never overtaken. */
  first(): Item | null {
    const flow = this.next()
    if (flow === undefined) return null
    const { head, tail } = flow
    if (!this.newestFirst || head === null || tail === null) return head
    return this.#overtakable(head) && this.#overtakable(tail) ? tail : head
  }

  /** A request enters the system here. */
  join(tenant: Who): Flow<Item, Who> {
    let flow = this.flows.get(tenant.name)
    if (flow === undefined) {
      flow = new Flow<Item, Who>(tenant, this)
      this.flows.set(tenant.name, flow)
      tenant.flows.push(flow)
    } else if (flow.place === 'idle') {
      this.#idle.remove(flow)
      flow.place = 'neither'
    }
    flow.live++
    return flow
  }

  /** A request has left the system. `idleMax` bounds how many debts are remembered. */
  leave(flow: Flow<Item, Who>, idleMax: number): void {
    flow.live--
    if (flow.live > 0) return
    if (flow.finish <= this.v) {
      this.#forget(flow)
      return
    }
    flow.place = 'idle'
    this.#idle.push(flow)
    if (this.#idle.size > idleMax) this.#forgetIdle(this.#idle.top()!)
  }

  /** At the tail; the order within a tenant is arrival. */
  append(request: Item): void {
    const { flow } = request
    link(flow, request, flow.tail)
    this.#entered(flow, request, flow.head === request)
  }

  /** At the head: requests that were admitted before come back here. */
  prepend(request: Item): void {
    const { flow } = request
    link(flow, request, null)
    this.#entered(flow, request, true)
  }

  #entered(flow: Flow<Item, Who>, request: Item, isHead: boolean): void {
    flow.queued++
    if (request.expected.evidence) {
      add(flow.ahead, request.expected, 1)
      add(this.ahead, request.expected, 1)
    } else {
      flow.blind++
      this.blind++
    }
    this.queued++
    if (flow.back) this.back++
    if (this.#fullest !== null) this.#recount(this.#fullest, flow)
    if (isHead) this.rearm(flow)
  }

  remove(request: Item): void {
    const flow = request.flow
    const wasHead = unlink(flow, request)
    flow.queued--
    this.queued--
    if (flow.back) this.back--
    if (request.expected.evidence) {
      add(this.#left, request.expected, 1)
      less(flow, request.expected)
      less(this, request.expected)
    } else {
      flow.blind--
      this.blind--
    }
    if (this.#fullest !== null) this.#recount(this.#fullest, flow)
    if (this.queued === 0) this.#emptied()
    // A start has charged its flow, whose place in the heap moves even if its head stays.
    if (wasHead || flow.finish > flow.start) this.rearm(flow)
  }

  /** Out of the order, so that what is behind it goes on; it waits on, in every count. */
  setAside(request: Item): void {
    const { flow } = request
    if (request.asideTurn === 0) request.asideTurn = ++flow.asideTurns
    const wasHead = unlink(flow, request)
    flow.aside.add(request)
    this.aside++
    if (flow.back) this.back--
    if (wasHead) this.rearm(flow)
  }

  /** To the head, behind those only who stood aside before it and are back. `near`: one of them, if one is known. */
  comeBack(request: Item, near: Item | null): void {
    const { flow } = request
    flow.aside.delete(request)
    this.aside--
    if (flow.back) this.back++
    let before = near
    let next = near === null ? flow.head : near.after
    for (; next !== null && isEarlier(next, request); next = next.after) before = next
    link(flow, request, before)
    if (before === null) this.rearm(flow)
  }

  /** Its tenant is held back now, or is so no more. */
  reviewBack(flow: Flow<Item, Who>): void {
    const back = flow.tenant.heldBack
    if (back === flow.back) return
    flow.back = back
    this.back += (back ? 1 : -1) * (flow.queued - flow.aside.size)
  }

  /** Puts a flow where it belongs: armed with its present start tag, or out of the heap. */
  rearm(flow: Flow<Item, Who>): void {
    const { head } = flow
    if (head === null || flow.tenant.parked || flow.backfilled || flow.held) {
      if (flow.place !== 'armed') return
      this.#armed.remove(flow)
      flow.place = 'neither'
      return
    }
    flow.start = Math.max(head.tenantStamp, flow.finish)
    if (flow.place === 'armed') this.#armed.moved(flow)
    else {
      flow.place = 'armed'
      this.#armed.push(flow)
    }
  }

  /** The next tenant's head starts, at an estimated cost. */
  charge(flow: Flow<Item, Who>, cost: number): void {
    const first = this.#armed.top()
    if (first !== undefined && first.start > this.v) {
      this.#moved += first.start - this.v
      this.v = first.start
      this.#forgetPaid()
    }
    flow.finish = flow.start + cost / flow.tenant.weight
  }

  /** The truth is known: `correction` is actual minus estimated cost. */
  settle(flow: Flow<Item, Who>, correction: number): void {
    if (correction === 0) return
    flow.finish += correction / flow.tenant.weight
    if (flow.place === 'armed') this.rearm(flow)
  }

  /** While nothing waits, nobody competes, and virtual time follows the wall: a second without backlog
   *  forgives one second of the bottleneck, the most that any tenant can have used in it. Without this a
   *  queue that never fills would remember every tenant for ever. */
  rest(elapsedSeconds: number): void {
    if (this.standing > 0 || this.#idle.size === 0) return
    this.v += elapsedSeconds
    this.#forgetPaid()
  }

  takeMoved(): { moved: number; left: Expected } {
    const taken = { moved: this.#moved, left: this.#left }
    this.#moved = 0
    this.#left = nothing()
    return taken
  }

  /** Of a full queue, the tenant that holds most per weight. */
  fullest(): Flow<Item, Who> | undefined {
    if (this.#fullest === null) {
      this.#fullest = new IndexedHeap<Fullness<Item, Who>>(holdsMore)
      for (const flow of this.flows.values())
        if (flow.queued > 0) this.#recount(this.#fullest, flow)
    }
    return this.#fullest.top()?.flow
  }

  get idleFlows(): number {
    return this.#idle.size
  }

  /** Keeps tags small: takes V off V and off every tag of the group, `requests` being all live ones. */
  rebase(requests: Iterable<Item>): void {
    const by = this.v
    this.v = 0
    for (const flow of this.flows.values()) {
      flow.finish -= by
      flow.start -= by
    }
    for (const r of requests) if (r.flow.queue === this) r.tenantStamp -= by
  }

  #recount(fullest: IndexedHeap<Fullness<Item, Who>>, flow: Flow<Item, Who>): void {
    if (flow.queued === 0) {
      if (flow.fullness !== null) fullest.remove(flow.fullness)
      flow.fullness = null
    } else if (flow.fullness === null) {
      flow.fullness = new Fullness<Item, Who>(flow)
      fullest.push(flow.fullness)
    } else fullest.moved(flow.fullness)
  }

  #emptied(): void {
    if (this.#fullest === null) return
    for (const one of this.#fullest.values()) one.flow.fullness = null
    this.#fullest = null
  }

  #forgetPaid(): void {
    for (let idle = this.#idle.top(); idle !== undefined; idle = this.#idle.top()) {
      if (idle.finish > this.v) return
      this.#forgetIdle(idle)
    }
  }

  #forgetIdle(flow: Flow<Item, Who>): void {
    this.#idle.remove(flow)
    flow.place = 'neither'
    this.#forget(flow)
  }

  #forget(flow: Flow<Item, Who>): void {
    this.flows.delete(flow.tenant.name)
    const { flows } = flow.tenant
    flows.splice(flows.indexOf(flow), 1)
    if (flows.length === 0) flow.tenant.forget()
  }
}
