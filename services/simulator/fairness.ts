/** How even service was: Jain's index of what each got over what max-min fairness would have given it.
 *  Source: Jain, Chiu, Hawe 1984; 1 is even, 1 / n is all for one. A tenant that asked for little and got all
 *  of it is served fully, whatever the greedy got. */
import type { Tally } from './tally.ts'

export function jain(values: readonly number[]): number | null {
  let [sum, squares] = [0, 0]
  for (const value of values) {
    sum += value
    squares += value ** 2
  }
  return squares === 0 ? null : sum ** 2 / (values.length * squares)
}

/** Shares of `total` by demand: everybody gets the same, and no more than it wants. */
export function maxMin(demands: readonly number[], total: number): number[] {
  const order = demands.map((_, index) => index).sort((a, b) => demands[a]! - demands[b]!)
  const shares = demands.map(() => 0)
  let left = total
  for (const [done, index] of order.entries()) {
    const share = Math.min(demands[index]!, left / (order.length - done))
    shares[index] = share
    left -= share
  }
  return shares
}

/** A lane's service is divided among its tenants; the lanes' indices are weighed by what each was served, so
 *  that a lane which got next to nothing says next to nothing. */
export function tenantJain(tally: Tally): number | null {
  let [weighed, total] = [0, 0]
  for (const lane of tally.lanes.values()) {
    const tenants = [...lane.tenants.values()]
    const served = tenants.reduce((sum, one) => sum + one.served, 0)
    const fair = maxMin(
      tenants.map((one) => one.offered),
      served,
    )
    const ratios = tenants.flatMap((one, i) => (fair[i]! > 0 ? [one.served / fair[i]!] : []))
    weighed += served * (jain(ratios) ?? 0)
    total += served
  }
  return total === 0 ? null : weighed / total
}
