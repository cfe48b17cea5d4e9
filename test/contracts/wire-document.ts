/** The AsyncAPI document as a judge of messages: what one may be where it was sent, and whether it fits. */
import { asyncapi } from '#contracts/documents/asyncapi'
import type { Json } from '#contracts/documents/json-schemas'
import { at, placeIn, step, type Check } from './checks.ts'
import type { Sent } from './recorded-house.ts'

const document = asyncapi()
const place = placeIn(document, '07')
const anything: Check = () => null

interface Parts {
  headers: Check
  payload: Check
}

const messages = new Map<string, Parts>(
  Object.entries(at(document, '#/components/messages') as Record<string, Json>).map(
    ([name, message]) => {
      const part = (kind: keyof Parts): Check =>
        kind in message ? place(`#/components/messages/${step(name)}/${kind}`) : anything
      return [name, { headers: part('headers'), payload: part('payload') }]
    },
  ),
)

export const messageNames = [...messages.keys()]

/** What is wrong with a message as one of this name; null: nothing. */
export function wrongAs(name: string, of: Pick<Sent, 'headers' | 'body'>): string | null {
  const parts = messages.get(name)
  if (parts === undefined) throw new Error(`no message ${name}`)
  return parts.headers(of.headers) ?? parts.payload(parsed(of.body))
}

/** JSON, or the text that is none. */
export function parsed(body: string): unknown {
  try {
    return JSON.parse(body)
  } catch {
    return body
  }
}

/** The names of the messages that this one may be, where it was sent. */
export function candidates(one: Sent, sent: readonly Sent[]): string[] {
  if (!one.subject.startsWith('_INBOX.')) return Object.keys(channelAt(one.subject).messages)
  const asked = sent.find(({ reply }) => reply === one.subject)
  if (asked === undefined) throw new Error(`nobody asked for ${one.subject}`)
  const operation = step(channelAt(asked.subject).name)
  const replies = at(document, `#/operations/${operation}/reply/messages`) as { $ref: string }[]
  return replies.map(({ $ref }) => $ref.slice($ref.lastIndexOf('/') + 1))
}

export const fitting = (one: Sent, sent: readonly Sent[]): string[] =>
  candidates(one, sent).filter((name) => wrongAs(name, one) === null)

interface Channel {
  name: string
  address: string | null
  messages: Json
}

const channels = Object.entries(document['channels'] as Record<string, Omit<Channel, 'name'>>).map(
  ([name, channel]): Channel => ({ name, ...channel }),
)

/** The channels whose address a subject has; placeholders are single tokens. */
export const channelsAt = (subject: string): Channel[] =>
  channels.filter(({ address }) => address !== null && patternOf(address).test(subject))

const patternOf = (address: string): RegExp =>
  new RegExp(`^${address.replaceAll(/[.$]/g, '\\$&').replaceAll(/\{\w+\}/g, '[^.]+')}$`)

function channelAt(subject: string): Channel {
  const [one, ...more] = channelsAt(subject)
  if (one === undefined || more.length > 0) throw new Error(`not one channel for ${subject}`)
  return one
}
