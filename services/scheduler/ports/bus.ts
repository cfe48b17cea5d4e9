/** Messages by subject. */
import type { LastWords } from '#contracts/reply-fields'

/** Subject-addressed messages, in the manner of core NATS. */
export interface Bus {
  readonly kind: 'nats' | 'memory'
  /** The largest payload that `publish` takes, in bytes. */
  readonly maxPayload: number
  connected(): boolean
  /** False where it is known that nobody listens to the subject; absent: nobody can know. */
  hears?(subject: string): boolean
  /** `subject` may hold the wildcards `*` and a last `>`. One member of a queue group gets each message. */
  subscribe(
    subject: string,
    on: (message: BusMessage) => void,
    options?: { queue?: string },
  ): Subscription
  /** Fire and forget. With `probe`, `onNobody` hears that word if nobody listens to the subject. `last` is what the
   *  headers say, as fields: a bus that stays in this process hands them on, and reads `headers` only where
   *  somebody asks for one. */
  publish(
    subject: string,
    data: Uint8Array | string,
    options?: { headers?: BusHeaders; last?: LastWords; reply?: string; probe?: string },
  ): void
  /** The one listener for probes that found nobody. */
  onNobody(listener: (probe: string) => void): void
  /** Resolves when everything published so far has left. */
  flush(): Promise<void>
  /** Ends the connection, after what was published has left. */
  close(): Promise<void>
}

/** Header name to value; names are sent as written. */
export type BusHeaders = readonly (readonly [name: string, value: string])[]

export interface BusMessage {
  subject: string
  data: Uint8Array
  reply: string | undefined
  /** Case-insensitive look-up. */
  header(name: string): string | undefined
  /** Of all headers, in any case, each as often as it stands. */
  names(): Iterable<string>
  /** What was published with it; absent where it came over a wire. */
  last?: LastWords | undefined
  /** True for the bus's own word to a `reply` that nobody listens to the subject it came with. */
  nobody?: boolean
}

export interface Subscription {
  /** No further message is taken; those already taken are finished. */
  drain(): Promise<void>
}
