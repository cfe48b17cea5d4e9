/** Durable jobs as they are stored (wire contract, section A job). A job, its claim and its result are one message
 *  each, under subjects that carry their names; what else is known of them stands in these headers. */
import { z } from 'zod'
import type { Millis } from './units.ts'

/** Headers of stored messages, beside those that the caller gave or is given. */
export const STORED = {
  /** SHA-256 of the body, in base64url: what makes the same id the same job. */
  hash: 'Headgate-Body-Hash',
  /** When the job was accepted, ms since 1970. */
  acceptedAt: 'Headgate-Accepted-At',
  /** Where a result's job was. */
  lane: 'Headgate-Lane',
  /** Why a job is dead. */
  reason: 'Headgate-Dead-Reason',
} as const

/** The group of a job that stands alone. */
export const NO_GROUP = '_'

/** Who holds a claim that was given back: whoever comes first may have the job. */
export const NOBODY = '-'

/** Who works on a job, and how far it got. Attempts and claims count over all owners. */
export const jobClaim = z.object({
  /** The instance; `NOBODY`: it was given back, with what had been done. */
  by: z.string().max(64),
  /** How often it was claimed, this time included. */
  claims: z.int().min(1),
  /** Calls that were begun. */
  attempts: z.int().min(0),
  /** The last of them may be under way. */
  calling: z.boolean(),
  /** Calls whose instance died under them: each may have run. */
  ambiguous: z.int().min(0).default(0),
})
export type JobClaim = z.infer<typeof jobClaim>

/** Why a job was given up through no fault of its caller's. */
export const DEAD_REASONS = [
  'claims_exhausted',
  'retries_exhausted',
  'unreadable',
  'result_too_large',
  'unknown_lane',
] as const
export type DeadReason = (typeof DEAD_REASONS)[number]

/** The largest `Headgate-Not-Before-Ms`, and the largest `Headgate-Wait-Ms`: 7 days. */
export const LONGEST_MS: Millis = 604_800_000
