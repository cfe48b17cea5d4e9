/** NATS messages as the Bus has them, and back. */
import { headers as natsHeaders, type Msg } from '@nats-io/transport-node'
import type { BusHeaders, BusMessage } from '#ports'

export function busMessage(message: Msg): BusMessage {
  let names: Map<string, string> | null = null
  return {
    subject: message.subject,
    data: message.data,
    reply: message.reply === '' ? undefined : message.reply,
    nobody: isNobody(message),
    /** Throws if the headers cannot be read at all. */
    header(name) {
      if (names === null) {
        names = new Map()
        for (const [own, [value]] of message.headers ?? []) {
          if (value !== undefined && !names.has(own.toLowerCase())) {
            names.set(own.toLowerCase(), value)
          }
        }
      }
      return names.get(name.toLowerCase())
    },
  }
}

/** The server's own word that nobody listens: status 503, no payload. */
export function isNobody(message: Msg): boolean {
  if (message.data.length > 0) return false
  try {
    return message.headers?.code === 503
  } catch {
    return false
  }
}

export function toNatsHeaders(pairs: BusHeaders) {
  const built = natsHeaders()
  for (const [name, value] of pairs) built.append(name, value)
  return built
}

/** A probe's word as one subject token, and back. */
export const token = (probe: string) =>
  /^[A-Za-z0-9_/-]+$/.test(probe) ? probe : `~${Buffer.from(probe).toString('base64url')}`
export const word = (token: string) =>
  token.startsWith('~') ? Buffer.from(token.slice(1), 'base64url').toString() : token
