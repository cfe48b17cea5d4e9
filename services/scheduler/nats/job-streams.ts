/** The streams of durable jobs, as JetStream is asked about them: each act once more where a stream had gone missing. */
import type { JetStreamManager } from '@nats-io/jetstream'
import { headers as natsHeaders, type Msg, type NatsConnection } from '@nats-io/transport-node'
import { jobStreams, type JobStreamsOf } from '#contracts/job-streams'
import { JobStoreError, type BusHeaders, type Millis } from '#ports'
import {
  GONE_CODES,
  isMissing,
  problemOf,
  storeError,
  WRONG_LAST,
  type PublishAnswer,
} from './jetstream-error.ts'

/** A store that has not answered by then is away. */
export const WITHIN: Millis = 5_000

export class JobStreams {
  readonly #of: JobStreamsOf
  readonly #jsm: JetStreamManager
  readonly #nc: NatsConnection
  /** Opened again after they were found missing. */
  #opening: Promise<void> | null = null

  constructor(jsm: JetStreamManager, nc: NatsConnection, of: JobStreamsOf) {
    this.#jsm = jsm
    this.#nc = nc
    this.#of = of
  }

  /** The sequence, or null where another message stands before it than was expected. */
  async publish(subject: string, body: Uint8Array, headers: BusHeaders): Promise<number | null> {
    const message = natsHeaders()
    for (const [name, value] of headers) message.append(name, value)
    return this.act(async () => {
      const answer = await this.#request(subject, body, { headers: message })
      const { error, seq } = answer.json<PublishAnswer>()
      if (error === undefined) return seq
      if (error.err_code === WRONG_LAST) return null
      throw problemOf(error)
    })
  }

  async get(stream: string, query: object, timeout = WITHIN): Promise<Msg | null> {
    return this.act(async () => {
      const answer = await this.#request(
        `$JS.API.DIRECT.GET.${stream}`,
        Buffer.from(JSON.stringify(query)),
        { timeout },
      )
      const code = answer.headers?.code ?? 0
      if (code === 0) return answer
      if (code === 404) return null
      throw new JobStoreError('away', `JetStream: ${answer.headers?.description ?? code}`)
    })
  }

  /** What is gone already is gone; false says so. */
  delete(seq: number, stream = this.#of.names.jobs): Promise<boolean> {
    return this.act(async () => {
      const subject = `$JS.API.STREAM.MSG.DELETE.${stream}`
      const body = Buffer.from(JSON.stringify({ seq, no_erase: true }))
      const { error } = (await this.#request(subject, body)).json<PublishAnswer>()
      if (error === undefined) return true
      if (!GONE_CODES.has(error.err_code)) throw problemOf(error)
      return false
    })
  }

  #request(
    subject: string,
    body: Uint8Array,
    of: { headers?: ReturnType<typeof natsHeaders>; timeout?: Millis } = {},
  ): Promise<Msg> {
    return this.#nc.request(subject, body, { timeout: WITHIN, ...of })
  }

  /** One act; where nobody answers for a stream it is made anew, and the act is tried once more. */
  async act<T>(act: () => Promise<T>): Promise<T> {
    try {
      return await act()
    } catch (error) {
      if (!isMissing(error)) throw storeError(error)
      try {
        await (this.#opening ??= openStreams(this.#jsm, this.#of).finally(() => {
          this.#opening = null
        }))
        return await act()
      } catch (again) {
        throw storeError(again)
      }
    }
  }
}

export async function openStreams(jsm: JetStreamManager, of: JobStreamsOf): Promise<void> {
  for (const config of jobStreams(of)) {
    const { name } = config
    try {
      await jsm.streams.add(config as Parameters<typeof jsm.streams.add>[0])
    } catch (error) {
      // It is there with other settings, an operator's perhaps: they stay.
      const there = await jsm.streams.info(name).catch(() => null)
      if (there === null) throw error
    }
  }
}
