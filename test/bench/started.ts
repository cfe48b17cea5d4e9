/** What a quota allows, and how much more was started. */

/** As control-laws §9 says: 0.95 of the limit, and 5 s of it at once. */
export function quotaRate(rpm: number): { perSecond: number; burst: number } {
  const perSecond = (0.95 * rpm) / 60
  return { perSecond, burst: Math.max(1, 5 * perSecond) }
}

/** Over all windows, the most that was started in one beyond rate × its length: so much at once a bucket of that rate
 *  must have had. In one pass: what each start has over the best beginning before it. */
export function burstOf(
  startsMs: readonly number[],
  perSecond: number,
): { units: number; ms: number } {
  let most = { units: 0, ms: 0 }
  let began = { lead: -Infinity, at: 0 }
  startsMs.forEach((at, i) => {
    const paid = (perSecond * at) / 1_000
    if (paid - i > began.lead) began = { lead: paid - i, at }
    const units = i + 1 - paid + began.lead
    if (units > most.units) most = { units, ms: at - began.at }
  })
  return most
}
