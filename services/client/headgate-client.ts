/** Headgate for one tenant, as an object to make: it connects at the first call. */
import type {
  Message,
  MessageCountTokensParams,
  MessageCreateParams,
  MessageCreateParamsNonStreaming,
  MessageTokensCount,
} from '@anthropic-ai/sdk/resources/messages'
import type { BatchOp } from '#contracts/batches'
import type { CancelAnswer, JobReceipt, StatusAnswer } from '#contracts/messages'
import type { AdminOp, AuxKind } from '#contracts/subjects'
import type { AnswerStream } from './answer-stream.ts'
import type {
  Answer,
  AuxOptions,
  CallOptions,
  RelayOptions,
  EventOptions,
  Headgate,
  HeadgateOptions,
  Jobs,
  ModelList,
  RawBody,
  RequestEvent,
  ResultOptions,
  SubmitOptions,
} from './contract.ts'
import { openHeadgate } from './headgate.ts'
import type { Relayed, RelaySink } from './relay.ts'

/** Nothing is asked of the network before the first call, or `ready`. A call that finds no server fails with
 *  `unreachable`, and the next one tries again; a connection that was there once comes back by itself.
 *  Options that can never work are a TypeError here. What the methods do is said in `Headgate`. */
export class HeadgateClient implements Headgate {
  readonly #headgate: Headgate

  constructor(options: HeadgateOptions) {
    this.#headgate = openHeadgate(options, 'HeadgateClient')
  }

  get tenant(): string {
    return this.#headgate.tenant
  }

  ready(): Promise<void> {
    return this.#headgate.ready()
  }

  request(
    body: MessageCreateParamsNonStreaming | RawBody,
    options?: CallOptions,
  ): Promise<Answer<Message>> {
    return this.#headgate.request(body, options)
  }

  stream(body: Omit<MessageCreateParams, 'stream'> | RawBody, options?: CallOptions): AnswerStream {
    return this.#headgate.stream(body, options)
  }

  relay(body: RawBody, sink: RelaySink, options?: RelayOptions): Relayed {
    return this.#headgate.relay(body, sink, options)
  }

  submit(
    body: MessageCreateParamsNonStreaming | RawBody,
    options?: SubmitOptions,
  ): Promise<JobReceipt> {
    return this.#headgate.submit(body, options)
  }

  get jobs(): Jobs {
    return this.#headgate.jobs
  }

  result(id: string, options?: ResultOptions): Promise<Answer<Message>> {
    return this.#headgate.result(id, options)
  }

  cancel(id: string): Promise<CancelAnswer> {
    return this.#headgate.cancel(id)
  }

  status(id: string): Promise<StatusAnswer> {
    return this.#headgate.status(id)
  }

  aux(kind: AuxKind, body?: object | RawBody, options?: AuxOptions): Promise<Answer<unknown>> {
    return this.#headgate.aux(kind, body, options)
  }

  batch(op: BatchOp, data: RawBody, options?: AuxOptions): Promise<Uint8Array> {
    return this.#headgate.batch(op, data, options)
  }

  countTokens(
    params: MessageCountTokensParams,
    options?: AuxOptions,
  ): Promise<Answer<MessageTokensCount>> {
    return this.#headgate.countTokens(params, options)
  }

  models(options?: AuxOptions): Promise<Answer<ModelList>> {
    return this.#headgate.models(options)
  }

  events(listener: (event: RequestEvent) => void, options?: EventOptions): () => void {
    return this.#headgate.events(listener, options)
  }

  admin(op: AdminOp, body?: object): Promise<unknown> {
    return this.#headgate.admin(op, body)
  }

  as(tenant: string): Headgate {
    return this.#headgate.as(tenant)
  }

  close(): Promise<void> {
    return this.#headgate.close()
  }
}
