/** One simulated request: what its caller asks, what it will take, and what became of it. It is its own
 *  incoming message and its own reply, so that a run of millions keeps one object for each. */
import type { Millis, Tokens } from '#contracts/units'
import type { Accounting, DegradeStep, Refusal, UpstreamHeaders } from '#contracts/messages'
import type { Incoming, Reply } from '#ports'
import type { Marked } from './prompt-cache.ts'
import type { Counted } from './tally.ts'

/** What the provider will do for it, known to nobody before. */
export interface Work {
  /** How long a complete answer takes. */
  serviceMs: Millis
  /** Of it, until the first byte of a streamed answer. */
  ttftMs: Millis
  /** All of the prompt, whatever of it a cache has. */
  inputTokens: Tokens
  outputTokens: Tokens
}

export interface Asked {
  tenant: string
  lane: string
  model: string
  stream: boolean
  maxTokens: Tokens
  deadlineMs: Millis | null
  /** What of its prompt it marks to be cached; absent: nothing. */
  marked?: Marked
}

export type How = 'completed' | 'refused' | 'failed'

const NO_STEPS: readonly DegradeStep[] = []
const NO_HEADERS: UpstreamHeaders = {}

export class SimRequest implements Incoming, Reply {
  readonly tenant: string
  readonly lane: string
  readonly model: string
  readonly stream: boolean
  readonly maxTokens: Tokens
  readonly deadlineMs: Millis | null
  /** What it shares with others, and the name of it, by which a scheduler knows it; null: nothing. */
  readonly marked: Marked | null
  readonly prefix: string | null
  readonly id: string
  readonly body: Uint8Array
  readonly degrade = NO_STEPS
  readonly headers = NO_HEADERS
  readonly reply: Reply
  readonly index: number
  /** A durable job: its caller is a stream, and need not wait. */
  readonly durable: boolean
  readonly work: Work
  readonly arrivedAt: Millis
  /** -1: never. */
  startedAt: Millis = -1
  starts = 0
  /** Calls of a job that ran to their end, or would have if nobody had died. */
  ran = 0
  /** Of its attempts, answered 429 or 529. */
  refusedUpstream = 0
  /** Its caller's, who may ask again; true: it will, and this was not the end. */
  asksAgain: ((refusal: Refusal) => boolean) | null = null
  answers = 0
  counted: Counted | null = null
  readonly #onEnd: (request: SimRequest, how: How, code: string | null) => void

  constructor(of: {
    index: number
    asked: Asked
    durable?: boolean
    work: Work
    body: Uint8Array
    arrivedAt: Millis
    onEnd: (request: SimRequest, how: How, code: string | null) => void
  }) {
    const { asked } = of
    this.tenant = asked.tenant
    this.lane = asked.lane
    this.model = asked.model
    this.stream = asked.stream
    this.maxTokens = asked.maxTokens
    this.deadlineMs = asked.deadlineMs
    this.marked = asked.marked ?? null
    this.prefix = asked.marked?.name ?? null
    this.index = of.index
    this.durable = of.durable ?? false
    this.id = `r${of.index}`
    this.work = of.work
    this.body = of.body
    this.arrivedAt = of.arrivedAt
    this.#onEnd = of.onEnd
    this.reply = this
  }

  event(): void {}
  ping(): void {}

  answer(_body: Uint8Array, _accounting: Accounting): void {
    this.ended('completed', null)
  }

  end(_accounting: Accounting): void {
    this.ended('completed', null)
  }

  refuse(refusal: Refusal, _accounting: Accounting): void {
    if (this.asksAgain?.(refusal) === true) return
    this.ended(this.starts > 0 ? 'failed' : 'refused', refusal.code)
  }

  ended(how: How, code: string | null): void {
    this.answers++
    this.#onEnd(this, how, code)
  }
}
