/** What happened to every Messages call and every entry of a batch that ran, so that a test can prove that nothing ran twice. */
import type { Millis, Tokens } from '#contracts/units'

export interface LedgerEntry {
  /** Rises by one with each entry, from 1; what `since` compares. */
  n: number
  requestId: string
  /** Null when the body named none. */
  model: string | null
  /** First 8 hexadecimal digits of the SHA-256 of the API key; null without a key. */
  key: string | null
  /** The body's `metadata.user_id`. */
  user: string | null
  stream: boolean
  /** Milliseconds since 1970. */
  at: Millis
  /** When the last of it was handed to the network or the caller left, ms since 1970; null: it runs. */
  endedAt: Millis | null
  /** Passed authentication, validation, capacity and quota. */
  accepted: boolean
  /** The model ran, at least in part. */
  executed: boolean
  /** The whole answer was handed to the network. */
  finished: boolean
  /** The caller left, or a fault cut the answer. */
  aborted: boolean
  /** Null until the answer begins, and for ever when no status line was sent. */
  status: number | null
  /** The fault that shaped the answer. */
  fault: string | null
  /** Tokens that this call is charged for. */
  billed: { input: Tokens; output: Tokens }
  /** The entry of a batch that it was; its tokens cost half. Null for a call of its own. */
  batch: { id: string; customId: string } | null
}

export interface LedgerPage {
  entries: LedgerEntry[]
  /** Entries forgotten because of `ledgerMax`. */
  dropped: number
}

export interface Ledger {
  /** Gives the entry its number. It stays live: its maker goes on filling it in. */
  add(entry: LedgerEntry): void
  /** Entries after number `since`, oldest first. */
  read(since?: number): LedgerPage
}

/** A ring of at most `max` entries. */
export function createLedger(max: number): Ledger {
  const ring: LedgerEntry[] = []
  let added = 0
  return {
    add(entry) {
      ring[added % max] = entry
      entry.n = ++added
    },
    read(since = 0) {
      const head = added > max ? added % max : 0
      const inOrder = head === 0 ? ring.slice() : [...ring.slice(head), ...ring.slice(0, head)]
      const entries = since > 0 ? inOrder.filter((entry) => entry.n > since) : inOrder
      return { entries, dropped: Math.max(0, added - max) }
    },
  }
}
