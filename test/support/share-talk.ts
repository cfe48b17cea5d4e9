/** What the members of a fleet say to divide their shares, counted on the server: what is written to the record, what is
 *  asked of its bucket, the answers, and what is told to those who watch it. The heartbeats of the jobs, which are
 *  in the same bucket, are counted apart. */
import { connect } from '@nats-io/transport-node'
import { SHARES } from './chaos-fleet.ts'

export interface Talk {
  /** Each delivery counts once for who hears it. */
  messages: number
  bytes: number
  /** Of the record. */
  writes: number
  /** Messages of the heartbeats. */
  beats: number
}

export interface ShareTalk {
  /** Since the last time it was asked. */
  take(): Talk
  close(): Promise<void>
}

const BUCKET = SHARES.replace(/^KV_/, '')
const BEATS = `$KV.${BUCKET}.member.`
/** Asked, and not yet answered. */
const OPEN_MAX = 10_000
/** About what the header of a revision takes. */
const HEADER_BYTES = 60
const NONE: Talk = { messages: 0, bytes: 0, writes: 0, beats: 0 }

export async function shareTalk(url: string): Promise<ShareTalk> {
  const nc = await connect({ servers: url })
  let talk = { ...NONE }
  const answers = new Map<string, 'beat' | 'share'>()
  const count = (kind: 'beat' | 'share', bytes: number): void => {
    if (kind === 'beat') return void talk.beats++
    talk.messages++
    talk.bytes += bytes
  }
  nc.subscribe('>', {
    callback(_, { subject, reply = '', data, headers }) {
      const bytes =
        subject.length + reply.length + data.length + (headers === undefined ? 0 : HEADER_BYTES)
      const answered = answers.get(subject)
      if (answered !== undefined) {
        answers.delete(subject)
        return count(answered, bytes)
      }
      const kind = subject.startsWith(BEATS) ? 'beat' : 'share'
      // What a watcher is told, with where to acknowledge it.
      if (reply.startsWith(`$JS.ACK.${SHARES}.`)) return count(kind, bytes)
      const written = subject.startsWith(`$KV.${BUCKET}.`)
      if (!written && !(subject.startsWith('$JS.') && subject.includes(SHARES))) return
      if (written && kind === 'share') talk.writes++
      count(kind, bytes)
      if (answers.size > OPEN_MAX) answers.clear()
      if (reply !== '') answers.set(reply, kind)
    },
  })
  await nc.flush()
  return {
    take() {
      const taken = talk
      talk = { ...NONE }
      return taken
    },
    close: () => nc.close(),
  }
}
