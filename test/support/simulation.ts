/** A simulation's result as the simulator tells it, small and made up. */
import type { RunResult, Series } from '../../services/simulator/job.ts'

export const runResult = (of: Partial<RunResult> = {}): RunResult => ({
  label: 'headgate',
  scenario: 'S4',
  trace: null,
  seed: 1,
  policy: 'headgate',
  figures: { answers_529: 67, recovery_s: 44.123456789, lowest_limit: null },
  lanes: { premium: laneFigures(20), interactive: laneFigures(90), batch: laneFigures(30) },
  guardrails: {
    ratio_429: { value: 0.0123, bound: 0.02, met: true },
    p95_e2e_s: { value: 9.1, bound: 8, met: false },
    retry_amplification: { value: null, bound: 1.3, met: true },
  },
  acceptance: [
    { figure: 'answers_529', must: '<= 100', value: 67, met: true },
    { figure: 'recovery_s', must: '<= 30', value: 44.123456789, met: false },
  ],
  violations: 0,
  findings: [],
  trace_hash: 'abc123',
  simulated_requests: 12_345,
  simulated_s: 2_400,
  wall_ms: 812.5,
  ...{ backlog: null, restarts: null, fleet: null, money: null, said: [] },
  series: series(),
  ...of,
})

const laneFigures = (offered: number) => ({
  offered,
  completed: offered - 3,
  refused: 2,
  failed: 1,
  in_time: 0.875,
  in_time_per_s: offered / 2_400,
  wait_p50_s: offered / 7,
  wait_p95_s: offered / 3,
  wait_p99_s: offered,
  e2e_p95_s: null,
})

/** Every list has values of its own, by which it is found again. */
export function series(): Series {
  let made = 0
  const list = () => [++made, made + 0.25, made + 0.5]
  const lane = () => ({
    inflight: list(),
    queued: list(),
    wait_p50_s: [null, ...list().slice(1)],
    wait_p95_s: list(),
  })
  return {
    t: [0, 4, 8],
    limit: list(),
    capacity: list(),
    inflight: list(),
    attempts_per_s: list(),
    answers_429_per_s: list(),
    answers_529_per_s: list(),
    jain: [null, 0.5, 0.75],
    lanes: { premium: lane(), interactive: lane(), batch: lane() },
  }
}
