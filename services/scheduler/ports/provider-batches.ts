/** Batches of the provider's own, at half the price. */
import type { Millis } from '#contracts/units'
import type { Verdict } from '#contracts/verdict'
import type { AttemptCall } from './provider.ts'

/** On whose account, and as what: a batch has one version and one set of betas for all its entries. */
export type BatchAsk = Pick<AttemptCall, 'upstream' | 'headers'>

/** A request in a batch. */
export interface BatchEntry {
  /** By which its result is known again: at most 64 of `a-z A-Z 0-9 _ -`. */
  readonly customId: string
  /** The caller's body; sent byte for byte, unless it asks for a stream. */
  readonly body: Uint8Array
  readonly stream: boolean
}

/** A batch as the provider shows it. */
export interface BatchSeen {
  readonly id: string
  readonly state: 'in_progress' | 'canceling' | 'ended'
  /** Ms since 1970, on the provider's clock. */
  readonly createdAt: Millis
  readonly entries: number
}

/** What came of a create. `refused`: there is no such batch. `unknown`: there may be one, and the provider takes no
 *  idempotency key: only its list can tell. */
export type BatchCreated =
  | { how: 'made'; batch: BatchSeen }
  | { how: 'refused'; status: number | null; retryAfterMs: Millis | null }
  | { how: 'unknown' }

export type BatchResult = { readonly customId: string } & (
  | { readonly how: 'succeeded'; readonly message: Uint8Array; readonly usage: Verdict['usage'] }
  /** `body`: an error in the API's shape. */
  | { readonly how: 'errored'; readonly type: string; readonly body: Uint8Array }
  /** Its turn did not come; nothing was done and nothing is charged. */
  | { readonly how: 'expired' | 'canceled' }
)

/** The provider did not say what it was asked: it may later. Carries nothing of what was said. */
export class BatchesError extends Error {
  override readonly name = 'BatchesError'
  /** An HTTP status; null: no answer, or none that makes sense. */
  readonly status: number | null
  constructor(status: number | null, message: string) {
    super(message)
    this.status = status
  }
}

/** The provider's batches. All but `create` reject with a `BatchesError`, in bounded time, and may be tried again. */
export interface ProviderBatches {
  /** Never a rejection. */
  create(ask: BatchAsk, entries: readonly BatchEntry[]): Promise<BatchCreated>
  /** Those of the account that were made at that time or later, as the provider's clock has it; newest first. */
  list(ask: BatchAsk, since: Millis): Promise<BatchSeen[]>
  /** Null: the provider knows no such batch. */
  look(ask: BatchAsk, id: string): Promise<BatchSeen | null>
  /** Of a batch that has ended, in any order; cut off, all of them can be read again. */
  results(ask: BatchAsk, id: string): AsyncIterable<BatchResult>
  /** Asks for the end; what runs may still succeed. */
  cancel(ask: BatchAsk, id: string): Promise<void>
  close(): Promise<void>
}
