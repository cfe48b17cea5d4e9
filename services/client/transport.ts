/** What the client needs of the world: subjects, headers, replies. NATS has it, and so has the bus of an
 *  embedded Headgate. */

export type TransportHeaders = readonly (readonly [name: string, value: string])[]

export interface TransportMessage {
  subject: string
  data: Uint8Array
  header(name: string): string | undefined
  /** True for the word that nobody listens to the subject asked. */
  nobody: boolean
}

/** The server refused to carry something: a permission that is missing. */
export interface TransportFault {
  subject: string
  detail: string
}

export interface Transport {
  readonly maxPayload: number
  connected(): boolean
  /** Resolves once messages can leave; rejects when they cannot soon. */
  ready(): Promise<void>
  publish(
    subject: string,
    data: Uint8Array | string,
    options?: { headers?: TransportHeaders; reply?: string },
  ): void
  subscribe(subject: string, on: (message: TransportMessage) => void): { close(): void }
  /** The answer, if there is one, ends it. */
  onFault(listener: (fault: TransportFault) => void): void | (() => void)
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
      nobody?: boolean
    }) => void,
  ): { drain(): Promise<void> }
}

/** The bus stays open when the transport is closed: it is not ours. */
export function busTransport(bus: BusLike): Transport {
  return {
    get maxPayload() {
      return bus.maxPayload
    },
    connected: () => true,
    ready: async () => {},
    publish: (subject, data, options) => bus.publish(subject, data, options),
    subscribe(subject, on) {
      const subscription = bus.subscribe(subject, (message) =>
        on({
          subject: message.subject,
          data: message.data,
          header: (name) => message.header(name),
          nobody: message.nobody ?? false,
        }),
      )
      return { close: () => void subscription.drain() }
    },
    onFault: () => {},
    close: async () => {},
  }
}
