/** Whether the callers of whole answers are still there. Their reply subject hears one message, the answer, so
 *  nothing else may be sent to it; but a NATS client hears all its replies through one subscription,
 *  `_INBOX.<its own>.*`, and drops what answers no question. So a word to another name of the same inbox asks
 *  the server whether that subscription is there, and no caller takes it for an answer.
 *
 *  It must have been there at the first word, or it proves nothing: a caller with a subscription for the one
 *  reply, and one of another account, cannot be told this way and are never taken for gone. Gone is who was
 *  there, and then twice in a row was not.
 *  Cost: one message per inbox when it is new and one per `everyMs` while it waits, however many its calls. */
import type { Bus, Clock, Millis } from '#ports'
import { PING } from '#contracts/messages'

export interface Caller {
  tenant: string
  id: string
}

export interface Inboxes {
  /** A caller waits at `to`; the answer says that it does no more. */
  wait(to: string, caller: Caller): () => void
  /** The bus's word that nobody heard this probe; null: it is none of ours. Else who is gone for it. */
  unheard(probe: string): readonly Caller[] | null
}

/** Last token of the subject that is asked; no client makes such a name for a reply. */
const ASKED = 'headgate-there'
const PROBE = /^there\/(\d+)\/(\d+)$/
/** How old a call is when its inbox is first asked: what is refused has its answer before, and whoever leaves
 *  sooner cannot be told. */
const FIRST_MS: Millis = 5
/** Inboxes without a call that are remembered, so that a caller's next one asks nothing. */
const IDLE_MAX = 10_000

interface Inbox {
  prefix: string
  number: number
  /** `no`: there is no such subscription, so nothing can be told; `unknown`: it has not been asked, or could
   *  not be. */
  there: 'unknown' | 'asked' | 'yes' | 'no'
  callers: Set<Caller>
  /** Of the last probe, and of the last one that nobody heard. */
  asked: number
  missed: number
}

export function inboxes(of: {
  bus: Bus
  clock: Pick<Clock, 'after'>
  everyMs: () => Millis
}): Inboxes {
  const { bus, clock } = of
  const byPrefix = new Map<string, Inbox>()
  const byNumber = new Map<number, Inbox>()
  /** Those whose callers have all been answered, the one that has been idle longest first. */
  const idle = new Set<Inbox>()
  let fresh: Inbox[] = []
  let count = 0
  let ticking = false

  const ask = (inbox: Inbox) => {
    const probe = `there/${inbox.number}/${inbox.asked}`
    try {
      bus.publish(`${inbox.prefix}.${ASKED}`, PING, { probe })
    } catch {
      // What cannot be asked now is asked again.
    }
  }
  const askFirst = () => {
    const inboxes = fresh.filter(({ callers }) => callers.size > 0)
    fresh = []
    if (inboxes.length === 0) return
    for (const inbox of inboxes) {
      inbox.there = 'asked'
      ask(inbox)
    }
    // The server's word that nobody listens comes before its word that it has had all of ours.
    const settle = (there: 'yes' | 'unknown') => () => {
      for (const inbox of inboxes) if (inbox.there === 'asked') inbox.there = there
    }
    bus.flush().then(settle('yes'), settle('unknown'))
    tickLater()
  }
  const begin = (prefix: string): Inbox => {
    const number = count++
    const inbox: Inbox = {
      prefix,
      number,
      there: 'unknown',
      callers: new Set(),
      asked: 0,
      missed: -1,
    }
    byPrefix.set(prefix, inbox)
    byNumber.set(number, inbox)
    if (fresh.push(inbox) === 1) clock.after(FIRST_MS, askFirst)
    return inbox
  }
  const forget = (inbox: Inbox) => {
    idle.delete(inbox)
    byPrefix.delete(inbox.prefix)
    byNumber.delete(inbox.number)
  }
  const rest = (inbox: Inbox) => {
    if (inbox.there === 'unknown') return forget(inbox)
    idle.add(inbox)
    const [first] = idle
    if (idle.size > IDLE_MAX && first !== undefined) forget(first)
  }
  const tick = () => {
    ticking = false
    let watched = false
    for (const inbox of byPrefix.values()) {
      if (inbox.callers.size === 0 || (inbox.there !== 'yes' && inbox.there !== 'asked')) continue
      watched = true
      if (inbox.there === 'asked') continue
      inbox.asked += 1
      ask(inbox)
    }
    if (watched) tickLater()
  }
  const tickLater = () => {
    if (ticking) return
    ticking = true
    clock.after(of.everyMs(), tick)
  }

  return {
    wait(to, caller) {
      const prefix = prefixOf(to)
      if (prefix === null) return () => {}
      const inbox = byPrefix.get(prefix) ?? begin(prefix)
      idle.delete(inbox)
      inbox.callers.add(caller)
      if (inbox.there === 'yes') tickLater()
      return () => {
        if (inbox.callers.delete(caller) && inbox.callers.size === 0) rest(inbox)
      }
    },

    unheard(probe) {
      const [, number, asked] = PROBE.exec(probe) ?? []
      if (number === undefined) return null
      const inbox = byNumber.get(Number(number))
      if (inbox === undefined) return []
      const which = Number(asked)
      if (which === 0) inbox.there = 'no'
      if (inbox.there !== 'yes') return []
      const twice = inbox.missed === which - 1
      inbox.missed = which
      if (!twice) return []
      const gone = [...inbox.callers]
      forget(inbox)
      return gone
    },
  }
}

/** All but the last token; null: too short for an inbox that hears several replies. */
function prefixOf(to: string): string | null {
  const end = to.lastIndexOf('.')
  return end > 0 && to.lastIndexOf('.', end - 1) > 0 ? to.slice(0, end) : null
}
