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

interface InboxesOptions {
  bus: Bus
  clock: Pick<Clock, 'after'>
  everyMs: () => Millis
}

/** All inboxes with a call, and the last ones that had one. */
interface Book {
  readonly of: InboxesOptions
  readonly byPrefix: Map<string, Inbox>
  readonly byNumber: Map<number, Inbox>
  /** Those whose callers have all been answered, the one that has been idle longest first. */
  readonly idle: Set<Inbox>
  /** Those that have not been asked yet. */
  fresh: Inbox[]
  /** Inboxes so far: the number of the next. */
  count: number
  ticking: boolean
}

export function inboxes(of: InboxesOptions): Inboxes {
  const book: Book = {
    of,
    byPrefix: new Map(),
    byNumber: new Map(),
    idle: new Set(),
    fresh: [],
    count: 0,
    ticking: false,
  }
  return {
    wait(to, caller) {
      const prefix = prefixOf(to)
      if (prefix === null) return () => {}
      const inbox = book.byPrefix.get(prefix) ?? begin(book, prefix)
      book.idle.delete(inbox)
      inbox.callers.add(caller)
      if (inbox.there === 'yes') tickLater(book)
      return () => {
        if (inbox.callers.delete(caller) && inbox.callers.size === 0) rest(book, inbox)
      }
    },

    unheard(probe) {
      const [, number, asked] = PROBE.exec(probe) ?? []
      if (number === undefined) return null
      const inbox = book.byNumber.get(Number(number))
      if (inbox === undefined) return []
      const which = Number(asked)
      if (which === 0) inbox.there = 'no'
      if (inbox.there !== 'yes') return []
      const twice = inbox.missed === which - 1
      inbox.missed = which
      if (!twice) return []
      const gone = [...inbox.callers]
      forget(book, inbox)
      return gone
    },
  }
}

function begin(book: Book, prefix: string): Inbox {
  const number = book.count++
  const inbox: Inbox = {
    prefix,
    number,
    there: 'unknown',
    callers: new Set(),
    asked: 0,
    missed: -1,
  }
  book.byPrefix.set(prefix, inbox)
  book.byNumber.set(number, inbox)
  if (book.fresh.push(inbox) === 1) book.of.clock.after(FIRST_MS, () => askFirst(book))
  return inbox
}

function forget(book: Book, inbox: Inbox): void {
  book.idle.delete(inbox)
  book.byPrefix.delete(inbox.prefix)
  book.byNumber.delete(inbox.number)
}

function rest(book: Book, inbox: Inbox): void {
  if (inbox.there === 'unknown') return forget(book, inbox)
  book.idle.add(inbox)
  const [first] = book.idle
  if (book.idle.size > IDLE_MAX && first !== undefined) forget(book, first)
}

function ask({ bus }: InboxesOptions, inbox: Inbox): void {
  const probe = `there/${inbox.number}/${inbox.asked}`
  try {
    bus.publish(`${inbox.prefix}.${ASKED}`, PING, { probe })
  } catch {
    // What cannot be asked now is asked again.
  }
}

/** Those that are new, at once. */
function askFirst(book: Book): void {
  const inboxes = book.fresh.filter(({ callers }) => callers.size > 0)
  book.fresh = []
  if (inboxes.length === 0) return
  for (const inbox of inboxes) {
    inbox.there = 'asked'
    ask(book.of, inbox)
  }
  // The server's word that nobody listens comes before its word that it has had all of ours.
  const settle = (there: 'yes' | 'unknown') => () => {
    for (const inbox of inboxes) if (inbox.there === 'asked') inbox.there = there
  }
  book.of.bus.flush().then(settle('yes'), settle('unknown'))
  tickLater(book)
}

/** Those in which somebody waits, once in a while. */
function tick(book: Book): void {
  book.ticking = false
  let watched = false
  for (const inbox of book.byPrefix.values()) {
    if (inbox.callers.size === 0 || (inbox.there !== 'yes' && inbox.there !== 'asked')) continue
    watched = true
    if (inbox.there === 'asked') continue
    inbox.asked += 1
    ask(book.of, inbox)
  }
  if (watched) tickLater(book)
}

function tickLater(book: Book): void {
  if (book.ticking) return
  book.ticking = true
  book.of.clock.after(book.of.everyMs(), () => tick(book))
}

/** All but the last token; null: too short for an inbox that hears several replies. */
function prefixOf(to: string): string | null {
  const end = to.lastIndexOf('.')
  return end > 0 && to.lastIndexOf('.', end - 1) > 0 ? to.slice(0, end) : null
}
