/** The most that anybody could have served, who knew the future: work as a fluid, poured in order of arrival
 *  into what the provider really gave, second by second. A bound, not a schedule: work is divisible, needs no
 *  time of its own beyond fitting before its deadline, and nothing is ever refused by accident. It knows the
 *  provider alone, no policy's settings, so that all columns are measured by the same.
 *  Resources: slots (the hidden capacity), and each paced dimension of the quota with its burst. Where a share
 *  of calls fails, a slot is worth what passes when there are as many calls as slots: who tries more often may
 *  get more. Soft overload serves more than its capacity to whoever pushes; there this is no bound. */
import { IndexedHeap, type HeapItem } from '#core/estimators/indexed-heap'
import type { Seconds } from '#contracts/units'
import type { Fault, ProviderSettings } from './provider-model.ts'
import type { PerMinute } from './quota-bucket.ts'
import type { Source } from './workload.ts'

export interface Optimum {
  /** Slot-seconds of useful work within the run. */
  work: Seconds
  /** Requests, in fractions. */
  requests: number
  inputTokens: number
  outputTokens: number
}

interface Waiting extends HeapItem {
  order: number
  model: string
  /** Share of it that is still to be served. */
  left: number
  service: Seconds
  input: number
  /** Of it, what no cache can have: what the quota counts at least. */
  uncached: number
  output: number
  /** It must be over by then. */
  endBy: Seconds
}

export function optimum(of: {
  source: Source
  provider: ProviderSettings
  until: Seconds
}): Optimum {
  const { provider, until } = of
  const total: Optimum = { work: 0, requests: 0, inputTokens: 0, outputTokens: 0 }
  const budgets = {
    requests: budgetOf(provider.quota?.requests),
    input: budgetOf(provider.quota?.input),
    output: budgetOf(provider.quota?.output),
  }
  const queue = new IndexedHeap<Waiting>(
    (a, b) => a.endBy < b.endBy || (a.endBy === b.endBy && a.order < b.order),
  )
  const arrivals = arrivalsOf(of.source)
  for (let second = 0; second < until; second++) {
    for (const budget of Object.values(budgets)) budget.refill(second)
    for (const one of arrivals(second)) queue.push(one)
    pour(queue, { second, provider, budgets, total })
  }
  return total
}

/** What comes within each second, in turn. */
function arrivalsOf(source: Source): (second: Seconds) => Waiting[] {
  let order = 0
  let next = source.next()
  return (second) => {
    const come: Waiting[] = []
    while (next !== null && next.at < (second + 1) * 1_000) {
      const service = next.work.serviceMs / 1_000
      const deadline = next.asked.deadlineMs === null ? Infinity : next.asked.deadlineMs / 1_000
      come.push({
        heapAt: -1,
        order: order++,
        model: next.asked.model,
        left: 1,
        service,
        input: next.work.inputTokens,
        uncached: next.work.inputTokens - (next.asked.marked?.tokens ?? 0),
        output: next.work.outputTokens,
        endBy: deadline < service ? -Infinity : next.at / 1_000 + deadline,
      })
      next = source.next()
    }
    return come
  }
}

/** The slots of one second, poured over those that wait, the soonest deadline first. */
function pour(
  queue: IndexedHeap<Waiting>,
  of: {
    second: Seconds
    provider: ProviderSettings
    budgets: Record<'requests' | 'input' | 'output', Budget>
    total: Optimum
  },
): void {
  const { second, provider, budgets, total } = of
  const passes = passesOf(provider.faults ?? [], second)
  const aside: Waiting[] = []
  let slots = provider.capacity(second)
  for (let one = queue.top(); one !== undefined && slots > 1e-9; one = queue.top()) {
    if (one.endBy <= second) {
      queue.remove(one)
      continue
    }
    const passing = passes(one.model)
    if (passing <= 0) {
      queue.remove(one)
      aside.push(one)
      continue
    }
    const part = Math.min(
      one.left,
      (slots * passing) / one.service,
      budgets.requests.level,
      budgets.input.level / Math.max(1, one.uncached),
      budgets.output.level / Math.max(1, one.output),
    )
    if (part <= 0) break
    one.left -= part
    slots -= (part * one.service) / passing
    budgets.requests.level -= part
    budgets.input.level -= part * one.uncached
    budgets.output.level -= part * one.output
    total.work += part * one.service
    total.requests += part
    total.inputTokens += part * one.input
    total.outputTokens += part * one.output
    if (one.left > 1e-9) break
    queue.remove(one)
  }
  for (const one of aside) queue.push(one)
}

const ALL = (): number => 1

/** Share of a model's calls that no fault of this second takes. */
function passesOf(faults: readonly Fault[], second: Seconds): (model: string) => number {
  const lasting = faults.filter(({ from, until }) => second >= from && second < until)
  if (lasting.length === 0) return ALL
  return (model) =>
    lasting
      .filter((fault) => fault.model === undefined || fault.model === model)
      .reduce((passing, fault) => passing * (1 - fault.share), 1)
}

interface Budget {
  level: number
  refill(second: number): void
}

function budgetOf(of: PerMinute | undefined): Budget {
  if (of === undefined) return { level: Infinity, refill() {} }
  return {
    level: of.burst,
    refill(second) {
      const rate = of.limit(second) / 60
      // Without a limit it fills at once, and nothing is kept of it.
      this.level = rate === Infinity ? Infinity : Math.min(of.burst, this.level) + rate
    },
  }
}
