/** What the members of a fleet say to divide their shares, counted on the server: what is written to the bucket of the
 *  record, what is asked of it, the answers, and what is told to those who watch it. */
import { connect } from '@nats-io/transport-node'
import { SHARES } from './chaos-fleet.ts'

export interface ShareTalk {
  /** Since the last time it was asked; each delivery counts once for who hears it. */
  take(): { messages: number; bytes: number; writes: number }
  close(): Promise<void>
}

const BUCKET = SHARES.replace(/^KV_/, '')
/** Asked, and not yet answered. */
const OPEN_MAX = 10_000

export async function shareTalk(url: string): Promise<ShareTalk> {
  const nc = await connect({ servers: url })
  const counted = { messages: 0, bytes: 0, writes: 0 }
  const answers = new Set<string>()
  const count = (bytes: number): void => {
    counted.messages++
    counted.bytes += bytes
  }
  nc.subscribe('>', {
    callback(_, { subject, reply, data, headers }) {
      const bytes =
        subject.length +
        (reply?.length ?? 0) +
        data.length +
        (headers === undefined ? 0 : HEADER_BYTES)
      // The server's own copy of what a watcher is told, with where to acknowledge it.
      const told = reply?.startsWith(`$JS.ACK.${SHARES}.`) === true
      if (answers.delete(subject) || told) return count(bytes)
      const written = subject.startsWith(`$KV.${BUCKET}.`)
      if (written) counted.writes++
      if (!written && !(subject.startsWith('$JS.') && subject.includes(SHARES))) return
      count(bytes)
      if (reply === undefined || reply === '') return
      answers.add(reply)
      if (answers.size > OPEN_MAX) answers.clear()
    },
  })
  await nc.flush()
  return {
    take() {
      const taken = { ...counted }
      Object.assign(counted, { messages: 0, bytes: 0, writes: 0 })
      return taken
    },
    close: () => nc.close(),
  }
}

/** About what a header of a revision takes. */
const HEADER_BYTES = 60
