/** What a page is told first: the charts of the machines, and what does not change while the process lives. */
import { z } from 'zod'

export const CHART_NAMES = ['breaker', 'limit', 'lifecycle'] as const
export type ChartName = (typeof CHART_NAMES)[number]

/** One machine as data and as a drawing; the same ids in both. */
export const chart = z.object({
  name: z.enum(CHART_NAMES),
  title: z.string(),
  /** Without a `<style>`: the page's own speaks of `.headgate-chart .paper`, `.state`, `.state .name`,
   *  `.state .start`, `.edge`, `.hears`, `.head`, `.on`, `.guard` and `.does`. Each `<g class="state">` carries
   *  `data-id` = a state's `id`; each `<g class="edge">` (an arrow) and `<g class="hears">` (a line in a
   *  state's box) carries `data-id` = an edge's `id`. */
  svg: z.string(),
  /** `id` is machine and state: `breaker.open`. `name` is what `state` says elsewhere: `open`. */
  states: z.array(z.object({ id: z.string(), name: z.string(), means: z.string() })),
  /** In the order in which `counts` speaks of them. */
  edges: z.array(
    z.object({
      id: z.string(),
      from: z.string(),
      to: z.string(),
      on: z.string(),
      guard: z.string(),
      /** False: heard without leaving the state. */
      moves: z.boolean(),
    }),
  ),
})
export type Chart = z.infer<typeof chart>

export const hello = z.object({
  instance: z.string(),
  version: z.string(),
  /** Wall time of the scheduler's start. Another one than before: it has restarted. */
  started_at: z.int(),
  at: z.int(),
  charts: z.array(chart),
  lanes: z.array(z.object({ name: z.string(), weight: z.number(), preemptible: z.boolean() })),
  knobs: z.object({
    frame_ms: z.int(),
    /** Over how long the guardrails look. */
    guardrail_window_ms: z.int(),
    /** Most of a lane's queue wait P50 and P95 in a frame: over how long. */
    wait_window_ms: z.int(),
    transitions_max: z.int(),
    settled_lives_max: z.int(),
    tenants_page_max: z.int(),
    requests_max: z.int(),
  }),
  /** What an operator can do about each kind of finding, in a sentence; more stands at `/runbook#<kind>`. */
  runbook: z.record(z.string(), z.string()),
  /** What each reason for waiting means, and what can be done about it; null: nothing needs doing. */
  wait_reasons: z.record(z.string(), z.object({ means: z.string(), act: z.string().nullable() })),
  /** `token`: acts need `Authorization: Bearer`. `off`: no token is set and every act is refused. */
  admin: z.enum(['token', 'off']),
  /** True: the only upstream is the simulated provider, and its faults may be set. */
  simulated: z.boolean(),
})
export type Hello = z.infer<typeof hello>
