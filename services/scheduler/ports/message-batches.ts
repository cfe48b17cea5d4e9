/** Message batches of the HTTP door. */
import type { Batch, BatchOp } from '#contracts/batches'
import type { Refusal } from '#contracts/messages'
import type { Millis } from '#contracts/units'
import type { BusHeaders } from './bus.ts'
import type { Incoming } from './requests.ts'

/** Whose batch. */
export interface BatchName {
  readonly tenant: string
  readonly id: string
}

/** One of the pages that a batch came in: its `names`, or its `entries` whole. */
export interface BatchPage extends BatchName {
  readonly kind: 'names' | 'entries'
  readonly page: number
}

/** A result of a batch's job, in its place among those of the batch. */
export interface GroupResult {
  readonly seq: number
  /** The job's. */
  readonly id: string
  /** Ms since 1970. */
  readonly at: Millis
  readonly headers: BusHeaders
  /** Empty where heads were asked for. */
  readonly body: Uint8Array
}

/** Where batches are kept beside the jobs that they become. Each act is one, whole or not at all, also between
 *  instances; each rejects with a `JobStoreError`, in bounded time. */
export interface BatchStore {
  /** The largest page, in bytes. */
  readonly pageBytesMax: number
  /** Puts it among those that are not over; false: there is one of that name. */
  create(batch: Batch): Promise<boolean>
  find(of: BatchName): Promise<{ batch: Batch; revision: number } | null>
  /** Writes over a revision; its own, or null: somebody was faster. */
  write(batch: Batch, over: number): Promise<number | null>
  /** Of a tenant, the last first. */
  idsOf(tenant: string): Promise<string[]>
  /** Those that are not over, of all tenants. */
  open(): Promise<BatchName[]>
  /** It is over: no entry of it waits any more. */
  close(of: BatchName): Promise<void>
  putPage(of: BatchPage, bytes: Uint8Array): Promise<void>
  page(of: BatchPage): Promise<Uint8Array | null>
  dropPage(of: BatchPage): Promise<void>
  /** Takes away all that is kept of it, its results too. */
  remove(of: BatchName): Promise<void>
  /** Results in the order in which they were stored, from a place on: at most so many and about so many bytes, at
   *  least one where there is one. */
  results(
    of: BatchName,
    from: number,
    most: { count: number; bytes: number },
  ): Promise<GroupResult[]>
  /** The same without bodies. */
  heads(of: BatchName, from: number, count: number): Promise<GroupResult[]>
}

/** What an HTTP door may ask about batches. The answer is JSON, or the lines of a page of results. */
export interface Batches {
  ask(op: BatchOp, of: BatchAsked): Promise<BatchSaid>
}

export interface BatchAsked {
  tenant: string
  data: Uint8Array
  /** What a new batch's entries are sent with; who asks anything else says nothing here. */
  said: Pick<Incoming, 'deadlineMs' | 'degrade' | 'headers'> & { maxAttempts: number | null }
}

export type BatchSaid = { json: unknown } | { bytes: Uint8Array } | { refused: Refusal }
