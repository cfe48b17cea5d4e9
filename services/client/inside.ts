/** What every part of a connection is given. */
import type { subjects } from '#contracts/subjects'
import type { HeadgateOptions } from './contract.ts'
import type { Mailbox } from './mailbox.ts'
import type { ClientSystem } from './system.ts'
import type { Transport } from './transport.ts'
import type { Watch } from './watch.ts'

export interface Inside extends HeadgateOptions {
  transport: Transport
  box: Mailbox
  system: ClientSystem
  /** Over who has our calls; null: whoever serves them is in this process. */
  watch: Watch | null
  to: ReturnType<typeof subjects>
  /** Whether what it hangs on is open. */
  isOpen: () => boolean
  /** Gives back what is its own. */
  release: () => Promise<void>
}

/** What an answer may take on the way, beyond the time that was agreed on. */
export const GRACE_MS = 5_000
