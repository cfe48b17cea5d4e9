/** One gathering's way, from the claims of its jobs to their results. Each step that cannot be taken back is noted
 *  before and after, by compare-and-set; whoever reads the note goes on from there, after whatever end of the one
 *  who wrote it:
 *    claiming   nothing was sent: the jobs go back in line
 *    creating   a batch may have been made: it is looked for in the provider's list, and never made blindly again
 *    created    it is looked at until it has ended, and its results are read, again if the reading broke off */
import { customIdOf, seqOf, type Gathering } from '#contracts/jobs'
import { statusOfType } from '#contracts/api-errors'
import { refusal } from '#contracts/messages'
import {
  CREATE_WITHIN,
  fateOf,
  giveUpAt,
  listedSince,
  mayBeOurs,
  pollIn,
  wasNotMade,
  type BatchKnobs,
} from '#core/laws/batches'
import type {
  BatchAsk,
  BatchEntry,
  ProviderBatches,
  BatchNews,
  BatchResult,
  BatchSeen,
  Clock,
  Dice,
  GatheringStore,
  Millis,
  StoredJob,
} from '#ports'
import type { BatchJobs, HeldJob } from './batch-jobs.ts'

export interface GatheringRunOptions {
  jobs: BatchJobs
  batches: ProviderBatches
  store: GatheringStore
  clock: Clock
  dice: Dice
  knobs: () => BatchKnobs
  upstream: (name: string) => BatchAsk['upstream']
  streams: (job: StoredJob) => boolean
  news: (what: BatchNews, entries: number) => void
  /** The provider does not want it; null: it does again. */
  refused: (of: { askedMs: Millis | null } | null) => void
  onError: (error: unknown) => void
}

/** Claims that are written at once. */
const CLAIMS = 16
/** Between two tries of a step that failed, doubling. */
const AGAIN = { first: 1_000, most: 60_000 } as const
/** Results that leave an entry out are read again so often; then its job goes in line. */
const READS_MAX = 3

export class GatheringRun {
  #noted: Gathering
  #revision: number
  readonly #of: GatheringRunOptions
  /** The jobs of a create that was noted by us and not sent yet; null: somebody noted it, and may have sent it. */
  #unsent: StoredJob[] | null = null
  /** It was noted by us that we claim. */
  #fresh: boolean
  #reads = 0
  #fails = 0
  #stopped = false
  /** Somebody else wrote the note. */
  #lost = false
  #wake = (): void => {}

  /** `revision` 0: it is new. */
  constructor(gathering: Gathering, revision: number, options: GatheringRunOptions) {
    this.#noted = gathering
    this.#revision = revision
    this.#fresh = revision === 0
    this.#of = options
  }

  get gathering(): Gathering {
    return this.#noted
  }

  /** Until it is over, stopped, or somebody else's. */
  async run(): Promise<void> {
    while (!this.#stopped) {
      try {
        if (await this.#step()) return
        this.#fails = 0
      } catch (error) {
        this.#of.onError(error)
        await this.#wait(Math.min(AGAIN.most, AGAIN.first * 2 ** this.#fails++))
      }
    }
    if (this.#unsent !== null && !this.#lost) await this.#drop(UNTOUCHED).catch(this.#of.onError)
  }

  /** What is noted stays, for another to go on with. */
  stop(): void {
    this.#stopped = true
    this.#wake()
  }

  /** True: over. */
  #step(): Promise<boolean> {
    const { state } = this.#noted
    if (state === 'claiming') return this.#fresh ? this.#claim() : this.#drop(UNTOUCHED)
    if (state === 'created') return this.#follow()
    return this.#unsent === null ? this.#find() : this.#create(this.#unsent)
  }

  // ---- claiming ----

  async #claim(): Promise<boolean> {
    if (this.#revision === 0 && !(await this.#note({}))) return true
    const taken: StoredJob[] = []
    const seqs = [...this.#noted.jobs]
    const claimer = async (): Promise<void> => {
      for (let seq = seqs.shift(); seq !== undefined; seq = seqs.shift()) {
        const job = await this.#of.jobs.take(seq, this.#noted.id)
        if (job !== null) taken.push(job)
      }
    }
    await Promise.all(Array.from({ length: CLAIMS }, claimer))
    if (taken.length === 0) return this.#end()
    return this.#noteCreate(taken, { round: 1 })
  }

  // ---- creating ----

  async #noteCreate(jobs: StoredJob[], of: { round: number }): Promise<boolean> {
    const noted = await this.#note({
      ...{ round: of.round, state: 'creating', jobs: jobs.map(({ seq }) => seq) },
      ...{ at: this.#of.clock.wall(), giveUpAt: giveUpAt(jobs, this.#of.knobs()) },
      ...{ batch: null, found: false, others: [] },
    })
    this.#unsent = jobs
    return !noted
  }

  async #create(jobs: StoredJob[]): Promise<boolean> {
    const { clock, batches, news } = this.#of
    const { round, at } = this.#noted
    // We slept, or the store did: somebody may have concluded meanwhile that nothing was made.
    if (clock.wall() - at > CREATE_WITHIN) return this.#noteCreate(jobs, { round })
    this.#unsent = null
    const created = await batches.create(
      this.#ask(),
      jobs.map((job) => this.#entryOf(job)),
    )
    if (created.how === 'made') {
      this.#of.refused(null)
      news('created', jobs.length)
      return !(await this.#noteSurely({ state: 'created', batch: created.batch.id }))
    }
    if (created.how === 'unknown') {
      news('unanswered', jobs.length)
      return false
    }
    news('refused', jobs.length)
    this.#of.refused({ askedMs: created.retryAfterMs })
    return this.#drop(UNTOUCHED)
  }

  #entryOf(job: StoredJob): BatchEntry {
    const customId = customIdOf(this.#noted, job.seq)
    return { customId, body: job.body, stream: this.#of.streams(job) }
  }

  /** A batch of the list that is as large and as young as ours is ours, until its results say otherwise. */
  async #find(): Promise<boolean> {
    const { clock, batches, store, knobs, news } = this.#of
    const { at, jobs, others } = this.#noted
    const late = wasNotMade(at, knobs(), clock.wall())
    const [listed, noted] = await Promise.all([
      batches.list(this.#ask(), listedSince(at)),
      store.all(),
    ])
    const known = new Set([...others, ...noted.map(({ gathering }) => gathering.batch)])
    const create = { notedAt: at, entries: jobs.length }
    const found = listed.filter((one) => mayBeOurs(one, create) && !known.has(one.id)).at(-1)
    if (found !== undefined) {
      news('found', jobs.length)
      return !(await this.#note({ state: 'created', batch: found.id, found: true }))
    }
    // Looked for once more after the time was over, it is in no list.
    if (late) {
      news('not_made', jobs.length)
      return this.#drop(UNTOUCHED)
    }
    await this.#wait(pollIn(clock.wall() - at, knobs(), this.#of.dice))
    return false
  }

  // ---- created ----

  async #follow(): Promise<boolean> {
    const { batches, clock, knobs } = this.#of
    const { batch, found, jobs } = this.#noted
    const seen = await batches.look(this.#ask(), batch ?? '')
    if (seen === null) {
      if (found) return this.#notOurs()
      // Somebody deleted it: nobody can say what of it ran.
      return this.#drop({ attempts: 1, ambiguous: true })
    }
    if (seen.state === 'ended') return this.#read(seen)
    const late = this.#noted.giveUpAt - clock.wall()
    // One that may be another's is not ours to end.
    if (late <= 0 && seen.state === 'in_progress' && !found) {
      this.#of.news('given_up', jobs.length)
      await batches.cancel(this.#ask(), seen.id)
    }
    const wait = pollIn(clock.wall() - seen.createdAt, knobs(), this.#of.dice)
    await this.#wait(late > 0 ? Math.min(wait, late) : wait)
    return false
  }

  async #read(seen: BatchSeen): Promise<boolean> {
    const { batches, news } = this.#of
    const left = new Set(this.#noted.jobs)
    const again: StoredJob[] = []
    for await (const result of batches.results(this.#ask(), seen.id)) {
      if (this.#stopped) return false
      const seq = seqOf(this.#noted, result.customId)
      if (seq === null || !left.delete(seq)) {
        if (this.#noted.found && seq === null) return this.#notOurs()
        continue
      }
      const held = await this.#of.jobs.held(seq, this.#noted.id)
      if (held !== null && (await this.#settle(held, result, seen))) again.push(held.job)
    }
    if (left.size > 0 && ++this.#reads < READS_MAX)
      throw new Error(`results leave out ${left.size} entries`)
    this.#reads = 0
    await this.#giveBack(left, { attempts: 1, ambiguous: true })
    news('ended', this.#noted.jobs.length)
    if (again.length === 0) return this.#end()
    news('again', again.length)
    return this.#noteCreate(again, { round: this.#noted.round + 1 })
  }

  /** True: it is to be sent again. */
  async #settle(held: HeldJob, result: BatchResult, seen: BatchSeen): Promise<boolean> {
    const { jobs, clock, knobs } = this.#of
    const { round, model } = this.#noted
    const wall = clock.wall()
    if (result.how === 'succeeded') {
      const { message, usage } = result
      const upstreamMs = Math.max(0, wall - seen.createdAt)
      await jobs.answer(held, { message, usage, model, upstreamMs })
      return false
    }
    const leftMs = held.job.acceptedAt + held.job.deadlineMs - wall
    const errorType = result.how === 'errored' ? result.type : null
    const fate = fateOf(result.how, { errorType, round, leftMs }, knobs())
    if (fate === 'refuse') await jobs.refuse(held, refusedBy(result))
    else if (fate === 'dead') await jobs.refuse(held, GIVEN_UP)
    else if (fate === 'line') await jobs.giveBack(held, { attempts: errorType === null ? 0 : 1 })
    return fate === 'again'
  }

  async #notOurs(): Promise<boolean> {
    const { batch, others, jobs } = this.#noted
    this.#of.news('not_ours', jobs.length)
    const known = batch === null ? others : [...others, batch]
    return !(await this.#note({ state: 'creating', batch: null, found: false, others: known }))
  }

  // ---- ends ----

  /** All that it still holds goes back in line. */
  async #drop(of: { attempts: number; ambiguous?: boolean }): Promise<boolean> {
    await this.#giveBack(this.#noted.jobs, of)
    return this.#end()
  }

  async #giveBack(
    seqs: Iterable<number>,
    of: { attempts: number; ambiguous?: boolean },
  ): Promise<void> {
    for (const seq of seqs) {
      const held = await this.#of.jobs.held(seq, this.#noted.id)
      if (held !== null) await this.#of.jobs.giveBack(held, of)
    }
  }

  async #end(): Promise<boolean> {
    if (this.#revision > 0) await this.#of.store.remove(this.#noted.id, this.#revision)
    return true
  }

  // ---- small servants ----

  #ask(): BatchAsk {
    const { upstream, headers } = this.#noted
    const { version, beta } = headers
    return {
      upstream: this.#of.upstream(upstream),
      headers: {
        ...(version === undefined ? {} : { version }),
        ...(beta === undefined ? {} : { beta }),
      },
    }
  }

  /** False: somebody else has it. */
  async #note(change: Partial<Gathering>): Promise<boolean> {
    const gathering = { ...this.#noted, ...change }
    const revision = await this.#of.store.put(gathering, this.#revision)
    if (revision === null) {
      this.#stopped = this.#lost = true
      return false
    }
    this.#noted = gathering
    this.#revision = revision
    return true
  }

  /** What only we know is not forgotten because the store is away for a while. */
  async #noteSurely(change: Partial<Gathering>): Promise<boolean> {
    for (let fails = 0; ; fails++) {
      try {
        return await this.#note(change)
      } catch (error) {
        this.#of.onError(error)
        if (this.#stopped) return false
        await this.#wait(Math.min(AGAIN.most, AGAIN.first * 2 ** fails))
      }
    }
  }

  #wait(ms: Millis): Promise<void> {
    if (this.#stopped) return Promise.resolve()
    return new Promise((resolve) => {
      const stop = this.#of.clock.after(ms, resolve)
      this.#wake = () => {
        stop()
        resolve()
      }
    })
  }
}

/** Nothing was done for it. */
const UNTOUCHED = { attempts: 0 }

type Ending = Parameters<BatchJobs['refuse']>[1]

function refusedBy(result: BatchResult): Ending {
  const { type, body } = result.how === 'errored' ? result : { type: 'api_error', body: null }
  const more = { status: statusOfType(type), type }
  const said = refusal('upstream_error', 'the provider refused the request', more)
  return { refusal: said, upstreamBody: body, attempts: 1 }
}

const GIVEN_UP: Ending = {
  refusal: refusal(
    'retries_exhausted',
    "its turn never came in the provider's batches, twice; an operator may look into it",
    { status: 504, type: 'timeout_error' },
  ),
  upstreamBody: null,
  attempts: 0,
  dead: 'retries_exhausted',
}
