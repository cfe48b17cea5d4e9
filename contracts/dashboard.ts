/** What the dashboard's page gets from its server, and what it may ask.
 *
 *  `GET /api/feed` is a stream of server-sent events: one `hello`, then a `frame` a second. A reader that is
 *  too slow misses frames, never parts of one: each frame is whole, and every count in it is since the start
 *  of the process, so a difference between any two frames is right. `GET /api/history` gives what was before.
 *  Times called `at`, `since`, `from_at` and the like are wall time in milliseconds since 1970; durations end
 *  in `_ms`. Names of tenants, lanes and models are other people's text: show them as text.
 *
 *  `/` is the page folder's `index.html`. Its other files stand under `/page/`: every `*.css`, and every
 *  `*.ts` as `*.js`, types taken out and `./x.ts` in its imports turned into `./x.js`; a page module imports
 *  `./` and nothing else, but for types. `/vendor/uplot.js` is uPlot as a classic script (`window.uPlot`),
 *  `/vendor/uplot.css` its styles. Nothing inline runs: scripts and styles come from files, and an element's
 *  style is set by script. An error answer is `apiError`. */
import { z } from 'zod'

export { hello, type Chart, type ChartName, type Hello } from './dashboard-hello.ts'
export {
  FRAME_MS,
  frame,
  type Frame,
  type FrameLane,
  type FrameRoute,
  type Preemption,
  type Transition,
} from './dashboard-frame.ts'
export { BANDS, history, historyQuery, type History } from './dashboard-history.ts'
export {
  REQUESTS_MAX,
  requestsPage,
  requestsQuery,
  tenantPage,
  TENANTS_PAGE_MAX,
  tenantsPage,
  tenantsQuery,
  type RequestRow,
  type RequestsPage,
  type SettledRow,
  type TenantPage,
  type TenantRow,
  type TenantSort,
  type TenantsPage,
  type TenantsQuery,
} from './dashboard-tenants.ts'
export { jobLife, life, type JobLife, type Life, type Span } from './dashboard-lives.ts'
export { faultAsk, faultProblem, type FaultAsk } from './dashboard-faults.ts'

export const apiError = z.object({
  type: z.literal('error'),
  error: z.object({ type: z.string(), message: z.string() }),
})
