/** The report of a house that has used nothing. */
import type { UsageReport } from '#contracts/usage-report'

export const noUsage = async (): Promise<UsageReport> => ({
  ...{ from: '2026-01-01', to: '2026-01-01', by: ['tenant'], rows: [], folded: 0 },
  ...{ shared: false, reason: 'a test' },
})
