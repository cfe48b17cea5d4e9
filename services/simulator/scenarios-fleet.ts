/** Instances that share one quota, of which some are killed: what their callers see of it. */
import type { Run } from './figures.ts'
import { fleetFigures } from './fleet-figures.ts'
import type { FleetFigures, Policy } from './job.ts'
import { atLoad, callers, sixty, type Scenario } from './scenario.ts'

/** Nobody else has instances. */
const WITH_INSTANCES: readonly Policy[] = ['headgate']

const { I, P } = atLoad(0.6)

type Kill = FleetFigures['kills'][number]

export const fleet: Scenario = {
  name: 'fleet',
  title:
    'three instances that share one quota, of which two are killed, 300 s apart, and come back under their names',
  parameters: [],
  policies: WITH_INSTANCES,
  parts: () => [
    {
      name: 'all',
      until: 900,
      source: callers({
        I: { ...I, ttft: 0.5, deadline: 120 },
        P: { ...P, deadline: 120 },
        // So that every slot is wanted.
        B: { per: 1.2 },
      }),
      provider: sixty,
      unit: 'work',
      fleet: {
        instances: 3,
        sameName: true,
        kills: [
          { atS: 300, forS: 10 },
          { atS: 600, forS: 10 },
        ],
      },
    },
  ],
  figures(run: Run) {
    const found = fleetFigures(run)
    const kills = found?.kills ?? []
    const sum = (of: (kill: Kill) => number): number =>
      kills.reduce((total, one) => total + of(one), 0)
    return {
      most_inflight: found?.most_inflight ?? null,
      asked_again: sum((kill) => kill.asked_again),
      broken: sum((kill) => kill.broken),
      unanswered: sum((kill) => kill.unanswered),
      noticed_s: Math.max(...kills.map((kill) => kill.noticed_s)),
      recovered_s: Math.max(...kills.map((kill) => kill.recovered_s ?? Infinity)),
      i_wait_p95_s: run.wait('interactive', 0.95),
      p_wait_p95_s: run.wait('premium', 0.95),
    }
  },
  must: () => ({
    most_inflight: '<= 60',
    noticed_s: '<= 4.25',
    recovered_s: '<= 30',
    i_wait_p95_s: '<= 1',
  }),
}
