/** `npm run bench -- half-price`: what a day of mixed work costs with the provider's batches and without, in virtual
 *  time. */
import { halfPriceDay, KINDS, type DayFigures } from '../support/half-price-day.ts'

const COLUMNS = [
  ['without', { batches: false, batchHours: 1 }],
  ['with, batches take 1 h', { batches: true, batchHours: 1 }],
  ['with, batches take 6 h', { batches: true, batchHours: 6 }],
  ['with, none ends in time', { batches: true, batchHours: 200 }],
] as const

export async function benchHalfPrice(): Promise<void> {
  const days: DayFigures[] = []
  for (const [, of] of COLUMNS) days.push(await halfPriceDay({ seed: 1, scale: 1, ...of }))
  const row = (name: string, cell: (day: DayFigures) => string): string =>
    `| ${name} | ${days.map(cell).join(' | ')} |`
  const hours = (ms: number): string =>
    ms < 3_600_000 ? `${(ms / 60_000).toFixed(1)} min` : `${(ms / 3_600_000).toFixed(1)} h`
  console.log(`|  | ${COLUMNS.map(([name]) => name).join(' | ')} |`)
  console.log(`|---|${COLUMNS.map(() => '---|').join('')}`)
  console.log(row('calls at the full price', ({ full }) => full.toLocaleString('en-US')))
  console.log(row('calls at half', ({ half }) => half.toLocaleString('en-US')))
  console.log(row('batches', ({ batches }) => String(batches)))
  console.log(row('cost, in full calls', ({ cost }) => Math.round(cost).toLocaleString('en-US')))
  console.log(row('deadlines missed', ({ missed }) => String(missed)))
  console.log(row('ran twice', ({ twice }) => String(twice)))
  for (const kind of KINDS)
    console.log(
      row(
        `${kind}: median, longest`,
        ({ latency: { [kind]: of } }) => `${hours(of.p50)}, ${hours(of.max)}`,
      ),
    )
}
