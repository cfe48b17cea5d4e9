/** The memory bus over a process's IPC channel: what a parent without a NATS server and its scheduler say
 *  to each other. */

type Headers = readonly (readonly [name: string, value: string])[]

/** Parent to scheduler. Subscriptions are numbered by the parent. */
export type BridgeAsk =
  | { bridge: 'subscribe'; id: number; subject: string }
  | { bridge: 'unsubscribe'; id: number }
  | {
      bridge: 'publish'
      subject: string
      data: Uint8Array
      headers: Headers
      reply: string | undefined
    }

/** Scheduler to parent. */
export interface BridgeTell {
  bridge: 'message'
  id: number
  subject: string
  data: Uint8Array
  reply: string | undefined
  /** The bus's word that nobody listens to the subject asked. */
  nobody: boolean
  /** Those of the contract. */
  headers: Headers
}

export const isBridgeAsk = (message: unknown): message is BridgeAsk => isBridged(message)
export const isBridgeTell = (message: unknown): message is BridgeTell => isBridged(message)

/** Both ends are one program of one version; the channel also carries other words. */
const isBridged = (message: unknown): boolean =>
  typeof message === 'object' && message !== null && 'bridge' in message
