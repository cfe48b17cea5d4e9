/** The places of whole calls. HTTP has no sign of life for an answer in one piece, so a client, or a proxy between,
 *  takes a long wait in the queue for an end and asks anew, which would put it at the end of the line each time.
 *  Where a call has waited long and still waits when its client goes, its place is kept for a moment, and the same
 *  call coming back takes it: its position, its deadline, and its answer if that has come meanwhile. */
import type { HeadgateError, AnswerAccounting, Relayed, RelaySink } from '#client'
import type { Reader, Readers } from './readers.ts'
import { CallMemory, type SameCall } from './same-call.ts'

/** What comes back for one call, to whoever stands for it now. */
export class Place implements RelaySink {
  readonly #relayed: Relayed
  /** Null: its client is gone. */
  #to: RelaySink | null
  #lastWord: { bytes: number; say: (to: RelaySink) => void } | null = null
  #over = false
  #heard: () => void = () => {}

  constructor(relay: (sink: RelaySink) => Relayed, to: RelaySink) {
    this.#to = to
    this.#relayed = relay(this)
  }

  get id(): string {
    return this.#relayed.id
  }

  /** Bytes of the answer that nobody has taken. */
  get held(): number {
    return this.#lastWord?.bytes ?? 0
  }

  /** Whether it was left; `heard` is told of an answer that comes meanwhile. */
  leftBy(heard: () => void): void {
    this.#to = null
    this.#heard = heard
  }

  takenBy(to: RelaySink): void {
    this.#to = to
    this.#lastWord?.say(to)
    this.#lastWord = null
  }

  /** Nobody works for it any more. */
  leave(): void {
    if (!this.#over) this.#relayed.leave()
    this.#over = true
    this.#lastWord = null
  }

  answer(bytes: Uint8Array, accounting: AnswerAccounting): void {
    this.#end(bytes.length, (to) => to.answer(bytes, accounting))
  }
  end(accounting: AnswerAccounting): void {
    this.#end(0, (to) => to.end(accounting))
  }
  fail(error: HeadgateError): void {
    this.#end(error.bytes?.length ?? 0, (to) => to.fail(error))
  }
  event(data: Uint8Array): void {
    // A stream: it has signs of life, so whoever went is gone.
    if (this.#to === null) this.leave()
    else this.#to.event(data)
  }
  ping(): void {
    if (this.#to === null) this.leave()
    else this.#to.ping()
  }

  #end(bytes: number, say: (to: RelaySink) => void): void {
    if (this.#over) return
    this.#over = true
    if (this.#to !== null) return say(this.#to)
    this.#lastWord = { bytes, say }
    this.#heard()
  }
}

export interface Places {
  /** Its client has gone. `runs`: whether it holds a slot, which is given back then. */
  keep(place: Place, call: SameCall, runs: () => Promise<boolean>): void
  /** The place of the same call, which is not kept any more. Null: there is none. */
  back(call: SameCall): Place | null
  /** The id is asked for anew, with something else. */
  release(tenant: string, id: string): void
  close(): void
}

export function places(of: {
  /** How long each is kept, and how many. */
  limits: () => { keepMs: number; most: number }
  after: (ms: number, call: () => void) => () => void
  /** Answers that wait for a client count as unread. */
  readers: Readers
}): Places {
  const memory = new CallMemory<Place>(of.after)
  const kept = new Map<Place, { tenant: string; answer: Reader | null }>()
  const release = (place: Place) => {
    memory.forget(place)
    kept.get(place)?.answer?.close()
    kept.delete(place)
  }
  const drop = (place: Place) => {
    release(place)
    place.leave()
  }
  const answered = (place: Place) => {
    const one = kept.get(place)
    if (one === undefined) return
    const unread = {
      get unread() {
        return place.held
      },
      taken: 0,
    }
    one.answer = of.readers.open(unread, () => drop(place))
    one.answer.wroteAll()
  }
  return {
    keep(place, call, runs) {
      const { keepMs, most } = of.limits()
      if (keepMs === 0 || kept.size >= most) return place.leave()
      kept.set(place, { tenant: call.tenant, answer: null })
      memory.add(call, place, keepMs, () => drop(place))
      place.leftBy(() => answered(place))
      void runs().then((itRuns) => {
        if (itRuns && kept.get(place)?.answer === null) drop(place)
      })
    },
    back(call) {
      const place = memory.find(call)
      if (place !== null) release(place)
      return place
    },
    release(tenant, id) {
      for (const [place, one] of [...kept])
        if (place.id === id && one.tenant === tenant) drop(place)
    },
    close() {
      for (const place of [...kept.keys()]) drop(place)
    },
  }
}
