/** Changes of batches: read, changed and written over what was read, as often as somebody else was faster. */
import { tallied, type Batch, type Tally } from '#contracts/batches'
import { HEADER } from '#contracts/messages'
import type {
  BatchName,
  BatchStore,
  BusHeaders,
  Clock,
  GroupResult,
  MessageBatchNews,
  Millis,
} from '#ports'

/** Null: there is none, or it is as it should be already. Gives what is kept now. */
export async function change(
  store: BatchStore,
  name: BatchName,
  to: (batch: Batch) => Batch | null,
): Promise<Batch | null> {
  for (;;) {
    const found = await store.find(name)
    if (found === null) return null
    const changed = to(found.batch)
    if (changed === null) return found.batch
    if ((await store.write(changed, found.revision)) !== null) return changed
  }
}

export interface Counting {
  store: BatchStore
  clock: Pick<Clock, 'wall'>
  news: (news: MessageBatchNews) => void
}

/** Results that came since it was last looked are counted, and the batch ends with the last of them. Gives what is
 *  kept now; null: there is none. */
export async function recount(of: Counting, name: BatchName): Promise<Batch | null> {
  const { store, clock } = of
  const now = clock.wall()
  for (;;) {
    const found = await store.find(name)
    if (found === null) return null
    const { batch, revision } = found
    if (batch.state === 'ended' || batch.state === 'receiving') return batch
    const news = await store.heads(name, batch.countedTo, HEADS)
    const counted = ended(countedWith(batch, news), news.at(-1)?.at ?? now, now)
    if (counted === batch) return batch
    if ((await store.write(counted, revision)) === null) continue
    if (counted.state === 'ended') {
      of.news({ what: 'ended', tally: counted.tally })
      await store.close(name)
    }
    if (news.length < HEADS) return counted
  }
}

/** Results that are looked at together. */
const HEADS = 2_000
/** So long after its end a batch waits for results: a job that ran out of time has one by then. */
const LOST_AFTER: Millis = 600_000

function countedWith(batch: Batch, news: readonly GroupResult[]): Batch {
  const last = news.at(-1)
  if (last === undefined) return batch
  const tally = { ...batch.tally }
  for (const { headers } of news) tally[endOf(headers)] += 1
  return { ...batch, tally, countedTo: last.seq + 1 }
}

function ended(batch: Batch, lastAt: Millis, now: Millis): Batch {
  const { tally, entries, fedEntries } = batch
  const canceling = batch.state === 'canceling'
  const lost = now > batch.expiresAt + LOST_AFTER
  if (!lost && !(canceling ? isCancelled(batch) : batch.fed >= batch.pages)) return batch
  if (!lost && tallied(tally) < fedEntries) return batch
  const never = canceling ? entries - fedEntries : 0
  const missing = Math.max(0, entries - never - tallied(tally))
  return {
    ...batch,
    state: 'ended',
    endedAt: Math.max(batch.createdAt, batch.cancelAt ?? 0, lastAt),
    tally: { ...tally, canceled: tally.canceled + never, errored: tally.errored + missing },
  }
}

/** No entry becomes a job any more, and no job of it waits. */
const isCancelled = ({ begun, fed, cancelled }: Batch): boolean => fed === begun && cancelled >= fed

/** How an entry ended whose job has this result. One that could not be answered in the time it had left has expired,
 *  whether that was foreseen or not. */
export function endOf(headers: BusHeaders): keyof Tally {
  const said = (name: string): string => headers.find(([one]) => one === name)?.[1] ?? ''
  if (said(HEADER.error).startsWith('deadline_unreachable:')) return 'expired'
  return ENDS[said(HEADER.outcome)] ?? 'errored'
}
const ENDS: Readonly<Record<string, keyof Tally>> = {
  completed: 'succeeded',
  cancelled: 'canceled',
  expired: 'expired',
}
