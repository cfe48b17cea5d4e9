/** Whether those who have our calls are alive. A call that says nothing is asked about once, and the answer names
 *  the instance that has it. From then on instances are watched and not calls: a question about any one silent
 *  call makes every instance say its name, since whoever does not have the call says so too.
 *  Lost is an instance that twice in a row says nothing where another one answers, and a call that twice nobody
 *  has. Where nobody answers at all, nothing is known, and everybody is waited for.
 *
 *  Bound: a death is known after `everyMs` + 2 * HEAR_MS + 2 * TICK_MS at most, 4 s as it is shipped.
 *  Cost: one question for each call that is silent for `everyMs`, at most QUESTIONS_MAX at once, and one in
 *  `everyMs` for all calls together; each is one message to every instance, and one from it. */
import { clientSystem, type ClientSystem } from './system.ts'

export const WATCH_MS = 1_500
/** Long enough for every instance's answer: who does not have a call waits 250 ms before it says so. */
export const HEAR_MS = 1_000
const TICK_MS = 250
/** Whoever looks at the clock so much too late stood still itself, and may not have heard what came. */
const LATE_MS = 250
/** Open at once about single calls; the others wait for the next tick. */
const QUESTIONS_MAX = 256
/** So often in a row it must be so. */
const MISSES = 2
/** After the connection was lost and is there again: the instances' own may return later. */
const RETURN_MS = 3_000
/** Calls of an instance that died are not asked again all at once, and large ones not faster than a server and
 *  the instances that are left take them. */
const SPREAD_MS = 250
const SPREAD_BYTES_PER_MS = 32_000

/** What one instance says of a call. */
export interface Said {
  /** Its name; empty: it does not say. */
  who: string
  has: 'live' | 'settled' | 'nothing'
  /** Tries that the call has had there. */
  attempts: number
}

export interface WatchedCall {
  /** Of its body. */
  readonly bytes: number
  /** Asks all instances who has it, and passes on what each says, until the answer is called; `refused` where no
   *  such question may be asked. */
  ask(of: { hear: (said: Said) => void; refused: () => void }): () => void
  /** An instance has it. */
  found(): void
  /** Nobody has it any more, and it is watched no longer. Whatever follows should follow by chance within so many
   *  ms. `attempts`: tries that it had had, as far as was said. */
  lost(of: { withinMs: number; attempts: number }): void
}

export interface Watched {
  /** A word of the call has come. */
  heard(): void
  close(): void
}

export interface Watch {
  /** From when the call has left. */
  begin(call: WatchedCall): Watched
}

export interface WatchOptions {
  system: ClientSystem
  /** Infinity: nothing is ever asked. */
  everyMs?: number | undefined
  /** The connection was lost, and is there again: silence means nothing for a while. The answer ends it. */
  onReturn?: ((listener: () => void) => () => void) | undefined
}

export const watchCalls = (of: WatchOptions): Watch => new CallWatch(of)

interface Entry {
  readonly call: WatchedCall
  /** Silent for so long, it is asked about. */
  readonly patience: number
  heardAt: number
  /** Not before then. */
  askAt: number
  askedAt: number
  misses: number
  attempts: number
  holder: Holder | null
  /** Ends the question about it alone. */
  question: (() => void) | null
}

/** An instance that has calls of ours. */
interface Holder {
  readonly name: string
  readonly calls: Set<Entry>
  heardAt: number
  misses: number
}

class CallWatch implements Watch {
  readonly #system: ClientSystem
  readonly #everyMs: number
  readonly #onReturn: NonNullable<WatchOptions['onReturn']>
  #stopReturns: (() => void) | null = null
  readonly #entries = new Set<Entry>()
  readonly #holders = new Map<string, Holder>()
  #questions = 0
  #ticking: (() => void) | null = null
  /** Ends the question for all. */
  #looking: (() => void) | null = null
  #lookAt = 0
  /** Until then nobody is missed. */
  #calmUntil = 0

  constructor({ system, everyMs = WATCH_MS, onReturn = () => () => {} }: WatchOptions) {
    this.#system = system
    this.#everyMs = everyMs
    this.#onReturn = onReturn
  }

  begin(call: WatchedCall): Watched {
    if (this.#everyMs === Infinity) return { heard() {}, close() {} }
    const now = this.#now()
    const entry: Entry = {
      call,
      // Calls that left together are not asked about together.
      patience: this.#everyMs * (2 / 3 + this.#system.random() / 3),
      heardAt: now,
      askAt: now,
      askedAt: now,
      misses: 0,
      attempts: 0,
      holder: null,
      question: null,
    }
    this.#entries.add(entry)
    this.#stopReturns ??= this.#onReturn(() => this.#returned())
    this.#tickLater()
    return {
      heard: () => this.#heard(entry),
      close: () => this.#drop(entry),
    }
  }

  #returned(): void {
    this.#calmUntil = this.#now() + RETURN_MS
    for (const entry of this.#entries) entry.misses = 0
    for (const holder of this.#holders.values()) holder.misses = 0
  }

  #now(): number {
    return this.#system.now?.() ?? clientSystem.now()
  }

  #heard(entry: Entry): void {
    const now = this.#now()
    entry.heardAt = now
    entry.misses = 0
    if (entry.holder !== null) alive(entry.holder, now)
  }

  #tickLater(): void {
    this.#ticking ??= this.#system.after(TICK_MS, () => this.#tick())
  }

  #tick(): void {
    this.#ticking = null
    const now = this.#now()
    for (const entry of this.#entries) if (isDue(entry, now)) this.#locate(entry)
    if (this.#looking === null && now >= this.#lookAt) this.#look(now)
    if (this.#entries.size > 0) this.#tickLater()
  }

  // ---- who has one call ----

  #locate(entry: Entry): void {
    if (this.#questions >= QUESTIONS_MAX) return
    const heard = { settled: false, nothing: false }
    const end = this.#ask(entry, {
      hear: ({ who, has, attempts }) => {
        if (has !== 'live') return void (heard[has] = true)
        end()
        this.#found(entry, { who, attempts })
      },
      // The answer is on its way, or was lost: who died is no matter of it.
      over: (listened) => {
        if (heard.settled) this.#drop(entry)
        else if (heard.nothing && listened) this.#missed(entry)
        else entry.askAt = this.#now() + this.#everyMs
      },
    })
    entry.question = end
    this.#questions += 1
  }

  #found(entry: Entry, of: { who: string; attempts: number }): void {
    const holder = this.#holders.get(of.who) ?? holderNamed(of.who, this.#now())
    this.#holders.set(holder.name, holder)
    holder.calls.add(entry)
    entry.holder = holder
    entry.attempts = of.attempts
    entry.misses = 0
    entry.call.found()
  }

  #missed(entry: Entry): void {
    if (++entry.misses < MISSES) return this.#locate(entry)
    this.#drop(entry)
    entry.call.lost({ withinMs: SPREAD_MS, attempts: entry.attempts })
  }

  // ---- whether those who have calls are alive ----

  #look(now: number): void {
    const entry = this.#longestUnasked(now)
    if (entry === null) return
    const { holder } = entry
    let answers = 0
    let has: Said['has'] = 'live'
    this.#looking = this.#ask(entry, {
      hear: (said) => {
        answers += 1
        if (said.who !== holder?.name) return
        has = said.has
        entry.attempts = Math.max(entry.attempts, said.attempts)
      },
      over: (listened) => {
        this.#looking = null
        this.#lookAt = now + this.#everyMs
        // It has ended there, and its answer is on its way or was lost.
        if (has !== 'live' && entry.holder === holder) this.#drop(entry)
        if (answers > 0 && listened) this.#judge(now)
      },
    })
  }

  /** Of the silent calls whose instance is known, so that each has its turn. */
  #longestUnasked(now: number): Entry | null {
    let found: Entry | null = null
    for (const entry of this.#entries) {
      if (entry.holder === null || now - entry.heardAt < entry.patience) continue
      if (found === null || entry.askedAt < found.askedAt) found = entry
    }
    return found
  }

  /** Somebody answered since then: who did not has missed it. */
  #judge(since: number): void {
    for (const holder of this.#holders.values()) {
      if (holder.heardAt >= since) continue
      this.#lookAt = 0
      if (++holder.misses >= MISSES) this.#lose(holder)
    }
  }

  #lose(holder: Holder): void {
    const lost = [...holder.calls]
    const bytes = lost.reduce((sum, { call }) => sum + call.bytes, 0)
    const withinMs = Math.max(SPREAD_MS, bytes / SPREAD_BYTES_PER_MS)
    for (const entry of lost) this.#drop(entry)
    for (const { call, attempts } of lost) call.lost({ withinMs, attempts })
  }

  /** Asks about a call until all have had their time; the answer ends it before. `listened`: who has not been heard
   *  has said nothing. */
  #ask(
    entry: Entry,
    of: { hear: (said: Said) => void; over: (listened: boolean) => void },
  ): () => void {
    const startedAt = this.#now()
    let open = true
    let close = (): void => {}
    const end = (): void => {
      if (!open) return
      open = false
      stop()
      close()
      if (entry.question !== end) return
      entry.question = null
      this.#questions -= 1
    }
    let stop = this.#system.after(HEAR_MS, () => {
      const now = this.#now()
      const listened = now < startedAt + HEAR_MS + LATE_MS && now >= this.#calmUntil
      // What has arrived by now is read before a timer that is set now fires.
      stop = this.#system.after(0, () => {
        end()
        of.over(listened)
      })
    })
    entry.askedAt = startedAt
    try {
      close = entry.call.ask({
        hear: (said) => {
          if (!open) return
          const holder = this.#holders.get(said.who)
          if (holder !== undefined) alive(holder, this.#now())
          of.hear(said)
        },
        refused: () => this.#drop(entry),
      })
    } catch {
      // Its mailbox is closed: so is the call, in a moment.
    }
    return end
  }

  #drop(entry: Entry): void {
    entry.question?.()
    const { holder } = entry
    entry.holder = null
    holder?.calls.delete(entry)
    if (holder !== null && holder.calls.size === 0) this.#holders.delete(holder.name)
    if (!this.#entries.delete(entry) || this.#entries.size > 0) return
    this.#ticking?.()
    this.#ticking = null
    this.#looking?.()
    this.#looking = null
    this.#stopReturns?.()
    this.#stopReturns = null
  }
}

const holderNamed = (name: string, heardAt: number): Holder => ({
  name,
  calls: new Set(),
  heardAt,
  misses: 0,
})

function alive(holder: Holder, now: number): void {
  holder.heardAt = now
  holder.misses = 0
}

const isDue = (entry: Entry, now: number): boolean =>
  entry.holder === null &&
  entry.question === null &&
  now - entry.heardAt >= entry.patience &&
  now >= entry.askAt
