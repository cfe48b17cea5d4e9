/** The record in which the members of a fleet say who holds how much (control-laws §14): one value, written by
 *  compare-and-set. What a newer version adds is kept as it was read. */
import { z } from 'zod'

/** Raised when an older instance could not divide by what a newer one writes: then it takes nothing. */
export const RECORD_VERSION = 1

const line = z.looseObject({
  /** Of one life of the member's process. */
  incarnation: z.string(),
  /** Raised by each of its writes: who lives is known by that. */
  seq: z.int(),
  /** Its share is valid for so long after the write was sent, ms. */
  lease: z.number().min(0).max(3_600_000),
  /** Slots that it holds. */
  held: z.int().min(0),
  /** Slots that it could use. */
  want: z.int().min(0),
  inflight: z.int().min(0),
  /** The global limit of its configuration. */
  whole: z.int().min(1),
  /** Of what must be equal in all configurations. */
  config: z.string(),
  version: z.string(),
  /** Its process: whoever runs on the same host can see that it is gone. Absent: nobody can. */
  process: z.string().max(500).optional(),
  /** It takes nothing new. */
  leaving: z.boolean(),
  /** What it knows of the routes' limits. */
  limits: z.record(z.string(), z.object({ epoch: z.int().min(0), limit: z.number().min(0) })),
  /** Of the routes of which it does not hold what it holds of the whole: parts of a thousand of the route's limit that
   *  it holds and could use. Absent: its version divides the whole only. */
  routes: z
    .record(z.string(), z.object({ held: z.number().min(0), want: z.number().min(0) }))
    .optional(),
})

const record = z.looseObject({
  v: z.int(),
  /** Of one record, from its creation on. */
  id: z.string(),
  /** False: it was made anew, and members may still hold what the one before it gave. */
  settled: z.boolean(),
  members: z.record(z.string(), line),
})

export type FleetLine = z.infer<typeof line>
export type FleetRecord = z.infer<typeof record>

export type ReadRecord =
  | { readonly record: FleetRecord; readonly reason: null }
  | { readonly record: null; readonly reason: string }

/** Never throws: what cannot be read is refused with the reason. */
export function readRecord(text: string): ReadRecord {
  const parsed = record.safeParse(jsonOf(text))
  if (!parsed.success) return { record: null, reason: 'the record of the fleet cannot be read' }
  if (parsed.data.v > RECORD_VERSION)
    return {
      record: null,
      reason: `the record of the fleet is of version ${parsed.data.v}; this instance reads ${RECORD_VERSION}`,
    }
  return { record: parsed.data, reason: null }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

export const newRecord = (id: string, settled: boolean): FleetRecord => ({
  v: RECORD_VERSION,
  id,
  settled,
  members: {},
})
