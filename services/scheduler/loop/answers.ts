/** The one answer of every request: said, accounted for and recorded here, and nowhere else. */
import { traceContext } from '#contracts/events'
import {
  refusal,
  unattempted,
  type Accounting,
  type JobReceipt,
  type Refusal,
} from '#contracts/messages'
import { endsJob } from '#core/laws/jobs'
import type { Refused } from '#core/model/effects'
import type { CachedAnswer, Incoming, Millis, Reply, Verdict } from '#ports'
import { accountingOf, outcomeOf, refusalOf } from './accounting.ts'
import { spentBy, type LiveRequest } from './live.ts'
import { ABANDONED } from './own-faults.ts'
import type { How, NeverLive, RequestEvents } from './request-events.ts'

const COMPLETED: How = { said: null, reason: null, status: 200 }
const DEFERRED: How = { said: null, reason: null, status: 202 }
const JSON_TEXT = new TextEncoder()
const NOTHING = new Uint8Array(0)

export class Answers {
  readonly #events: RequestEvents
  readonly #fault: (error: unknown) => void

  constructor(of: { events: RequestEvents; fault: (error: unknown) => void }) {
    this.#events = of.events
    this.#fault = of.fault
  }

  /** Its own attempt's answer. */
  complete(live: LiveRequest, verdict: Verdict, now: Millis): Accounting {
    const accounting = accountingOf(live, 'completed', verdict, now)
    this.#once(live)
    const { reply, stream } = live.incoming
    this.say(() => {
      if (stream) reply.end(accounting)
      else reply.answer(verdict.body ?? NOTHING, accounting)
    })
    this.#events.settled(live, accounting, COMPLETED)
    return accounting
  }

  /** An earlier answer to the same question. */
  fromCache(live: LiveRequest, { parts, requestId }: CachedAnswer, now: Millis): void {
    const { reply, stream, model } = live.incoming
    live.model = model
    const accounting: Accounting = {
      ...accountingOf(live, 'completed', null, now),
      servedBy: 'cache',
      upstreamRequestId: requestId,
    }
    this.#once(live)
    this.say(() => {
      if (stream) {
        for (const part of parts) reply.event(part)
        reply.end(accounting)
      } else reply.answer(parts[0] ?? NOTHING, accounting)
    })
    this.#events.settled(live, accounting, COMPLETED)
  }

  /** The receipt of the job that it has become. */
  deferred(live: LiveRequest, receipt: JobReceipt, now: Millis): void {
    const { reply, model } = live.incoming
    live.model = model
    const accounting: Accounting = {
      ...accountingOf(live, 'deferred', null, now),
      servedBy: 'none',
    }
    this.#once(live)
    this.say(() => reply.answer(JSON_TEXT.encode(JSON.stringify(receipt)), accounting))
    this.#events.settled(live, accounting, DEFERRED)
  }

  refuse(live: LiveRequest, refused: Refused, now: Millis): void {
    const said = refusalOf(refused)
    const spent = spentBy(live)
    const made = spent !== null && spent.attempts + spent.preemptions > 0
    // The refusal may say what another request met, under whose id the upstream knows it; what was used is its own.
    const verdict = spent?.lastVerdict ?? null
    const own = accountingOf(live, outcomeOf(said, made), verdict, now)
    const upstreamRequestId = refused.verdict?.requestId ?? own.upstreamRequestId
    const accounting = { ...own, upstreamRequestId }
    this.#once(live)
    this.say(() => live.incoming.reply.refuse(said, accounting, refused.verdict?.body ?? null))
    if (!waitsOn(live, said))
      this.#events.settled(live, accounting, { said, reason: refused.reason, status: said.status })
  }

  /** What is no request: malformed, or of an id that is live already. */
  refuseEarly(
    of: NeverLive & { reply: Reply },
    said: Refusal,
    reason: Refused['reason'] | null,
  ): void {
    const accounting = unattempted(of.id, of.model)
    this.say(() => of.reply.refuse(said, accounting, null))
    this.#events.refused(of, accounting, { said, reason, status: said.status })
  }

  /** A live request of this id exists already; it goes on, untouched. */
  refuseDuplicate(incoming: Incoming): void {
    const message = 'a request of this tenant with this id is live already'
    const trace = traceContext(incoming.headers)
    this.refuseEarly({ ...incoming, trace }, refusal('duplicate_id', message), 'DUPLICATE_ID')
  }

  /** The last word after a broken law, when nothing more may be decided. It says the tries that were made: a call
   *  that never left may be asked of another instance. */
  abandon(live: LiveRequest, now: Millis): void {
    if (live.answered) return
    live.answered = true
    this.say(() => {
      const accounting = accountingOf(live, 'refused', null, now)
      live.incoming.reply.refuse(ABANDONED, accounting, null)
    })
  }

  /** One that comes after a broken law. */
  turnAway(incoming: Incoming): void {
    const accounting = unattempted(incoming.id, incoming.model)
    this.say(() => incoming.reply.refuse(ABANDONED, accounting, null))
  }

  /** What a reply throws is its own trouble. */
  say(word: () => void): void {
    try {
      word()
    } catch (error) {
      this.#fault(error)
    }
  }

  #once(live: LiveRequest): void {
    if (live.answered) throw new Error(`${live.key}: a request has one outcome`)
    live.answered = true
  }
}

/** A stored job that was only looked at, and could not be taken in yet: nothing has ended. */
const waitsOn = ({ incoming, route }: LiveRequest, { code }: Refusal): boolean =>
  incoming.past !== undefined && route === null && !endsJob(code, 0)
