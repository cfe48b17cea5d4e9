/** Delivers exactly one outcome per request, in the words of the wire contract: a single reply, or one
 *  message per event with pings between and an empty end; errors in either case. Never throws into its
 *  caller: an answer that the bus cannot carry becomes an error that it can. */
import { requestKey } from '#contracts/ids'
import {
  errorBody,
  HEADER,
  isPing,
  PING,
  refusal,
  type Accounting,
  type Refusal,
  unattempted,
} from '#contracts/messages'
import { replyFields, writeReply, type LastWords } from '#contracts/reply-fields'
import type { Bus, BusHeaders, Clock, Millis, Reply } from '#ports'
import { inboxes, type Caller } from './inboxes.ts'

export interface Outbox {
  /** Where the outcome of one request goes. Streamed: pings start now and stop with the outcome. */
  reply(of: { tenant: string; id: string; to: string; stream: boolean }): Reply
  /** One answer of JSON that is no request's outcome: cancel, status, admin. */
  json(to: string, value: unknown, headers?: BusHeaders): void
  /** One error that is no request's outcome. */
  error(of: { to: string; id: string; refusal: Refusal; headers?: BusHeaders }): void
  /** The bus's word that nobody heard this probe: whose callers are gone for it. A probe speaks of the one reply
   *  that it left with, and of none that came later under the same id. */
  gone(probe: string): readonly Caller[]
  /** Streamed replies that are open. */
  open(): number
}

const NOTHING = new Uint8Array(0)
/** Beyond this nobody reads an error line. */
const ERROR_LINE_CHARS_MAX = 512
/** A tick is a fifth of `pingMs`; four quiet ticks make a ping, so the wait is 0.6 to 0.8 of it. */
const TICKS = 5
const QUIET_TICKS = 4

export function outbox(of: {
  bus: Bus
  clock: Pick<Clock, 'after'>
  pingMs: () => Millis
}): Outbox {
  const { bus, clock } = of
  /** By the word of their probes. */
  const streams = new Map<string, Stream>()
  const callers = inboxes({ bus, clock, everyMs: of.pingMs })
  let opened = 0
  let ticking = false

  const tick = () => {
    ticking = streams.size > 0
    if (!ticking) return
    for (const stream of streams.values()) stream.tick()
    clock.after(of.pingMs() / TICKS, tick)
  }

  return {
    open: () => streams.size,

    reply({ tenant, id, to, stream }) {
      const caller = { tenant, id }
      if (!stream) return new Single(bus, to, callers.wait(to, caller))
      const probe = `${requestKey(tenant, id)}/${opened++}`
      const made = new Stream({ bus, to, probe, caller, closed: () => streams.delete(probe) })
      streams.set(probe, made)
      if (!ticking) {
        ticking = true
        clock.after(of.pingMs() / TICKS, tick)
      }
      return made
    },

    gone(probe) {
      const unheard = callers.unheard(probe)
      if (unheard !== null) return unheard
      const stream = streams.get(probe)
      return stream === undefined ? [] : [stream.caller]
    },

    json(to, value, headers) {
      const body = JSON.stringify(value)
      try {
        bus.publish(to, body, headers === undefined ? {} : { headers })
      } catch (error) {
        const refused = unsendable(error, 'the answer')
        sendError({ bus, to, refusal: refused, accounting: unattempted(''), upstreamBody: null })
      }
    },

    error({ to, id, refusal, headers }) {
      const accounting = unattempted(id)
      sendError({ bus, to, refusal, accounting, upstreamBody: null, ...(headers && { headers }) })
    },
  }
}

class Single implements Reply {
  readonly #bus: Bus
  readonly #to: string
  readonly #closed: () => void
  #done = false

  constructor(bus: Bus, to: string, closed: () => void) {
    this.#bus = bus
    this.#to = to
    this.#closed = closed
  }

  event(): void {}
  ping(): void {}

  answer(body: Uint8Array, accounting: Accounting): void {
    if (this.#done) return
    this.#done = true
    this.#closed()
    try {
      this.#bus.publish(this.#to, body, lastWords({ accounting }))
    } catch (error) {
      this.#send(unsendable(error, 'the answer'), { ...accounting, outcome: 'failed' }, null)
    }
  }

  end(accounting: Accounting): void {
    this.answer(NOTHING, accounting)
  }

  refuse(refused: Refusal, accounting: Accounting, upstreamBody: Uint8Array | null): void {
    if (this.#done) return
    this.#done = true
    this.#closed()
    this.#send(refused, accounting, upstreamBody)
  }

  #send(refused: Refusal, accounting: Accounting, upstreamBody: Uint8Array | null): void {
    sendError({ bus: this.#bus, to: this.#to, refusal: refused, accounting, upstreamBody })
  }
}

class Stream implements Reply {
  readonly caller: Caller
  readonly #bus: Bus
  readonly #to: string
  /** Every message but the last also asks whether anybody is there. */
  readonly #probing: { readonly probe: string }
  readonly #closed: () => void
  #events = 0
  #quiet = 0
  #done = false
  /** Why an event could not be sent; nothing may follow it but this. */
  #broken: Refusal | null = null

  constructor(of: { bus: Bus; to: string; probe: string; caller: Caller; closed: () => void }) {
    this.caller = of.caller
    this.#bus = of.bus
    this.#to = of.to
    this.#probing = { probe: of.probe }
    this.#closed = of.closed
  }

  tick(): void {
    this.#quiet += 1
    if (this.#quiet >= QUIET_TICKS) this.ping()
  }

  /** An event without content says nothing, and an upstream's ping is no event: neither is counted, so that a
   *  reader's count is the same as ours. */
  event(data: Uint8Array): void {
    if (this.#done || this.#broken !== null || data.length === 0) return
    if (isPing(data)) return this.ping()
    this.#quiet = 0
    try {
      this.#bus.publish(this.#to, data, this.#probing)
      this.#events += 1
    } catch (error) {
      const { message } = unsendable(error, 'an event')
      this.#broken = refusal('stream_broken', message)
    }
  }

  ping(): void {
    if (this.#done) return
    this.#quiet = 0
    attempt(() => this.#bus.publish(this.#to, PING, this.#probing))
  }

  /** A streamed caller who is answered whole all the same, from a cache or with a receipt. */
  answer(body: Uint8Array, accounting: Accounting): void {
    this.event(body)
    this.end(accounting)
  }

  end(accounting: Accounting): void {
    if (this.#done) return
    const broken = this.#broken
    if (broken !== null) return this.refuse(broken, { ...accounting, outcome: 'failed' }, null)
    this.#close(accounting)
  }

  refuse(refused: Refusal, accounting: Accounting, upstreamBody: Uint8Array | null): void {
    if (this.#done) return
    sendError({
      bus: this.#bus,
      to: this.#to,
      refusal: this.#broken ?? refused,
      accounting,
      upstreamBody: this.#broken === null ? upstreamBody : null,
    })
    this.#close(accounting)
  }

  #close(accounting: Accounting): void {
    this.#done = true
    this.#closed()
    const last = lastWords({ accounting, events: this.#events })
    attempt(() => this.#bus.publish(this.#to, NOTHING, last))
  }
}

/** Called by timers and with nobody to tell: what the bus does not take now, it does not take. */
function attempt(publish: () => void): void {
  try {
    publish()
  } catch {
    // The caller's own deadline ends its wait.
  }
}

/** Error headers, accounting, and the API's error JSON with one more key. */
function sendError(of: { bus: Bus; to: string; headers?: BusHeaders } & SaidError): void {
  const { bus, to, refusal: said, accounting, headers } = of
  const last = lastWords({ accounting, error: said, ...(headers && { more: headers }) })
  try {
    bus.publish(to, bodyOfError(of), last)
  } catch {
    // The upstream's own error is larger than the bus takes: ours says the same in short.
    const short = bodyOfError({ ...of, upstreamBody: null })
    attempt(() => bus.publish(to, short, last))
  }
}

interface SaidError {
  refusal: Refusal
  accounting: Accounting
  upstreamBody: Uint8Array | null
}

export const errorMessage = (of: SaidError): { headers: BusHeaders; body: Uint8Array } => ({
  headers: lastWords({ accounting: of.accounting, error: of.refusal }).headers,
  body: bodyOfError(of),
})

/** What the last message says beside its body; its headers are written where they are read. */
function lastWords(of: {
  accounting: Accounting
  events?: number
  error?: Refusal
  more?: BusHeaders
}): {
  last: LastWords
  readonly headers: BusHeaders
} {
  const { error, events = null, more = [] } = of
  const accounting = replyFields(of.accounting, events)
  return {
    last: { accounting, errorStatus: error?.status ?? null },
    get headers() {
      const said = error === undefined ? [] : errorHeaders(error)
      return [...said, ...writeReply(accounting), ...more]
    },
  }
}

const errorHeaders = (said: Refusal): BusHeaders => [
  [HEADER.errorCode, String(said.status)],
  [HEADER.error, errorLine(said)],
]

function bodyOfError({ refusal: said, accounting, upstreamBody }: SaidError): Uint8Array {
  const upstreamError = upstreamErrorOf(upstreamBody)
  const body = errorBody({
    refusal: said,
    requestId: accounting.upstreamRequestId ?? accounting.id,
    attempts: accounting.attempts,
    ...(upstreamError === undefined ? {} : { upstreamError }),
  })
  return Buffer.from(body)
}

/** One line of printable ASCII. */
function errorLine({ code, message }: Refusal): string {
  return `${code}: ${message}`.replace(/[^\x20-\x7e]+/g, '?').slice(0, ERROR_LINE_CHARS_MAX)
}

export const accountingHeaders = (of: Accounting): [string, string][] =>
  writeReply(replyFields(of, null))

/** The upstream's `error` object, if its body has one. */
function upstreamErrorOf(body: Uint8Array | null): unknown {
  if (body === null) return undefined
  try {
    const parsed: unknown = JSON.parse(new TextDecoder().decode(body))
    if (typeof parsed !== 'object' || parsed === null || !('error' in parsed)) return undefined
    return typeof parsed.error === 'object' && parsed.error !== null ? parsed.error : undefined
  } catch {
    return undefined
  }
}

/** What the bus would not carry; its own words name both sizes. */
function unsendable(error: unknown, what: string): Refusal {
  const why = error instanceof RangeError ? error.message : 'the bus would not take it'
  return refusal('upstream_error', `${what} cannot be sent: ${why}`, {
    status: 502,
    type: 'api_error',
  })
}
