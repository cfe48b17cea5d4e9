/** One connection of the bus, with what it holds back while it is away.
 *
 *  While a connection is away, nats.js forgets what was published at its next dial. So we hold back what
 *  is addressed to an inbox, at most `heldBytesMax`, and deliver it `settleMs` after the return, when
 *  callers have returned too (2 s by default in every NATS client). Anything else is lost, and counted. */
import { createInbox, type NatsConnection, type PublishOptions } from '@nats-io/transport-node'
import type { BusHeaders, Clock, Millis } from '#ports'
import { isNobody, toNatsHeaders, token, word } from './bus-message.ts'
import { tooLarge } from './too-large.ts'

const HELD_BYTES_MAX = 64_000_000
const SETTLE_MS: Millis = 2_500
/** How long an event may wait for others to leave with: nobody's answer, and a write costs more than a message. */
const UNHURRIED_MS: Millis = 5
/** What a held message costs beside its data: objects, subject, headers. */
const HELD_OVERHEAD_BYTES = 500

/** `connection` is `main` or `egress-<n>`. */
export type BusStatus =
  | { kind: 'disconnected' | 'reconnected'; connection: string }
  | { kind: 'error' | 'closed'; connection: string; detail: string }
  /** Published while away; `answers` of the messages were for an inbox and found no room. */
  | { kind: 'lost'; connection: string; messages: number; answers: number }

export interface Outgoing {
  subject: string
  data: Uint8Array
  headers?: BusHeaders
  reply?: string
  probe?: string
}

export interface LineOptions {
  clock: Pick<Clock, 'after'>
  inboxPrefix?: string | undefined
  heldBytesMax?: number
  settleMs?: Millis
  /** Calls once, as soon as what has arrived is worked through. What is published until then leaves in one
   *  write: a write costs more than a message. Absent: each message leaves by itself. */
  soon?: ((call: () => void) => void) | undefined
}

export class Line {
  readonly nc: NatsConnection
  readonly name: string
  readonly #options: LineOptions
  readonly #tell: (status: BusStatus) => void
  /** Probes of this connection come back here. */
  readonly #control: string
  #connected = true
  #closed = false
  #maxPayload: number
  #lost = { messages: 0, answers: 0 }
  #held: Outgoing[] = []
  #heldBytes = 0
  readonly #heldSubjects = new Set<string>()
  #leaving: Outgoing[] = []
  /** They leave as soon as what has arrived is worked through. */
  #soon = false
  /** They leave a little later; null: nothing waits for that. */
  #stopWaiting: (() => void) | null = null
  #stopSettling = () => {}

  constructor(of: {
    nc: NatsConnection
    name: string
    options: LineOptions
    tell: (status: BusStatus) => void
    nobody: (probe: string) => void
  }) {
    this.nc = of.nc
    this.name = of.name
    this.#options = of.options
    this.#tell = of.tell
    this.#maxPayload = of.nc.info?.max_payload ?? 1_048_576
    this.#control = `${createInbox(of.options.inboxPrefix)}.`
    of.nc.subscribe(`${this.#control}*`, {
      callback: (error, message) => {
        if (error !== null) this.#fault(error)
        else if (isNobody(message)) of.nobody(word(message.subject.slice(this.#control.length)))
      },
    })
    void this.#watch()
    void of.nc.closed().then((error) => {
      this.#connected = false
      if (this.#closed) return
      const detail = error instanceof Error ? error.message : 'closed'
      of.tell({ kind: 'closed', connection: of.name, detail })
    })
  }

  connected(): boolean {
    return this.#connected
  }

  maxPayload(): number {
    return this.#maxPayload
  }

  publish(message: Outgoing): void {
    check({ message, maxPayload: this.#maxPayload })
    const behindHeld = this.#heldSubjects.size > 0 && this.#heldSubjects.has(message.subject)
    if (!this.#connected || behindHeld) this.#hold(message)
    else this.#depart(message)
  }

  #depart(message: Outgoing): void {
    const { soon } = this.#options
    if (soon === undefined) return this.#send(message)
    this.#leaving.push(message)
    if (isInbox(message.subject) || message.reply !== undefined) {
      if (this.#soon) return
      this.#soon = true
      soon(() => this.#sendLeaving())
    } else this.#stopWaiting ??= this.#options.clock.after(UNHURRIED_MS, () => this.#sendLeaving())
  }

  #sendLeaving(): void {
    this.#soon = false
    this.#stopWaiting?.()
    this.#stopWaiting = null
    const messages = this.#leaving
    this.#leaving = []
    for (const message of messages) {
      if (this.#connected && !this.nc.isClosed()) this.#sendLater(message)
      else this.#hold(message)
    }
  }

  /** Published a while ago, and sent by a timer: the server that is back may carry less than the one before. */
  #sendLater(message: Outgoing): void {
    try {
      check({ message, maxPayload: this.#maxPayload })
      this.#send(message)
    } catch (error) {
      const instead = error instanceof RangeError ? tooLarge(message, error.message) : null
      this.#tell({ kind: 'error', connection: this.name, detail: 'an answer could not be sent' })
      try {
        if (instead !== null) this.#send(instead)
      } catch {
        // The caller's own deadline ends its wait.
      }
    }
  }

  async flush(): Promise<void> {
    this.#sendLeaving()
    if (!this.#connected) throw new Error(`NATS connection ${this.name} is away`)
    if (this.#held.length > 0)
      throw new Error(`${this.#held.length} answers wait for their readers`)
    await this.nc.flush()
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#stopSettling()
    this.#sendLeaving()
    if (this.#connected && this.#held.length > 0) {
      this.#release()
      await this.nc.flush().catch(() => {})
    }
    await this.nc.close()
  }

  #send({ subject, data, headers, reply, probe }: Outgoing): void {
    const address = probe === undefined ? reply : this.#control + token(probe)
    if (headers === undefined && address === undefined) return this.nc.publish(subject, data)
    const options: PublishOptions = {}
    if (headers !== undefined) options.headers = toNatsHeaders(headers)
    if (address !== undefined) options.reply = address
    this.nc.publish(subject, data, options)
  }

  #hold(message: Outgoing): void {
    const bytes = message.data.length + HELD_OVERHEAD_BYTES
    const forInbox = isInbox(message.subject)
    if (!forInbox || this.#heldBytes + bytes > (this.#options.heldBytesMax ?? HELD_BYTES_MAX)) {
      this.#lost.messages += 1
      if (forInbox) this.#lost.answers += 1
      return
    }
    this.#held.push(message)
    this.#heldBytes += bytes
    this.#heldSubjects.add(message.subject)
  }

  #release(): void {
    const messages = this.#held
    this.#held = []
    this.#heldBytes = 0
    this.#heldSubjects.clear()
    for (const message of messages) {
      if (this.#connected && !this.nc.isClosed()) this.#sendLater(message)
      else this.#hold(message)
    }
  }

  async #watch(): Promise<void> {
    for await (const status of this.nc.status()) {
      if (status.type === 'disconnect') this.#left()
      else if (status.type === 'reconnect') this.#returned()
      else if (status.type === 'error') this.#fault(status.error)
    }
  }

  #left(): void {
    this.#connected = false
    this.#stopSettling()
    if (!this.#closed) this.#tell({ kind: 'disconnected', connection: this.name })
  }

  #returned(): void {
    this.#connected = true
    this.#maxPayload = this.nc.info?.max_payload ?? this.#maxPayload
    this.#tell({ kind: 'reconnected', connection: this.name })
    if (this.#lost.messages > 0) this.#tell({ kind: 'lost', connection: this.name, ...this.#lost })
    this.#lost = { messages: 0, answers: 0 }
    this.#stopSettling()
    if (this.#held.length === 0) return
    const { clock, settleMs = SETTLE_MS } = this.#options
    this.#stopSettling = clock.after(settleMs, () => this.#release())
  }

  #fault(error: Error): void {
    this.#tell({ kind: 'error', connection: this.name, detail: error.message })
  }
}

/** What cannot leave is refused at once, to its publisher. */
function check({ message, maxPayload }: { message: Outgoing; maxPayload: number }): void {
  for (const subject of [message.subject, message.reply ?? '_'])
    if (subject === '' || WHITE_SPACE.test(subject)) throw new TypeError('no subject to publish on')
  let bytes = message.data.length
  if (message.headers !== undefined) {
    bytes += 12
    for (const [name, value] of message.headers) {
      // It would begin a header of its own.
      if (LINE_BREAK.test(value)) throw new TypeError(`header ${name}: a line break in its value`)
      bytes += name.length + value.length + 4
    }
  }
  if (bytes > maxPayload) {
    throw new RangeError(`a message of ${bytes} bytes is over the bus limit of ${maxPayload}`)
  }
}

const LINE_BREAK = /[\r\n]/
const WHITE_SPACE = /\s/

/** Inboxes start with an underscore: `_INBOX.…`, `_INBOX_<tenant>.…`, `_R_.…`. */
const isInbox = (subject: string) => subject.startsWith('_')
