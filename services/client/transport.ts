/** What the client needs of the world: subjects, headers, replies. NATS has it, and so has the bus of an
 *  embedded Headgate. */

import type { LastWords } from '#contracts/reply-fields'

/** nats-server's default, where nobody has said another. */
export const USUAL_MAX_PAYLOAD_BYTES = 1_048_576

export type TransportHeaders = readonly (readonly [name: string, value: string])[]

export interface TransportMessage {
  subject: string
  data: Uint8Array
  header(name: string): string | undefined
  /** What its headers say as the last message of an answer, where it never left this process; else absent. */
  last?: LastWords | undefined
  /** True for the word that nobody listens to the subject asked. */
  nobody?: boolean
}

/** The server refused to carry something: a permission that is missing. */
export interface TransportFault {
  subject: string
  detail: string
}

export interface Transport {
  readonly maxPayload: number
  /** Resolves once messages can leave; rejects when they cannot soon. */
  ready(): Promise<void>
  /** True: what is published now leaves. Absent: nobody knows without waiting. */
  isReady?(): boolean
  publish(
    subject: string,
    data: Uint8Array | string,
    options?: { headers?: TransportHeaders; reply?: string },
  ): void
  subscribe(subject: string, on: (message: TransportMessage) => void): { close(): void }
  /** The answer, if there is one, ends it. */
  onFault(listener: (fault: TransportFault) => void): void | (() => void)
  /** A connection that was lost is there again: what was published meanwhile was not heard. The answer ends it.
   *  Absent: it cannot be lost, or nobody knows. */
  onReturn?(listener: () => void): () => void
  close(): Promise<void>
}

/** The Bus of an embedded Headgate, by its shape. */
export interface BusLike {
  readonly maxPayload: number
  publish(
    subject: string,
    data: Uint8Array | string,
    options?: { headers?: TransportHeaders; reply?: string },
  ): void
  subscribe(
    subject: string,
    on: (message: {
      subject: string
      data: Uint8Array
      header(name: string): string | undefined
      last?: LastWords | undefined
      nobody?: boolean
    }) => void,
  ): { drain(): Promise<void> }
}

export function busTransport(bus: BusLike): Transport {
  return {
    get maxPayload() {
      return bus.maxPayload
    },
    ready: async () => {},
    isReady: () => true,
    publish: (subject, data, options) => bus.publish(subject, data, options),
    subscribe(subject, on) {
      const subscription = bus.subscribe(subject, on)
      return { close: () => void subscription.drain() }
    },
    onFault: () => {},
    close: async () => {},
  }
}

/** A transport that is somebody else's: closing it ends what was begun through it, and nothing more. */
export function borrowed(transport: Transport): Transport {
  const begun = new Set<() => void>()
  const keep = (end: () => void) => {
    begun.add(end)
    return () => {
      if (begun.delete(end)) end()
    }
  }
  return {
    get maxPayload() {
      return transport.maxPayload
    },
    ready: () => transport.ready(),
    isReady: () => transport.isReady?.() ?? false,
    publish: (subject, data, options) => transport.publish(subject, data, options),
    subscribe(subject, on) {
      const subscription = transport.subscribe(subject, on)
      return { close: keep(() => subscription.close()) }
    },
    onFault(listener) {
      const stop = transport.onFault(listener)
      return keep(() => stop?.())
    },
    onReturn(listener) {
      const stop = transport.onReturn?.(listener)
      return keep(() => stop?.())
    },
    async close() {
      for (const end of begun) end()
      begun.clear()
    },
  }
}
