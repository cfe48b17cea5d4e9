/** A call on its way: asked of whoever serves, and asked again, by the same id, where that is of use.
 *
 *  A stopping instance refuses what never ran with `draining`: that goes to another one at once. An instance that
 *  dies says nothing; the watch does. What had begun to be answered is broken then; any other call is asked a second
 *  time with what is left of its deadline, unless its caller forbade it, since the first may have run. Once: a
 *  second death ends it.
 *
 *  Whoever says the first real word is listened to, and nobody else: an instance that was not dead but stood still
 *  may answer after all, before the second or after it. */
import { mayAct } from '#contracts/acting'
import { HEADER, isPing } from '#contracts/messages'
import { isLast } from './accounting.ts'
import type { RawBody } from './contract.ts'
import { clientError, errorIn, refusedHere, type HeadgateError } from './errors.ts'
import { nobodyAt, post, type Ears, type Line, type Posted } from './exchange.ts'
import { leftOf } from './left-of-call.ts'
import type { MailboxSlot, Mailbox } from './mailbox.ts'
import { clientSystem, type ClientSystem } from './system.ts'
import type { Transport, TransportHeaders, TransportMessage } from './transport.ts'
import type { Watch, Watched, WatchedCall } from './watch.ts'

/** How often a call that never ran goes to another instance, while one after the other stops. */
const DRAINED_MAX = 3
/** From the second time on: an instance that stops is asked for another moment until the server knows. */
const DRAINED_AGAIN_MS = 200
/** After a second death: it may have stood still. */
const LAST_WAIT_MS = 15_000

export interface AskingOptions {
  transport: Transport
  box: Mailbox
  system: ClientSystem
  subject: string
  data: RawBody
  headers: TransportHeaders
  /** Null: deaths are not looked for, only refusals are heard. */
  watched: { watch: Watch; ask: WatchedCall['ask'] } | null
  /** It may be asked a second time where it may have run. */
  again: boolean
  /** The deadline of a call that names none, ms; null: not known. */
  laneMs: number | null
  /** Tells all instances that nobody waits for it any more. */
  forget: () => void
}

/** Throws where the mailbox takes no more. */
export const openAsking = (of: AskingOptions, ears: Ears): Line => new Asking(of, ears)

/** One of the times that it is asked. */
interface Sent {
  readonly slot: MailboxSlot
  readonly posted: Posted
}

class Asking implements Line {
  readonly #of: AskingOptions
  readonly #ears: Ears
  readonly #startedAt: number
  /** The last one is who should answer; those before it may. */
  readonly #sent: Sent[] = []
  #hasLeft = false
  /** Where a real word has come: nobody else is heard. */
  #only: MailboxSlot | null = null
  /** Where a no has come, which says nothing against who was asked later. */
  #ended: MailboxSlot | null = null
  /** It was asked a second time after a death. */
  #second = false
  #drained = 0
  #refusal: TransportMessage | null = null
  #watched: Watched | null = null
  #stopLater = (): void => {}
  #stopLastWait: (() => void) | null = null
  #over = false

  constructor(of: AskingOptions, ears: Ears) {
    this.#of = of
    this.#ears = ears
    this.#startedAt = this.#now()
    this.#send(of.headers)
  }

  get left(): boolean {
    return this.#hasLeft
  }

  close(): boolean {
    this.#over = true
    this.#stopLater()
    this.#stopLastWait?.()
    this.#watched?.close()
    for (const one of this.#sent) closeSent(one)
    return this.#hasLeft
  }

  #now(): number {
    return this.#of.system.now?.() ?? clientSystem.now()
  }

  #send(headers: TransportHeaders): void {
    const { transport, box, subject, data } = this.#of
    const slot = box.open({
      subject,
      on: (message) => this.#hear(slot, message),
      fail: (error) => this.#ears.fail(error),
      ...(this.#sent.length > 0 ? { beside: true } : {}),
    })
    const posted = post(transport, {
      ...{ subject, data, headers, reply: slot.address },
      fail: (error) => this.#unsent(error),
      sent: () => this.#left(),
    })
    this.#sent.push({ slot, posted })
  }

  #left(): void {
    this.#hasLeft = true
    this.#watch()
  }

  #unsent(error: HeadgateError): void {
    if (this.#over) return
    if (this.#second) this.#ears.giveUp(goneFor(`asked again, it did not leave: ${error.message}`))
    else this.#ears.fail(error)
  }

  // ---- what comes back ----

  #hear(slot: MailboxSlot, message: TransportMessage): void {
    if (this.#over || slot === this.#ended || (this.#only !== null && slot !== this.#only)) return
    const latest = this.#sent.at(-1)?.slot === slot
    if (latest || this.#only !== null) this.#watched?.heard()
    if (this.#only !== null || isPing(message.data)) return this.#pass(message)
    if (message.nobody !== true && errorIn(message) === null) {
      this.#stopLater()
      this.#only = slot
      this.#pass(message)
    } else if (latest) this.#refused(message)
    else this.#ended = slot
  }

  #pass(message: TransportMessage): void {
    if (!this.#second) return this.#ears.on(message)
    this.#ears.on(ambiguous(message))
    // Whoever else has it works for nobody any more.
    if (isLast(message)) this.#of.forget()
  }

  #refused(message: TransportMessage): void {
    const error = errorIn(message)
    if (error?.code === 'draining' && this.#mayDrain(error)) return this.#drain(message)
    if (!this.#second)
      return this.#pass(message.nobody === true ? (this.#refusal ?? message) : message)
    if (error?.code === 'duplicate_id' && this.#sent[0]?.slot !== this.#ended)
      return this.#backToFirst()
    if (error !== null && error.accounting?.outcome !== 'refused') return this.#pass(message)
    const { code } = error ?? nobodyAt(this.#of.subject)
    this.#ears.giveUp(goneFor(`asked again, it was refused: ${code}`, error))
  }

  /** It stood still, and has it still. */
  #backToFirst(): void {
    this.#closeLatest()
    this.#second = false
    this.#watch()
  }

  // ---- asked elsewhere ----

  /** It never ran there, and there is time. */
  #mayDrain({ accounting }: HeadgateError): boolean {
    return accounting?.attempts === 0 && this.#drained < DRAINED_MAX && this.#leftNow(null) !== null
  }

  #drain(message: TransportMessage): void {
    this.#refusal = message
    this.#watched?.close()
    this.#closeLatest()
    const waitMs = this.#drained * DRAINED_AGAIN_MS * this.#of.system.random()
    this.#drained += 1
    const send = (): void => {
      try {
        this.#send(this.#leftNow(null) ?? this.#of.headers)
      } catch {
        // Its place among the calls is taken.
        this.#pass(message)
      }
    }
    if (waitMs === 0) send()
    else this.#stopLater = this.#of.system.after(waitMs, send)
  }

  #closeLatest(): void {
    const one = this.#sent.pop()
    if (one !== undefined) closeSent(one)
  }

  #watch(): void {
    const { watched, data } = this.#of
    this.#watched?.close()
    if (watched === null) return
    this.#watched = watched.watch.begin({
      bytes: data.length,
      ask: watched.ask,
      found: () => {
        this.#stopLastWait?.()
        this.#stopLastWait = null
      },
      lost: (how) => this.#lost(how),
    })
  }

  #lost({ withinMs, attempts }: { withinMs: number; attempts: number }): void {
    this.#watched = null
    const { system, again } = this.#of
    if (this.#only !== null) return this.#ears.giveUp(refusedHere('stream_broken', BROKEN))
    if (this.#second) return this.#lostTwice()
    if (!again || actsAtProvider(this.#of.data) || this.#leftNow(attempts) === null)
      return this.#ears.giveUp(goneFor())
    this.#stopLater = system.after(withinMs * system.random(), () => {
      const headers = this.#leftNow(attempts)
      if (headers === null) return this.#ears.giveUp(goneFor())
      this.#second = true
      this.#send(headers)
    })
  }

  /** Whoever has it may only stand still, and so may the first. */
  #lostTwice(): void {
    this.#stopLastWait ??= this.#of.system.after(LAST_WAIT_MS, () =>
      this.#ears.giveUp(goneFor('asked again, the same befell it')),
    )
    this.#watch()
  }

  /** Null: no time is left, or no try. `attempts`: that it had; null: none. */
  #leftNow(attempts: number | null): TransportHeaders | null {
    const { headers, laneMs } = this.#of
    return leftOf(headers, { elapsedMs: this.#now() - this.#startedAt, laneMs, attempts })
  }
}

/** Its tools may have done something where it was: to do it twice is its caller's to decide. */
function actsAtProvider(data: RawBody): boolean {
  try {
    return mayAct(JSON.parse(typeof data === 'string' ? data : new TextDecoder().decode(data)))
  } catch {
    return false
  }
}

function closeSent({ slot, posted }: Sent): void {
  slot.close()
  posted.withdraw()
}

const BROKEN = 'the instance that sent the stream is gone'

const goneFor = (more?: string, cause?: unknown): HeadgateError =>
  clientError(
    'no_answer',
    ['the instance that had it is gone', ...(more === undefined ? [] : [more])].join('; '),
    cause,
  )

/** The call may have run beside what is told. */
const ambiguous = (message: TransportMessage): TransportMessage => ({
  ...message,
  header: (name) => (name === HEADER.ambiguous ? '1' : message.header(name)),
})
