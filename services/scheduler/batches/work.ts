/** What is done about a batch once it is there: its entries become jobs, page by page, and those jobs are cancelled
 *  where it is cancelled. An entry's job has an id of its own for ever, so what is done twice, after a crash or by two
 *  instances, is done once. */
import { entryJob, type Batch } from '#contracts/batches'
import { refusal, type Refusal } from '#contracts/messages'
import type {
  BatchName,
  BatchStore,
  Clock,
  Jobs,
  MessageBatchNews,
  Millis,
  OpenBatches,
  Scheduler,
  SubmittedJob,
} from '#ports'
import { readNames, readPage } from './pages.ts'
import { change, recount } from './records.ts'

export interface BatchWorkOptions {
  store: BatchStore
  jobs: Jobs
  scheduler: Scheduler
  clock: Clock
  instance: string
  /** An entry as a job, or why it can be none. */
  read(of: {
    batch: Batch
    id: string
    body: Uint8Array
    deadlineMs: Millis
  }): SubmittedJob | { refused: Refusal }
  /** Another instance holds the job. */
  cancelElsewhere: (tenant: string, id: string) => void
  receiveMs: () => Millis
  news: (news: MessageBatchNews) => void
  onError: (error: unknown) => void
}

/** Batches that one instance works on at once; the next look finds the others. */
const BATCHES_MAX = 8
/** Entries of one batch under way to the store. */
const ENTRIES_MAX = 8
const LOOK_EVERY: Millis = 15_000
/** Who worked on a batch and has not said so for so long is dead. */
const DEAD_AFTER: Millis = 60_000
const AGAIN: Millis = 500
const CANCELS_MAX = 50
const CANCEL_AGAIN: Millis = 20

export class BatchWork {
  readonly #of: BatchWorkOptions
  /** By tenant and id; true: there is more to do than was seen when it began. */
  readonly #busy = new Map<string, boolean>()
  #open: OpenBatches = NONE_OPEN
  #cancelLook = (): void => {}
  #stopped = false

  constructor(options: BatchWorkOptions) {
    this.#of = options
  }

  start(): void {
    if (this.#stopped) return
    this.#cancelLook = this.#of.clock.after(LOOK_EVERY, () => void this.look())
  }

  stop(): void {
    this.#stopped = true
    this.#cancelLook()
  }

  /** All batches that are not over: given up ones are deleted, those whose worker died are gone on with, and results
   *  are counted before they may be too old. */
  async look(): Promise<void> {
    this.#cancelLook()
    try {
      const open = { ...NONE_OPEN }
      for (const name of await this.#of.store.open()) {
        const state = await this.#lookAt(name)
        if (state !== 'ended') open[state] += 1
      }
      this.#open = open
    } catch (error) {
      this.#of.onError(error)
    } finally {
      this.start()
    }
  }

  /** Those that have not ended, as they were last looked at. */
  get open(): OpenBatches {
    return this.#open
  }

  /** Goes on with a batch until nothing is left to do but to wait for its jobs. */
  async run(name: BatchName): Promise<void> {
    const key = `${name.tenant}/${name.id}`
    if (this.#busy.has(key)) return void this.#busy.set(key, true)
    if (this.#busy.size >= BATCHES_MAX) return
    try {
      do this.#busy.set(key, false)
      while (!this.#stopped && ((await this.#step(name)) || this.#busy.get(key) === true))
    } catch (error) {
      this.#of.onError(error)
    } finally {
      this.#busy.delete(key)
    }
  }

  /** How it stands then; one that is gone has ended. */
  async #lookAt(name: BatchName): Promise<Batch['state']> {
    const { store, clock, instance, receiveMs, news } = this.#of
    const batch = (await store.find(name))?.batch ?? null
    const restsMs = batch === null ? 0 : clock.wall() - batch.touchedAt
    if (batch === null || batch.state === 'ended') {
      await store.close(name)
      return 'ended'
    }
    if (batch.state === 'receiving') {
      if (restsMs <= receiveMs()) return 'receiving'
      await store.remove(name)
      news({ what: 'dropped' })
      return 'ended'
    }
    if (batch.by === instance || restsMs > DEAD_AFTER) await this.run(name)
    return (await recount(this.#of, name))?.state ?? 'ended'
  }

  /** One page; false: there is none left. */
  async #step(name: BatchName): Promise<boolean> {
    const batch = (await this.#of.store.find(name))?.batch ?? null
    if (batch === null) return false
    // What was begun is ended first: an entry that becomes a job meanwhile would be cancelled by nobody.
    if (batch.fed < batch.begun) return batch.state === 'ended' ? false : this.#feed(batch)
    if (batch.state === 'in_progress' && batch.fed < batch.pages) return this.#begin(batch)
    if (batch.state === 'canceling' && batch.cancelled < batch.fed) return this.#cancel(batch)
    return false
  }

  /** Another instance may have begun it too, or somebody has cancelled it. */
  async #begin(batch: Batch): Promise<boolean> {
    const page = batch.begun
    await this.#noted(batch, (now) =>
      now.state === 'in_progress' && now.begun === page ? { begun: page + 1 } : null,
    )
    return true
  }

  async #feed(batch: Batch): Promise<boolean> {
    const { store } = this.#of
    const { tenant, id, fed: page } = batch
    const bytes = await store.page({ tenant, id, kind: 'entries', page })
    const params = (bytes === null ? null : readPage(bytes))?.params ?? []
    const all = await this.#each(params, (body, entry) =>
      this.#submit(batch, entryJob(id, page, entry), body),
    )
    if (!all) return false
    await this.#noted(batch, (now) =>
      now.fed === page ? { fed: page + 1, fedEntries: now.fedEntries + params.length } : null,
    )
    await store.dropPage({ tenant, id, kind: 'entries', page })
    return true
  }

  async #cancel(batch: Batch): Promise<boolean> {
    const { store } = this.#of
    const { tenant, id, cancelled: page } = batch
    const names = readNames(await store.page({ tenant, id, kind: 'names', page }))
    const all = await this.#each(names, async (_, entry) => {
      await this.#end(tenant, entryJob(id, page, entry))
      return true
    })
    if (!all) return false
    await this.#noted(batch, (now) => (now.cancelled === page ? { cancelled: page + 1 } : null))
    return true
  }

  async #noted(name: BatchName, more: (batch: Batch) => Partial<Batch> | null): Promise<void> {
    const { store, clock, instance } = this.#of
    await change(store, name, (batch) => {
      const changed = more(batch)
      return changed && { ...batch, ...changed, by: instance, touchedAt: clock.wall() }
    })
  }

  /** True: its job is stored, or its result is. */
  async #submit(batch: Batch, id: string, body: Uint8Array): Promise<boolean> {
    const { jobs, clock, read } = this.#of
    const job = { ...batch, id, group: batch.id }
    for (;;) {
      const deadlineMs = Math.floor(batch.expiresAt - clock.wall())
      const entry = deadlineMs < 1 ? EXPIRED : read({ batch, id, body, deadlineMs })
      const said = 'refused' in entry ? entry : await jobs.submit(entry)
      if (!('refused' in said)) return true
      if (!said.refused.retryable) {
        await jobs.refuse(job, said.refused)
        return true
      }
      if (this.#stopped || said.refused.code === 'draining') return false
      const waitMs = said.refused.retryAfterMs ?? AGAIN
      await new Promise<void>((resolve) => void clock.after(waitMs, resolve))
    }
  }

  /** A job that is just being taken can be cancelled a moment later. */
  async #end(tenant: string, id: string): Promise<void> {
    const { jobs, scheduler, cancelElsewhere, clock } = this.#of
    for (let tries = 0; tries < CANCELS_MAX && !this.#stopped; tries++) {
      if (scheduler.cancel(tenant, id)?.cancelled === true) return
      const said = await jobs.cancel(tenant, id)
      if (said === 'elsewhere') return cancelElsewhere(tenant, id)
      if (said === null || said.cancelled) return
      if ((await jobs.fetch(tenant, id, 0)) !== 'pending') return
      await new Promise<void>((resolve) => void clock.after(CANCEL_AGAIN, resolve))
    }
  }

  /** A few at a time; false: one was not done, and those after it were not begun. */
  async #each<T>(
    all: readonly T[],
    act: (one: T, at: number) => Promise<boolean>,
  ): Promise<boolean> {
    let next = 0
    let ok = true
    const lane = async (): Promise<void> => {
      while (ok && next < all.length && !this.#stopped) {
        const at = next++
        ok = (await act(all[at] as T, at)) && ok
      }
    }
    await Promise.all(Array.from({ length: ENTRIES_MAX }, lane))
    return ok && !this.#stopped
  }
}

export const NONE_OPEN = { receiving: 0, in_progress: 0, canceling: 0 }

const EXPIRED = {
  refused: refusal('deadline_exceeded', 'the batch expired before the entry was a job'),
}
