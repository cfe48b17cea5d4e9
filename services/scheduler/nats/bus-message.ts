/** NATS messages as the Bus has them, and back. */
import type { Msg, MsgHdrs } from '@nats-io/transport-node'
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

/** Headers as the client sends them: it only asks for their bytes. Its own builder checks, sorts and copies
 *  every name and value, which costs more than the rest of a publish. The line has checked them. */
export function toNatsHeaders(pairs: BusHeaders): MsgHdrs {
  let text = 'NATS/1.0\r\n'
  for (const [name, value] of pairs) text += `${name}: ${value}\r\n`
  const bytes = Buffer.from(`${text}\r\n`)
  const encoded: Encoded = { encode: () => bytes }
  return encoded as unknown as MsgHdrs
}

interface Encoded {
  encode(): Uint8Array
}
/** A probe's word as one subject token, and back. */
export const token = (probe: string) =>
  /^[A-Za-z0-9_/-]+$/.test(probe) ? probe : `~${Buffer.from(probe).toString('base64url')}`
export const word = (token: string) =>
  token.startsWith('~') ? Buffer.from(token.slice(1), 'base64url').toString() : token
