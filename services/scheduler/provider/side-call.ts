/** A call outside lanes and slots: collects the upstream's own answer within a time limit. It always
 *  resolves; where the upstream gave no answer of its own, the answer is ours, in the upstream's shape. */
import type { Clock, Millis } from '#ports'
import { headerText, type HeaderRecord } from './rate-headers.ts'
import type { Exchange } from './undici-fetch.ts'

export interface SideAnswer {
  status: number
  requestId: string | null
  body: Uint8Array
}

export class SideCall implements Exchange {
  readonly headers: Readonly<Record<string, string>>
  readonly answer: Promise<SideAnswer>
  over = false
  readonly #bytesMax: number
  readonly #cancel: () => void
  #resolve!: (answer: SideAnswer) => void
  #hangUp: ((reason: Error) => void) | null = null
  #status = 0
  #head: HeaderRecord = {}
  #chunks: Buffer[] = []
  #size = 0

  constructor(of: {
    clock: Clock
    timeoutMs: Millis
    bytesMax: number
    headers: Readonly<Record<string, string>>
  }) {
    this.headers = of.headers
    this.#bytesMax = of.bytesMax
    this.answer = new Promise((resolve) => {
      this.#resolve = resolve
    })
    this.#cancel = of.clock.after(of.timeoutMs, () =>
      this.#own(504, 'timeout_error', 'the upstream did not answer in time'),
    )
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

  bytes(chunk: Buffer): void {
    if (this.over) return
    this.#size += chunk.length
    this.#chunks.push(chunk)
    if (this.#size > this.#bytesMax) this.#own(502, 'api_error', 'the answer is too large')
  }

  ended(): void {
    this.#settle(this.#status, Buffer.concat(this.#chunks))
  }

  failed(): void {
    this.#own(502, 'api_error', 'the upstream could not be reached, or broke off')
  }

  #own(status: number, type: string, message: string): void {
    if (this.over) return
    const hangUp = this.#hangUp
    this.#settle(status, Buffer.from(JSON.stringify({ type: 'error', error: { type, message } })))
    hangUp?.(new Error(type))
  }

  #settle(status: number, body: Uint8Array): void {
    if (this.over) return
    this.over = true
    this.#cancel()
    this.#resolve({ status, requestId: headerText(this.#head, 'request-id'), body })
  }
}
