/** How fast virtual time is: simulated requests per second of wall time, after the first run has warmed up. */
import { simulateScenario } from '#simulator/simulate'
import { median, sayTable } from './report.ts'

const CASES = [
  { name: 'S11', what: 'nights, swings, churn: 221,000 requests' },
  { name: 'S3', what: 'backlogs of 200,000: 169,000 requests' },
  { name: 'S4', what: 'a storm: 32,000 requests' },
] as const

export async function benchSimulate(): Promise<Record<string, number>> {
  const figures: Record<string, number> = {}
  const rows: string[][] = []
  for (const { name, what } of CASES) {
    const speeds: number[] = []
    for (let seed = 0; seed < 6; seed++) {
      const job = { name, part: 1, load: null, reserved: null, noise: null }
      const plain = { label: '', policy: 'headgate', config: null } as const
      const { simulated_requests, wall_ms } = await simulateScenario(plain, job, [seed + 1])
      if (seed > 0) speeds.push((1_000 * simulated_requests) / wall_ms)
    }
    figures[`simulate_${name}_per_s`] = median(speeds)
    rows.push([`${name}: ${what}`, Math.round(median(speeds)).toLocaleString('en'), '200,000'])
  }
  sayTable('the simulator', [['', 'requests/s', 'aimed at'], ...rows])
  return figures
}
