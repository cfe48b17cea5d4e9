/** A call outside lanes and slots: collects the upstream's own answer within a time limit. It always
 *  resolves; where the upstream gave no answer that makes sense, the answer is ours, in the API's shape. */
import { statusOfType, typeOfStatus } from '#contracts/api-errors'
import type { AuxAnswer, Clock, Millis } from '#ports'
import { isError } from './answer-reader.ts'
import { markLength } from './answer-form.ts'
import { GatheredBytes } from './gathered-bytes.ts'
import { isObject, parsed, PARSED_BYTES_MAX } from './json-fields.ts'
import { requestIdOf, type HeaderRecord } from './rate-headers.ts'
import { retryAfter } from './retry-after.ts'
import type { Exchange } from './undici-fetch.ts'
import { readError } from './upstream-error.ts'

/** A list of all models has some hundred kilobytes; it is parsed. */
export const SIDE_BYTES_MAX = PARSED_BYTES_MAX

export class SideCall implements Exchange {
  readonly headers: Readonly<Record<string, string>>
  readonly answer: Promise<AuxAnswer>
  over = false
  readonly #clock: Clock
  readonly #cancel: () => void
  #resolve!: (answer: AuxAnswer) => void
  #hangUp: ((reason: Error) => void) | null = null
  #status = 0
  #head: HeaderRecord = {}
  readonly #body = new GatheredBytes()
  #wireBytes = 0

  constructor(of: {
    clock: Clock
    timeoutMs: Millis
    headers: Readonly<Record<string, string>>
    /** Aborted: nobody waits for the answer. */
    signal?: AbortSignal | undefined
  }) {
    this.headers = of.headers
    this.#clock = of.clock
    this.answer = new Promise((resolve) => {
      this.#resolve = resolve
    })
    this.#cancel = of.clock.after(of.timeoutMs, () => {
      this.#own(504, 'the upstream did not answer in time')
      this.#hangUp?.(new Error('too late'))
    })
    const { signal } = of
    const onAbort = () => {
      this.#own(499, 'called off')
      this.#hangUp?.(new Error('called off'))
    }
    signal?.addEventListener('abort', onAbort, { once: true })
    void this.answer.then(() => signal?.removeEventListener('abort', onAbort))
    if (signal?.aborted === true) onAbort()
  }

  /** The SDK gave up before it sent anything. */
  unsent(): void {
    if (this.#status === 0) this.failed()
  }

  started(hangUp: (reason: Error) => void): void {
    if (this.over) return hangUp(new Error('called off'))
    this.#hangUp = hangUp
  }

  head(status: number, headers: HeaderRecord): void {
    if (this.over) return
    this.#status = status
    this.#head = headers
  }

  received(count: number): void {
    this.#wireBytes += count
    if (this.#wireBytes > SIDE_BYTES_MAX) this.#tooLarge()
  }

  bytes(chunk: Buffer): void {
    if (this.over) return
    this.#body.push(chunk)
    if (this.#body.length > SIDE_BYTES_MAX) this.#tooLarge()
  }

  ended(): void {
    if (this.over) return
    if (this.#status >= 400) return this.#refused()
    if (this.#status >= 300) return this.#own(502, `the upstream redirects, with ${this.#status}`)
    const marked = this.#body.take()
    const body = marked.subarray(markLength(marked) === 3 ? 3 : 0)
    const value = parsed(body.toString('utf8'))
    if (!isObject(value)) return this.#nonsense()
    if (isError(value)) {
      const { type, body: told } = readError(body, null)
      const status = statusOfType(type ?? 'api_error')
      return told === null ? this.#nonsense() : this.#settle(status, told)
    }
    this.#settle(this.#status, body)
  }

  garbled(): void {
    if (this.#status >= 400) this.#refused()
    else this.#nonsense()
  }

  failed(): void {
    if (this.#status >= 400) this.#refused()
    else this.#own(502, 'the upstream could not be reached, or broke off')
  }

  #nonsense(): void {
    this.#own(502, `the upstream's answer is none of the API (status ${this.#status})`)
  }

  #tooLarge(): void {
    if (this.#status >= 400) this.#refused()
    else this.#own(502, `the upstream's answer has more than ${SIDE_BYTES_MAX} bytes`)
    this.#hangUp?.(new Error('too large'))
  }

  /** The upstream says no: in the API's shape where it says anything, else as it came. */
  #refused(): void {
    const raw = this.#body.take()
    this.#settle(this.#status, readError(raw, this.#status).body ?? raw)
  }

  #own(status: number, message: string): void {
    const error = { type: typeOfStatus(status), message }
    this.#settle(status, Buffer.from(JSON.stringify({ type: 'error', error })))
  }

  #settle(status: number, body: Uint8Array): void {
    if (this.over) return
    this.over = true
    this.#cancel()
    const asked = status < 400 ? null : this.#retryAfterMs()
    this.#resolve({ status, requestId: requestIdOf(this.#head), body, retryAfterMs: asked })
  }

  #retryAfterMs(): Millis | null {
    if (this.#status < 300) return null
    return retryAfter(this.#head, { wallMs: this.#clock.wall(), maxMs: Infinity }).told
  }
}
