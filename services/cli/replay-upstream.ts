/** The two sides of the upstream's wire during a replay: the simulated provider's own account of what it was
 *  asked, and the scheduler's counters of what it was answered. */

/** What the provider's ledger says. */
export interface LedgerSummary {
  calls: number
  byStatus: Record<string, number>
  /** Ran, at least in part, and was never delivered whole: tokens somebody pays for in vain. */
  undelivered: { calls: number; inputTokens: number; outputTokens: number }
  deliveredTokens: number
  /** Requests whose answer was made and delivered more than once. */
  deliveredTwice: number
  /** Entries that the ledger forgot. */
  dropped: number
}

interface LedgerPage {
  entries: {
    user: string | null
    executed: boolean
    finished: boolean
    status: number | null
    billed: { input: number; output: number }
  }[]
  dropped: number
}

export async function storm(url: string, spec: object): Promise<void> {
  await control(`${url}/_sim/faults`, { method: 'POST', body: JSON.stringify(spec) })
}

/** Answers with 529 so far. */
export async function overloads(url: string): Promise<number> {
  const stats = (await control(`${url}/_sim/stats`)) as { byStatus: Record<string, number> }
  return stats.byStatus['529'] ?? 0
}

export async function readLedger(url: string): Promise<LedgerSummary> {
  const { entries, dropped } = (await control(`${url}/_sim/ledger`)) as LedgerPage
  const byStatus: Record<string, number> = {}
  const undelivered = { calls: 0, inputTokens: 0, outputTokens: 0 }
  const delivered = new Map<string, number>()
  let deliveredTokens = 0
  for (const { user, executed, finished, status, billed } of entries) {
    const name = status === null ? 'none' : String(status)
    byStatus[name] = (byStatus[name] ?? 0) + 1
    if (!executed) continue
    if (finished) {
      deliveredTokens += billed.input + billed.output
      if (user !== null) delivered.set(user, (delivered.get(user) ?? 0) + 1)
    } else {
      undelivered.calls++
      undelivered.inputTokens += billed.input
      undelivered.outputTokens += billed.output
    }
  }
  const deliveredTwice = [...delivered.values()].filter((times) => times > 1).length
  return { calls: entries.length, byStatus, undelivered, deliveredTokens, deliveredTwice, dropped }
}

/** The scheduler's counters, summed over every label but one. */
export interface Counters {
  attemptsByStatus: Record<string, number>
  preemptions: number
}

export async function readCounters(httpUrl: string): Promise<Counters> {
  const page = await (await fetch(`${httpUrl}/metrics`)).text()
  const attemptsByStatus: Record<string, number> = {}
  let preemptions = 0
  for (const line of page.split('\n')) {
    const [, name, labels = '', value] = /^headgate_(\w+)\{([^}]*)\} (\d+)/.exec(line) ?? []
    if (name === 'preemptions_total') preemptions += Number(value)
    if (name !== 'attempts_total') continue
    const status = /(?:^|,)status="([^"]*)"/.exec(labels)?.[1] ?? 'error'
    attemptsByStatus[status] = (attemptsByStatus[status] ?? 0) + Number(value)
  }
  return { attemptsByStatus, preemptions }
}

/** Share of one status. */
export function ratio(byStatus: Readonly<Record<string, number>>, status: string): number {
  const all = Object.values(byStatus).reduce((total, count) => total + count, 0)
  return all === 0 ? 0 : (byStatus[status] ?? 0) / all
}

async function control(url: string, init: RequestInit = {}): Promise<unknown> {
  const answer = await fetch(url, init)
  if (!answer.ok) throw new Error(`${url} answers ${answer.status}: ${await answer.text()}`)
  return answer.json()
}
