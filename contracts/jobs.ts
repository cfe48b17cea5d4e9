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
  /** Who had a result's job, as JSON: its owners, the one that ended it last. */
  owners: 'Headgate-Owners',
  /** Why a job is dead. */
  reason: 'Headgate-Dead-Reason',
} as const

/** The group of a job that stands alone. */
export const NO_GROUP = '_'

/** Who holds a claim that was given back: whoever comes first may have the job. */
export const NOBODY = '-'

/** Earlier owners that a claim names, the last ones. */
export const PAST_MAX = 16

/** One that had a job, and how it came that it has it no more. */
export const pastOwner = z.object({
  by: z.string().max(64),
  /** When it took the job, ms since 1970; 0: nobody wrote it down. */
  since: z.number(),
  how: z.enum(['died', 'returned', 'ended']),
  /** Calls that were begun until then, by whomever. */
  attempts: z.int().min(0),
  /** The last of them was under way, and may have run. */
  calling: z.boolean(),
})
export type PastOwner = z.infer<typeof pastOwner>

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
  /** When it was taken, ms since 1970. */
  since: z.number().optional(),
  /** Who had it before, the first one first. */
  past: z.array(pastOwner).max(PAST_MAX).optional(),
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
