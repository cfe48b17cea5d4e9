/** What walks through the store find: places for the lines, jobs that may not start yet, those whose time is over,
 *  and what an instance that died had. */
import { NOBODY } from '#contracts/jobs'
import type {
  Clock,
  FoundClaim,
  HeldClaim,
  JobStore,
  MetJob,
  Millis,
  StoredJob,
  Walked,
} from '#ports'
import type { Backlog } from './backlog.ts'
import type { Delayed } from './delayed.ts'
import type { Flow } from './flow.ts'
import { Walk } from './walk.ts'

/** Claims of a page. */
const CLAIMS = 500
/** Of those that a slow walk meets, so many are looked at: few are left over. */
const CLAIMS_LOOKED_AT = 50
/** Jobs of the dead that are looked for at once. */
const AT_ONCE = 16
/** A note that a flow has jobs, of which nobody has heard for so long, goes. */
const NOTE_FORGET: Millis = 3_600_000
const AGAIN: Millis = 5_000

export interface LookoutOptions {
  store: JobStore
  clock: Clock
  backlog: Backlog
  delayed: Delayed
  limits: () => { delayedMax: number; sweepPerSecond: number }
  owned: (of: { tenant: string; id: string }) => boolean
  /** Its owner lives: an instance, or a batch. */
  held: (by: string) => boolean
  dead: (instance: string) => boolean
  inBatch: (seq: number) => boolean
  expired: (job: StoredJob) => Promise<unknown>
  onError: (error: unknown) => void
}

type PlacedJob = Omit<MetJob, 'startsAt' | 'endsAt'>

export class Lookout {
  readonly walk: Walk
  readonly #of: LookoutOptions
  #takingOver: 'not' | 'once' | 'once more' = 'not'
  #stopped = false

  constructor(options: LookoutOptions) {
    this.#of = options
    const { store, clock, backlog, limits, onError } = options
    this.walk = new Walk({
      ...{ store, clock, onError },
      lines: backlog,
      perSecond: () => limits().sweepPerSecond,
      met: (one) => this.#met(one),
      looked: (found) => this.#looked(found),
      round: () => backlog.forgetIdle(),
    })
  }

  /** Who has jobs is known from notes; what they are, from the walk. */
  start(): void {
    this.#greet()
    this.walk.start()
  }

  stop(): void {
    this.#stopped = true
    this.walk.stop()
  }

  /** Somebody died: what it had is to be had, and what only it knew of. */
  died(): void {
    void this.#takeOver()
    this.walk.all()
  }

  /** A job is in the store, of which we may not have heard. */
  noticed(job: PlacedJob & Pick<MetJob, 'startsAt'>): void {
    if (this.#of.owned(job)) return
    if (job.startsAt !== null) this.#later(job, job.startsAt)
    else this.#place(job)
  }

  #greet(): void {
    const { store, backlog, clock, onError } = this.#of
    store.flows().then(
      (flows) => {
        for (const one of flows) {
          const flow = backlog.flow(one)
          if (flow !== null) backlog.kick(flow)
        }
      },
      (error: unknown) => {
        onError(error)
        if (!this.#stopped) clock.after(AGAIN, () => this.#greet())
      },
    )
  }

  // ---- a fast walk ----

  #met(one: Walked): void {
    if (one.kind !== 'job' || this.#of.owned(one)) return
    if (one.startsAt !== null) this.#later(one, one.startsAt)
    else if (!this.#of.inBatch(one.seq)) this.#place(one, { reading: true })
  }

  #later(job: PlacedJob, startsAt: Millis): void {
    const { delayed, backlog, clock, limits, onError } = this.#of
    if (startsAt > clock.wall()) {
      // Where there is no room the slow walk meets it again.
      if (delayed.size < limits().delayedMax) delayed.add(job, startsAt)
      return
    }
    const flow = backlog.flow(job)
    if (flow !== null && !flow.line.has(job.seq)) this.#stray(flow, job).catch(onError)
  }

  #place(job: PlacedJob, of = { reading: false }): void {
    const { backlog, onError } = this.#of
    const flow = backlog.flow(job)
    if (flow === null) return
    if (backlog.met(flow, job.seq, of) === 'stray') this.#stray(flow, job).catch(onError)
  }

  /** It was taken from its line, and nobody here has it. */
  async #stray(flow: Flow, job: PlacedJob): Promise<void> {
    const { store, backlog, owned, held } = this.#of
    const there = await store.claimOf(job.tenant, job.id)
    if (owned(job) || (there !== null && held(there.claim.by))) return
    backlog.again(flow, job)
    backlog.kick(flow)
  }

  // ---- a slow one ----

  async #looked(found: readonly Walked[]): Promise<void> {
    let claims = 0
    for (const one of found) {
      if (this.#stopped) return
      if (one.kind === 'job') await this.#look(one)
      else if (one.kind === 'flow') await this.#note(one)
      else if (++claims <= CLAIMS_LOOKED_AT) await this.#claim(one)
    }
  }

  /** Its time may be over before its turn came, and whoever stored it may have told nobody. */
  async #look(met: MetJob): Promise<void> {
    const { store, clock, owned, expired } = this.#of
    if (owned(met)) return
    if (met.endsAt !== null && clock.wall() >= met.endsAt) {
      const job = await store.at(met.seq)
      if (job !== null) await expired(job)
    } else if (!this.#of.inBatch(met.seq)) this.noticed(met)
  }

  /** A claim that came too late, or whose owner died in the end, has no job any more. */
  async #claim(claim: FoundClaim): Promise<void> {
    const { store, owned } = this.#of
    if (owned(claim)) return
    if ((await store.find(claim.tenant, claim.id)) === null) await store.release(claim.revision)
  }

  /** A flow that nobody has used for long needs no note: the walk knows what it may have. */
  async #note({ flow: of, seq, notedAt }: Extract<Walked, { kind: 'flow' }>): Promise<void> {
    const { store, clock, backlog } = this.#of
    if (clock.wall() - notedAt < NOTE_FORGET || backlog.has(of)) return
    await store.forgetFlow(seq)
  }

  // ---- what the dead had ----

  async #takeOver(): Promise<void> {
    if (this.#takingOver !== 'not') {
      this.#takingOver = 'once more'
      return
    }
    do {
      this.#takingOver = 'once'
      try {
        await this.#inherit()
      } catch (error) {
        this.#of.onError(error)
        this.#takingOver = 'once more'
        await new Promise<void>((resolve) => void this.#of.clock.after(AGAIN, resolve))
      }
    } while (this.#takingOver === ('once more' as string) && !this.#stopped)
    this.#takingOver = 'not'
  }

  async #inherit(): Promise<void> {
    for (let from = 0; !this.#stopped;) {
      const claims = await this.#of.store.heldClaims(from, CLAIMS)
      const left = claims.filter((one) => this.#isLeft(one))
      for (let at = 0; at < left.length; at += AT_ONCE)
        await Promise.all(left.slice(at, at + AT_ONCE).map((one) => this.#restore(one)))
      const last = claims.at(-1)
      if (last === undefined || claims.length < CLAIMS) return
      from = last.revision + 1
    }
  }

  #isLeft({ tenant, id, claim: { by } }: HeldClaim): boolean {
    return (by === NOBODY || this.#of.dead(by)) && !this.#of.owned({ tenant, id })
  }

  async #restore({ tenant, id }: HeldClaim): Promise<void> {
    const { store, backlog, owned } = this.#of
    const job = await store.find(tenant, id)
    const flow = job === null || owned(job) ? null : backlog.flow(job)
    if (job === null || flow === null) return
    backlog.again(flow, job)
    backlog.kick(flow)
  }
}
