/** Reads an answer under 2xx: what it is, its bytes say (answer-form). One in the form that was not asked for
 *  is put into the other (whole-and-stream). Large JSON is relayed and skimmed, not parsed. */
import type { Usage } from '#contracts/verdict'
import { formOf, markLength, type Form } from './answer-form.ts'
import type { Stop } from './classify.ts'
import { GatheredBytes } from './gathered-bytes.ts'
import { field, parsed, PARSED_BYTES_MAX } from './json-fields.ts'
import { JsonSkim } from './json-skim.ts'
import { fieldsIn, kindOfEvent } from './stream-event.ts'
import { SseScanner } from './sse-scanner.ts'
import { readError, type UpstreamError } from './upstream-error.ts'
import { readUsage, withDelivered } from './usage.ts'
import { eventsOf, MessageBuilder } from './whole-and-stream.ts'

export interface AnswerEars {
  /** One event of a streamed answer: its data. */
  event(data: Buffer): void
  /** All is there; of a stream its last event is still told. `body`: the answer, where it is not streamed. */
  complete(body: Buffer | null): void
  broken(stop: Stop, error?: UpstreamError): void
}

/** What is looked for in a whole answer. */
const FIELDS = ['type', 'usage', 'error', 'content']

export class AnswerReader {
  readonly #stream: boolean
  readonly #contentType: string
  readonly #eventBytesMax: number
  readonly #on: AnswerEars
  #form: Form | null = null
  #over = false
  readonly #gathered = new GatheredBytes()
  /** Where the whole is too large to be parsed. */
  #skim: JsonSkim | null = null
  #scanner: SseScanner | null = null
  /** Where a stream answers a call that is not streamed. */
  #builder: MessageBuilder | null = null
  #usage: Usage | null = null
  /** True once a `message_delta` gave the output; before that it is guessed from what came. */
  #counted = false
  #deltas = 0
  #deltaBytes = 0

  constructor(of: { stream: boolean; contentType: string; eventBytesMax: number; on: AnswerEars }) {
    this.#stream = of.stream
    this.#contentType = of.contentType.toLowerCase()
    this.#eventBytesMax = of.eventBytesMax
    this.#on = of.on
  }

  /** What was used, as far as it is known: the output as counted, or guessed from what was delivered. */
  used(): Usage | null {
    if (this.#counted) return this.#usage
    return withDelivered({ usage: this.#usage, deltas: this.#deltas, deltaBytes: this.#deltaBytes })
  }

  push(chunk: Buffer): void {
    if (this.#form === 'sse') return this.#scan(chunk)
    this.#gathered.push(chunk)
    if (this.#form === null) this.#decide(false)
    else if (this.#form === 'json') this.#skimmed(chunk)
  }

  /** No more comes. Whoever listens has heard all there is. */
  end(): void {
    if (this.#form === null && this.#gathered.length > 0) this.#decide(true)
    this.#scanner?.end()
    if (this.#form === 'json') this.#whole()
  }

  #decide(ended: boolean): void {
    const head = this.#gathered.whole()
    this.#form = formOf(head, { contentType: this.#contentType, ended })
    switch (this.#form) {
      case null:
        return
      case 'other':
        return this.#on.broken('content_type', readError(head, null))
      case 'json': {
        const marked = markLength(head)
        if (marked > 0) this.#gathered.push(this.#gathered.take().subarray(marked))
        return this.#skimmed(head)
      }
      case 'sse':
        if (!this.#stream) this.#builder = new MessageBuilder()
        this.#scanner = new SseScanner({
          on: (name, data) => this.#event(name, data),
          eventBytesMax: this.#eventBytesMax,
        })
        return this.#scan(this.#gathered.take())
    }
  }

  #scan(chunk: Buffer): void {
    if (this.#scanner?.push(chunk) === false) this.#break('too_large')
  }

  #break(stop: Stop, error?: UpstreamError): void {
    this.#over = true
    this.#on.broken(stop, error)
  }

  #skimmed(chunk: Buffer): void {
    if (this.#skim !== null) return this.#skim.push(chunk)
    if (this.#gathered.length <= PARSED_BYTES_MAX) return
    this.#skim = new JsonSkim(FIELDS)
    this.#skim.push(this.#gathered.whole())
  }

  /** An answer in one piece is there. */
  #whole(): void {
    const body = this.#gathered.take()
    const said =
      this.#skim === null ? fieldsIn(body, FIELDS) : this.#skim.whole() ? this.#skim.values() : null
    if (said === null) return this.#break('not_json')
    if (isError(said)) return this.#break('error_event', readError(body, null))
    this.#usage = readUsage(said['usage'], null)
    this.#counted = true
    if (!this.#stream) return this.#on.complete(body)
    if (this.#skim !== null) return this.#break('wrong_form')
    const events = eventsOf(said)
    if (events === null) return this.#break('no_message')
    for (const event of events) this.#event('', Buffer.from(JSON.stringify(event)))
  }

  #event(name: string, data: Buffer): void {
    if (this.#over) return
    const kind = kindOfEvent(name, data)
    switch (kind) {
      case 'nothing':
      case 'ping':
        return
      case 'not_json':
        return this.#break('not_json')
      case 'error':
        return this.#break('error_event', readError(data, null))
      case 'content_block_delta':
        this.#deltas += 1
        this.#deltaBytes += data.length
        break
      case 'message_start':
        if (!this.#count(data, 'message')) return this.#break('not_json')
        break
      case 'message_delta':
        if (!this.#count(data, null)) return this.#break('not_json')
        this.#counted = true
        break
    }
    const last = kind === 'message_stop'
    if (this.#builder !== null) return this.#build(this.#builder, data, last)
    if (last) {
      this.#over = true
      this.#on.complete(null)
    }
    this.#on.event(data)
  }

  #build(builder: MessageBuilder, data: Buffer, last: boolean): void {
    const event = data.length > PARSED_BYTES_MAX ? undefined : parsed(data.toString('utf8'))
    if (!builder.take(event)) return this.#break('wrong_form')
    if (!last) return
    const message = builder.message()
    if (message === null) return this.#break('wrong_form')
    this.#over = true
    this.#on.complete(Buffer.from(JSON.stringify(message)))
  }

  /** Takes over the `usage` in an event's data, or in its field `within`; false when it is no JSON object. */
  #count(data: Buffer, within: 'message' | null): boolean {
    const value = fieldsIn(data, ['message', 'usage'])
    if (value === null) return false
    const holder = within === null ? value : field(value, within)
    this.#usage = readUsage(field(holder, 'usage'), this.#usage)
    return true
  }
}

/** An error under a status that says none. A message always has content; what else is no message may be
 *  anybody's error. */
export function isError(value: Record<string, unknown>): boolean {
  if (value['type'] === 'error') return true
  if ('content' in value || value['type'] === 'message') return false
  return ['error', 'message', 'detail', 'errors'].some(
    (name) => value[name] != null && value[name] !== false,
  )
}
