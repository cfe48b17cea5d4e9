/** Usage, put together: what each call used is counted, shown as metrics, kept, and reported. */
import type { Config, ConfigFile } from '#contracts/config'
import { DAY_MS, dayOf, daysOf, type UsageAsk, type UsageReport } from '#contracts/usage-report'
import type { Log } from '#platform/log'
import { OperatorError, type Clock, type Meter, type UsageStore } from '#ports'
import { memoryUsageStore } from '#scheduler/memory/usage-store'
import { UsageKeeper } from '#scheduler/money/usage-keeper'
import { UsageSum } from '#scheduler/money/usage-report'

export interface WiredUsage {
  readonly meter: Meter
  report(ask: UsageAsk): Promise<UsageReport>
  /** What was counted is written, as far as the store takes it. */
  flush(): Promise<void>
  close(): Promise<void>
}

export function wireUsage(of: {
  /** Absent: it is kept in this process. */
  store?: UsageStore | null | undefined
  clock: Clock
  instance: string
  config: () => Config
  /** Hears of each call as well. */
  metrics: Meter
  log: Log
}): WiredUsage {
  const { clock, log } = of
  const settings = (): ConfigFile['usage'] => of.config().file.usage
  const store =
    of.store ??
    memoryUsageStore({ keepDays: settings().keep_days, reason: 'no store of usage is given' })
  const keeper = new UsageKeeper({
    ...{ store, clock, life: of.instance, prices: () => of.config().prices },
    rowsMax: () => settings().rows_max,
    onError: (error) =>
      log.warn('usage is not written for now, and tried again', {
        error: error instanceof Error ? error.message : 'error',
      }),
  })
  return {
    meter: {
      count(used) {
        keeper.ledger.count(used)
        of.metrics.count(used)
      },
    },
    async report(ask) {
      const to = ask.to ?? dayOf(clock.wall())
      const from = ask.from ?? to
      if (from > to) throw new OperatorError(`from: expected a day no later than ${to}`)
      const sum = new UsageSum(ask)
      try {
        const days = daysOf(firstKept(from, to, settings().keep_days), to)
        for await (const rows of keeper.read(days)) sum.add(rows)
      } catch (error) {
        const why = error instanceof Error ? error.message : 'no reason given'
        throw new OperatorError(`the store of usage: ${why}`)
      }
      const { shared, reason } = store
      return { from, to, by: [...ask.by], ...sum.rows(), shared, reason }
    },
    flush: () => keeper.flush(),
    close: () => keeper.close(),
  }
}

/** Nothing older is kept, and a day that holds nothing is not looked at. */
function firstKept(from: string, to: string, keepDays: number): string {
  const first = dayOf(Date.parse(`${to}T00:00:00Z`) - keepDays * DAY_MS)
  return from > first ? from : first
}
