/** The bounds of the room of jobs, as the configuration has them. */
import type { ConfigFile } from '#contracts/config'

export interface RoomLimits {
  window: number
  windowTotal: number
  windowBytes: number
  claimsMax: number
  /** Calls that may have run tools may be made again. */
  acting: boolean
  delayedMax: number
  flowsMax: number
  placesMax: number
  submitsMax: number
  fetchesMax: number
  sweepPerSecond: number
}

export const roomLimits = ({ jobs, llm_gateway }: ConfigFile): RoomLimits => ({
  window: jobs.window,
  windowTotal: jobs.window_total,
  windowBytes: jobs.window_bytes,
  claimsMax: jobs.claims_max,
  acting: llm_gateway.retry.acting,
  delayedMax: jobs.delayed_max,
  flowsMax: jobs.flows_max,
  placesMax: jobs.places_max,
  submitsMax: jobs.submits_max,
  fetchesMax: jobs.fetches_max,
  sweepPerSecond: jobs.sweep_per_second,
})
